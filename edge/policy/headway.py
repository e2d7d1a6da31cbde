"""Following a chunk to its end when deciding anew gets nowhere.

A policy that decides anew half-way through every chunk can hover for ever: what it is about to do lies in the second
half, and every new decision puts it off again. One chunk followed to its end brings the arm to where the picture, and
so the decision, is another one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.types import Chunk, Observation

DECISIONS = 4
"""So many in a row that led nowhere."""
STAYED = 0.2
"""No joint went farther meanwhile (radians; gripper: share of its opening)."""
ASKED = 0.25
"""And every chunk asked some joint to go at least so far."""


class Headway:
    """Watches whether decisions lead anywhere. Pure: times come with observations and chunks."""

    def __init__(self) -> None:
        self._places: deque[NDArray[np.float64]] = deque(maxlen=DECISIONS)
        self._asked = 0
        self._followed: Chunk | None = None

    def begin(self) -> None:
        """Starts anew, with a new call."""
        self._places.clear()
        self._asked, self._followed = 0, None

    def choose(self, observation: Observation, chunk: Chunk) -> Chunk:
        """The chunk to follow: this one, inferred from the observation, or what is left of the one before."""
        self._places.append(observation.joints)
        self._asked = self._asked + 1 if np.ptp(chunk.joints, axis=0).max() >= ASKED else 0
        stays = bool(np.ptp(np.array(self._places), axis=0).max() <= STAYED)
        left = None if self._followed is None else _rest_of(self._followed, observation.time_ns)
        if left is None or not stays or self._asked < DECISIONS or len(self._places) < DECISIONS:
            self._followed = chunk
            return chunk
        self.begin()
        return replace(left, finished=chunk.finished)


def _rest_of(chunk: Chunk, now_ns: int) -> Chunk | None:
    """The targets of a chunk that are due after `now_ns`; None when there are none."""
    past = max(0, (now_ns - chunk.start_ns) // chunk.period_ns)
    if past >= len(chunk.joints):
        return None
    return replace(chunk, start_ns=chunk.start_ns + past * chunk.period_ns, joints=chunk.joints[past:])
