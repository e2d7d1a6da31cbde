"""The last observations of a policy that sees more than one moment, a period apart.

    seen   ·   ·   ·   ·   ·   ·
    asked for      a       b       c = now       (history 3)

Of each moment the observation nearest to it counts; before the first there was nothing else to see than the first.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """Keeps what was seen long enough to say what was seen at the last `length` moments. Pure: the caller brings times.

    Args:
        length: Moments, the present one included.
        period_ns: Time between two of them.
    """

    def __init__(self, length: int, period_ns: int) -> None:
        self._length, self._period_ns = length, period_ns
        self._seen: deque[tuple[int, T]] = deque()

    def clear(self) -> None:
        """Forgets everything: what comes next is a beginning."""
        self._seen.clear()

    def add(self, time_ns: int, what: T) -> None:
        """Takes one observation. One that is not newer than the newest is left out."""
        if self._seen and time_ns <= self._seen[-1][0]:
            return
        self._seen.append((time_ns, what))
        # One observation from before the oldest moment may be nearer to it than the first after it.
        oldest = time_ns - self._length * self._period_ns
        while len(self._seen) > 1 and self._seen[1][0] <= oldest:
            self._seen.popleft()

    def moments(self) -> list[T]:
        """What was seen at each moment, the oldest first; the newest observation is the present."""
        now_ns = self._seen[-1][0]
        wanted = [now_ns - back * self._period_ns for back in reversed(range(self._length))]
        return [min(self._seen, key=lambda row: abs(row[0] - at))[1] for at in wanted]
