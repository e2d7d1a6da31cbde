"""A motion for benchmarks that need no policy: every joint swings slowly, given in chunks as a policy gives them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge.types import JOINTS, Chunk

PERIOD_NS, HORIZON, REPLAN_EVERY = 50_000_000, 16, 8
"""20 targets a second, 16 a chunk, and the next chunk after 8 of them: the reference bundle's rates."""

_SWING = 0.15
_SLOWEST_HZ, _FASTEST_HZ = 0.1, 0.3


class Swing:
    """A pure function of time.

    Args:
        seed: Decides each joint's frequency and phase.
        middle: (6,) what the joints swing about, joint units.
    """

    def __init__(self, seed: int, middle: NDArray[np.float64]) -> None:
        random = np.random.default_rng(seed)
        self._middle = middle
        self._rate = 2 * math.pi * random.uniform(_SLOWEST_HZ, _FASTEST_HZ, len(JOINTS))
        self._phase = random.uniform(0, 2 * math.pi, len(JOINTS))

    def at(self, time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, 6) where the joints are at times (n,)."""
        return self._middle + _SWING * np.sin(np.outer(time_ns * 1e-9, self._rate) + self._phase)

    def chunk(self, now_ns: int) -> Chunk:
        """What a policy that looks at `now_ns` would answer."""
        due = now_ns + PERIOD_NS * np.arange(1, HORIZON + 1, dtype=np.int64)
        return Chunk(now_ns, PERIOD_NS, self.at(due), 0.0)
