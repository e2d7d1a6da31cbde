"""The one preprocessing, shared by training and the robot: what a camera frame and a remembered pose become."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge.errors import PolicyError
from edge.types import Pose

GOAL_SIZE = 6
"""Length of the goal vector: valid, x, y, z, cos yaw, sin yaw."""


def square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crops the centre square of an image and resizes it by area.

    An image that already has the wanted size is returned as it is (a contiguous view or the array itself): the emulated
    cameras and a dataset of 192x192 videos cost nothing here.

    Args:
        image: (height, width, 3) uint8 RGB.
        size: Side of the result in pixels.

    Returns:
        (size, size, 3) uint8 RGB, C-contiguous.

    Raises:
        PolicyError: The array is not an RGB image of uint8.
    """
    return fitted(image, size, size)


def fitted(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Crops the centre of an image to the wanted proportions and resizes it by area.

    Args:
        image: (any height, any width, 3) uint8 RGB.
        height: Of the result in pixels.
        width: Of the result in pixels.

    Returns:
        (height, width, 3) uint8 RGB, C-contiguous; the image itself, or a view of it, where nothing is to be done.

    Raises:
        PolicyError: The array is not an RGB image of uint8.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise PolicyError(
            "a camera image has the wrong shape",
            expected="(height, width, 3) uint8 RGB",
            got=f"{image.shape} {image.dtype}",
            fix="convert grey or BGRA frames to RGB where the camera is read",
        )
    rows, columns = image.shape[:2]
    # As much as has the wanted proportions: all rows and some columns, or the other way round.
    kept_rows = min(rows, max(1, columns * height // width))
    kept_columns = min(columns, max(1, rows * width // height))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    crop = np.ascontiguousarray(image[top : top + kept_rows, left : left + kept_columns])
    if crop.shape[:2] == (height, width):
        return crop
    import cv2  # on use: `import edge` needs numpy alone

    return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def goal_vector(pose: Pose | None) -> NDArray[np.float32]:
    """Writes the remembered pinch pose as the policy reads it.

    The yaw enters as cosine and sine: an angle jumps at pi, and the network should not.

    Args:
        pose: Goal of the current call in the base frame (metres, radians), or None when the call has none.

    Returns:
        (6,) float32: valid (1 or 0), x, y, z, cos yaw, sin yaw; all zeros for None.
    """
    if pose is None:
        return np.zeros(GOAL_SIZE, np.float32)
    return np.array([1.0, pose.x, pose.y, pose.z, math.cos(pose.yaw), math.sin(pose.yaw)], np.float32)
