"""One demonstration, and what its columns are called on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EdgeError
from edge.types import JOINTS

IMAGE_SIZE = 192
CAMERAS = ("front", "wrist")
EXTRA_PREFIX = "extra."
"""Auxiliary labels become columns of this prefix, so that a reader can tell them from the robot's own."""


class DatasetError(EdgeError):
    """An episode or a dataset on disk is not usable."""


def video_key(camera: str) -> str:
    """LeRobot's feature name of a camera."""
    return f"observation.images.{camera}"


@dataclass(frozen=True)
class Episode:
    """One task done once, T steps at the dataset's rate.

    Attributes:
        state: (T, 6) float32 measured joints (`edge.types.JOINTS`).
        action: (T, 6) float32 absolute joint targets given at each step.
        front: (T, 192, 192, 3) uint8 RGB.
        wrist: (T, 192, 192, 3) uint8 RGB.
        call: T canonical call texts, the call that is executed at each step.
        hint: (T, 2) int8 column and row of the call's object on the hint grid, -1 where absent.
        goal: (T, 6) float32 remembered pinch pose as `edge.policy.transforms.goal_vector` writes it.
        finished: (T,) float32, 1 where the call's subtask has ended.
        task: The task in words.
        extra: Auxiliary labels by name, (T, k) float32 each.

    Raises:
        DatasetError: An array has the wrong shape or type, or holds NaN.
    """

    state: NDArray[np.float32]
    action: NDArray[np.float32]
    front: NDArray[np.uint8]
    wrist: NDArray[np.uint8]
    call: tuple[str, ...]
    hint: NDArray[np.int8]
    goal: NDArray[np.float32]
    finished: NDArray[np.float32]
    task: str
    extra: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = len(self.call)
        image = (steps, IMAGE_SIZE, IMAGE_SIZE, 3)
        _require("state", self.state, (steps, len(JOINTS)), np.float32)
        _require("action", self.action, (steps, len(JOINTS)), np.float32)
        _require("front", self.front, image, np.uint8)
        _require("wrist", self.wrist, image, np.uint8)
        _require("hint", self.hint, (steps, 2), np.int8)
        _require("goal", self.goal, (steps, 6), np.float32)
        _require("finished", self.finished, (steps,), np.float32)
        for name, label in self.extra.items():
            if "/" in name:  # LeRobot joins feature names with it
                raise DatasetError(f"extra label {name!r} has a slash in its name", fix="use letters, digits, _ and .")
            _require(name, label, (steps, label.shape[-1] if label.ndim == 2 else -1), np.float32)
        if not steps or not self.task.strip():
            raise DatasetError("an episode is empty", expected="at least one step and a task", got=f"{steps} steps")

    def __len__(self) -> int:
        return len(self.call)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Numeric columns by their name on disk, in a fixed order."""
        named: dict[str, NDArray[Any]] = {
            "observation.state": self.state,
            "action": self.action,
            "call_hint": self.hint,
            "goal": self.goal,
            "finished": self.finished,
        }
        return {**named, **{EXTRA_PREFIX + name: self.extra[name] for name in sorted(self.extra)}}


def _require(name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: type) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise DatasetError(
            f"episode field {name!r} has the wrong shape or type",
            expected=f"{shape} {np.dtype(dtype)}",
            got=f"{array.shape} {array.dtype}",
            fix="T is the number of call texts; convert with np.asarray(..., dtype)",
        )
    if dtype == np.float32 and not np.isfinite(array).all():
        raise DatasetError(f"episode field {name!r} holds NaN or infinity", fix="drop the episode that produced it")
