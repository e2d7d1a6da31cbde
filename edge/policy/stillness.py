"""Since when an arm has not moved and its policy asks for no motion: the sign that something is over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.types import Chunk, Observation


class Stillness:
    """Compares each observation with the one before.

    Args:
        within: How far a joint may be from the last reading, and how much of a chunk may differ, radians.

    Attributes:
        moved_ns: When there was motion last, or `begin`.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._joints: NDArray[np.float64] | None = None
        self.moved_ns = 0

    def begin(self, now_ns: int) -> None:
        """Counts from now; the last reading stays."""
        self.moved_ns = now_ns

    def update(self, observation: Observation, chunk: Chunk) -> None:
        """Takes an observation and the chunk that is followed from it. A first reading counts as motion."""
        before, self._joints = self._joints, observation.joints
        if before is not None:
            most = max(np.abs(observation.joints - before).max(), np.ptp(chunk.joints, axis=0).max())
            if most <= self._within:
                return
        self.moved_ns = observation.time_ns
