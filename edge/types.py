"""What passes between the parts. Imports nothing of ours; validated once at the boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
"""Joint order of every (6,) array. Radians, except the gripper: 0 closed, 1 open."""

BACKENDS = ("auto", "tensorrt", "onnx", "onnx-cuda")
"""What may run the policy's graph: `policy.backend`, `--backend`."""

GPU = ("auto", "on", "off")
"""Whether the planner runs on the GPU: `planner.gpu`. `auto`: where llama.cpp was built with one."""


@dataclass(frozen=True)
class Frame:
    """One camera image. `image` is (height, width, 3) uint8 RGB, `time_ns` on CLOCK_MONOTONIC."""

    camera: str
    image: NDArray[np.uint8]
    time_ns: int


@dataclass(frozen=True)
class Pose:
    """Where the pinch point (between the finger pads) is, in the base frame.

    Metres; `yaw` in radians about the vertical, of the direction the gripper opens in.
    """

    x: float
    y: float
    z: float
    yaw: float


@dataclass(frozen=True)
class Observation:
    """What the policy sees. `joints` is (6,), `frames` is keyed by camera name."""

    time_ns: int
    frames: Mapping[str, Frame]
    joints: NDArray[np.float64]


@dataclass(frozen=True)
class Chunk:
    """A horizon of absolute joint targets, the first one due one period after `start_ns`.

    Attributes:
        start_ns: Time of the observation the chunk was computed from, CLOCK_MONOTONIC.
        period_ns: Time between targets.
        joints: (horizon, 6) targets, in the order and units of `JOINTS`.
        finished: Probability that the current subtask is finished.
    """

    start_ns: int
    period_ns: int
    joints: NDArray[np.float64]
    finished: float
