"""The joints over time, as the core logged them: for the policy's observation of a moment, and for the run's record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]
"""Structured array with `time_ns`, `measured` (6,), `commanded` (6,), oldest first: `edge._core.Driver.drain`."""


class Motion:
    """Collects the samples of a run. Any thread may ask.

    Args:
        drain: Gives the samples since the last call.
    """

    def __init__(self, drain: Callable[[], Samples]) -> None:
        self._drain = drain
        self._lock = threading.Lock()
        self._parts: list[Samples] = []

    def collect(self) -> None:
        """Takes in what the core has logged since the last time."""
        with self._lock:
            self._take()

    def measured_at(self, time_ns: int) -> NDArray[np.float64] | None:
        """The joints (6,) measured last before a moment, None if there is no sample that old."""
        with self._lock:
            self._take()
            for part in reversed(self._parts):
                before = int(np.searchsorted(part["time_ns"], time_ns, side="right"))
                if before:
                    return np.array(part["measured"][before - 1], dtype=np.float64)
        return None

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Times (n,), measured (n, 6) and commanded (n, 6) of the whole run."""
        with self._lock:
            self._take()
            if not self._parts:
                return np.zeros(0, np.int64), np.zeros((0, 6)), np.zeros((0, 6))
            whole = np.concatenate(self._parts)
        return whole["time_ns"], whole["measured"], whole["commanded"]

    def _take(self) -> None:
        samples = self._drain()
        if len(samples):
            self._parts.append(samples)
