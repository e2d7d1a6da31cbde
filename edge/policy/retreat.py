"""The way back after a failed call: in joint space to the ready pose, from which the policy was trained to begin.

A gripper stuck on top of a cube sees the same picture for ever. A retreat gives the policy a fresh start, and the
planner a free view of the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.policy.monitor import GRIPPER
from edge.types import Chunk

SPEED_RAD_PER_S = 1.0
"""Mean speed of the joint that has farthest to go; the peak is 1.9 times as much."""
SHORTEST_S = 0.5
HORIZON = 16


@dataclass(frozen=True)
class Retreat:
    """A minimum-jerk move of all joints.

    Args:
        begin: Joints (6,) where it starts.
        end: Joints (6,) where it ends.
        begun_ns: When it starts, CLOCK_MONOTONIC.
        period_ns: Time between targets.
    """

    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    begun_ns: int
    period_ns: int

    @property
    def duration_ns(self) -> int:
        """How long it takes."""
        far = float(np.abs(self.end - self.begin)[:GRIPPER].max())
        return round(1e9 * max(SHORTEST_S, far / SPEED_RAD_PER_S))

    def chunk(self, now_ns: int) -> Chunk | None:
        """The next `HORIZON` targets, or None when the move is over."""
        if now_ns >= self.begun_ns + self.duration_ns:
            return None
        times = now_ns + self.period_ns * np.arange(1, HORIZON + 1)
        s = np.clip((times - self.begun_ns) / self.duration_ns, 0.0, 1.0)[:, None]
        eased = s**3 * (10 - 15 * s + 6 * s**2)
        return Chunk(now_ns, self.period_ns, self.begin + (self.end - self.begin) * eased, 0.0)


def retreat(
    joints: NDArray[np.float64], ready: NDArray[np.float64], grip: float | None, begun_ns: int, period_ns: int
) -> Retreat:
    """A retreat from measured joints (6,) to the ready pose (6,).

    `grip` is the opening to keep because something is held; None opens as `ready` says.
    """
    begin, end = np.array(joints, dtype=float), np.array(ready, dtype=float)
    if grip is not None:
        begin[GRIPPER] = end[GRIPPER] = grip
    return Retreat(begin, end, begun_ns, period_ns)
