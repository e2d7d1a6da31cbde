"""Shared by the tests of the native core: the shipped arm, and chunks that move it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from edge._core import Arm, ControlLoop, LoopConfig
from edge.arm import SO101
from edge.types import Chunk

MS = 1_000_000
PERIOD = 50 * MS
ARM = Arm(SO101)


def chunk(start_ns: int, joints: ArrayLike, period_ns: int = PERIOD) -> Chunk:
    return Chunk(start_ns, period_ns, np.asarray(joints, np.float64), 0.0)


def still(start_ns: int, joints: ArrayLike, horizon: int = 16) -> Chunk:
    """Stay at `joints` (6,)."""
    return chunk(start_ns, np.tile(np.asarray(joints, np.float64), (horizon, 1)))


def line(start_ns: int, start: ArrayLike, step: ArrayLike, horizon: int = 16) -> Chunk:
    """Leave `start` (6,) by `step` (6,) a target."""
    return chunk(start_ns, np.asarray(start) + np.outer(np.arange(1, horizon + 1), np.asarray(step)))


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits for something that has to happen; how long it takes on a busy machine is not the point."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"never: {what}")


class Bench:
    """A loop with a clock the test moves, on an arm that is always where it was told to be."""

    def __init__(self, config: LoopConfig | None = None, pose: ArrayLike = (0, 0, 0, 0, 0, 0.5)) -> None:
        self.loop = ControlLoop(ARM, config or LoopConfig())
        self.now = 1_000_000_000
        self.measured: NDArray[np.float64] = np.asarray(pose, np.float64)
        self.positions: list[NDArray[np.float64]] = []
        self.flags = 0

    def step(self, milliseconds: int = 1, *, feedback: bool = True) -> str:
        """Steps of 1 ms; returns the last state."""
        for _ in range(milliseconds):
            self.now += MS
            command = self.loop.step(self.now, self.measured if feedback else None)
            self.measured = command.joints
            self.positions.append(command.joints)
            self.flags |= command.flags
        return self.loop.snapshot()["state"]

    def ready(self) -> Bench:
        self.loop.start()
        assert self.step() == "ready"
        return self

    @property
    def track(self) -> NDArray[np.float64]:
        """Every commanded position so far, (steps, 6)."""
        return np.asarray(self.positions)
