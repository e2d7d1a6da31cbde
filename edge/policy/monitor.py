"""How a subtask ends: read from the policy's own word, the gripper, and the time. Pure: the caller brings the time.

opening ─┐ open
         └╲ ───────── held_below ──────────────────────────────────────
  measured ╲________  held: still, and kept `blocked` or more from its command
           ╲───────── held_above ──────────────────────────────────────
  commanded ╲_______  empty: the finger got to where it was told to go
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.api import Outcome
from edge.manifest import MonitorNumbers
from edge.policy.stillness import Stillness
from edge.types import Chunk, Observation

GRIPPER = 5
"""Index of the gripper in `types.JOINTS`."""


class Grip(str, Enum):
    """What the gripper is doing, seen from its commanded and measured opening."""

    OPEN = "open"  #: open, or still moving
    HELD = "held"  #: commanded to close further, and something keeps it from closing
    EMPTY = "empty"  #: closed, and nothing is in it


class Kind(str, Enum):
    """What a call does to the gripper, which decides how it can fail."""

    GRASP = "grasp"
    PLACE = "place"
    OTHER = "other"


@dataclass(frozen=True)
class Seen:
    """One reading of the monitor. `contact_ns`: when the closing gripper met the object, None unless `held`."""

    grip: Grip
    outcome: Outcome | None
    contact_ns: int | None = None


class GripSense:
    """Tells held from empty by comparing where the gripper is with where it was told to be."""

    def __init__(self, numbers: MonitorNumbers) -> None:
        self._numbers = numbers
        self._measured: float | None = None
        self.grip = Grip.OPEN
        self.contact_ns: int | None = None
        """Time at which the opening entered the held range while closing: the arm still stands at the grasp then."""

    def update(self, commanded: float, measured: float, now_ns: int) -> Grip:
        """Takes one reading of the opening (0 closed … 1 open) and returns what it means."""
        numbers = self._numbers
        still = self._measured is not None and abs(measured - self._measured) <= numbers.still_within
        self._measured = measured
        blocked = measured - commanded >= numbers.blocked
        # A policy that eases its command while carrying has not let go: only a command beyond the finger opens it.
        carried = self.grip is Grip.HELD and commanded <= measured
        if measured <= numbers.held_above and commanded <= numbers.held_above:
            self.grip, self.contact_ns = Grip.EMPTY, None
        elif numbers.held_above < measured < numbers.held_below and (blocked or carried):
            self.contact_ns = now_ns if self.contact_ns is None else self.contact_ns
            self.grip = Grip.HELD if still or carried else Grip.OPEN
        else:
            self.grip, self.contact_ns = Grip.OPEN, None
        return self.grip


class SubtaskMonitor:
    """Decides how the current subtask ends.

    Rules, first match:

    - the policy says "finished" `finished_count` times in a row, each at `finished_probability` or more, or lets the
      arm rest for `rest_for_s`: a grasp is then `ok` if something is held and `missed` if the gripper had opened for
      it; a placement is `ok` once it let go. Of other calls only the policy's word counts: theirs may be to keep still;
    - a grasp whose gripper opened, closed and stayed empty for `empty_for_s` is `missed`;
    - a placement that has held nothing for `empty_for_s` and never let go is `lost`;
    - a call over its budget is `timeout`, but a grasp that holds something then is `ok`: what it was for is done.

    Args:
        numbers: Thresholds, from the bundle's manifest.
        budget_s: Seconds one call may take.
    """

    def __init__(self, numbers: MonitorNumbers, budget_s: float) -> None:
        self._numbers = numbers
        self._budget_ns = round(budget_s * 1e9)
        self._empty_ns = round(numbers.empty_for_s * 1e9)
        self._rest_ns = round(numbers.rest_for_s * 1e9)
        self._sense = GripSense(numbers)
        self._chunk: Chunk | None = None
        self._kind = Kind.OTHER
        self._begun_ns = 0
        self._agreed = 0
        self._opened = False
        self._held = False
        self._unheld_since = 0
        self._stillness = Stillness(numbers.rest_within)

    @property
    def holding(self) -> bool:
        """Whether something is held."""
        return self._sense.grip is Grip.HELD

    def begin(self, kind: Kind, now_ns: int) -> None:
        """Starts watching a new call. What the gripper holds carries over."""
        self._kind, self._begun_ns, self._unheld_since = kind, now_ns, now_ns
        self._stillness.begin(now_ns)
        self._agreed, self._opened, self._held = 0, False, self.holding

    def update(self, observation: Observation, chunk: Chunk) -> Seen:
        """Takes an observation and the chunk inferred from it.

        The gripper is compared with what the chunk *before* commanded for this moment, not with what this one asks for.
        """
        now_ns = observation.time_ns
        measured = float(observation.joints[GRIPPER])
        commanded = measured if self._chunk is None else commanded_at(self._chunk, now_ns)
        self._chunk = chunk
        self._stillness.update(observation, chunk)
        grip = self._sense.update(commanded, measured, now_ns)
        self._agreed = self._agreed + 1 if chunk.finished >= self._numbers.finished_probability else 0
        self._opened |= measured >= self._numbers.held_below and (self._kind is not Kind.PLACE or self._held)
        if grip is Grip.HELD:
            self._held, self._unheld_since = True, now_ns
        elif grip is Grip.OPEN and self._kind is Kind.GRASP:
            self._unheld_since = now_ns  # still reaching for it
        return Seen(grip, self._outcome(grip, now_ns), self._sense.contact_ns if grip is Grip.HELD else None)

    def _outcome(self, grip: Grip, now_ns: int) -> Outcome | None:
        said = self._agreed >= self._numbers.finished_count
        finished = said or now_ns - self._stillness.moved_ns >= self._rest_ns
        unheld = now_ns - self._unheld_since >= self._empty_ns
        if self._kind is Kind.GRASP:
            if finished and (grip is Grip.HELD or self._opened):
                return Outcome.OK if grip is Grip.HELD else Outcome.MISSED
            if unheld and self._opened:
                return Outcome.MISSED
            if self._overdue(now_ns) and grip is Grip.HELD:
                return Outcome.OK
        elif self._kind is Kind.PLACE:
            if finished and self._opened:
                return Outcome.OK
            if unheld and not self._opened:
                return Outcome.LOST
        elif said:
            return Outcome.OK
        return Outcome.TIMEOUT if self._overdue(now_ns) else None

    def _overdue(self, now_ns: int) -> bool:
        return now_ns - self._begun_ns >= self._budget_ns


def commanded_at(chunk: Chunk, now_ns: int) -> float:
    """Opening of the gripper that a chunk asks for at a time, from the target due last (0 closed … 1 open)."""
    index = (now_ns - chunk.start_ns) // chunk.period_ns - 1
    return float(chunk.joints[min(max(index, 0), len(chunk.joints) - 1), GRIPPER])
