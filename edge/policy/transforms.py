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
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise PolicyError(
            "a camera image has the wrong shape",
            expected="(height, width, 3) uint8 RGB",
            got=f"{image.shape} {image.dtype}",
            fix="convert grey or BGRA frames to RGB where the camera is read",
        )
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == size:
        return crop
    import cv2  # on use: `import edge` needs numpy alone

    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


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
