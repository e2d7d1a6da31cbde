"""What goes wrong, where, when and how often: one plan, for tests, for the command line and for a line in between."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

FRAME_KINDS = {
    "drop": "the frame is lost",
    "flip": "one bit is turned over",
    "sum": "the checksum is wrong",
    "swap": "two neighbouring data bytes are exchanged; a sum does not show it",
    "id": "it comes under another servo's id, with a right sum",
    "truncate": "it ends early",
    "duplicate": "it comes twice",
    "delay": "it comes late, and what is behind it waits; by=5ms unless told",
    "reorder": "it comes late, and what is behind it overtakes; by=5ms unless told",
    "garbage": "a few bytes of noise come before it",
}
"""Happen to a share of the frames: flip=0.01 or flip=1%."""

SERVO_KINDS = {
    "overload": "shuts off as after Protection_Time above Overload_Torque, until torque is enabled again",
    "brownout": "loses power, and with it torque and all that is not in its EEPROM; 300 ms unless told",
    "missing": "is not there: hears nothing, says nothing",
    "mute": "hears and obeys, and never answers",
    "stale": "measures nothing anew: position, velocity and load stay as they were",
    "twin": "another servo has the same id, so that their answers destroy each other",
    "voltage": "reports the error bit of its supply",
    "overheat": "reports too hot, and shuts off",
    "overcurrent": "reports too much current, and shuts off",
}
"""Happen to servos: overload=3@5s, missing=4-6@8s-12s, brownout=all@5s."""

DIRECTIONS = ("both", "requests", "replies")
MOMENTS = ("overload",)
"""Servo faults that happen at a moment and have no end."""

_BROWNOUT_S = 0.3
_LATE_S = 0.005
_TIME = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(us|ms|s|)")
_WINDOW = re.compile(rf"({_TIME.pattern})(?:-(.*))?")
_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}

SYNTAX = f"""\
a fault is KIND=HOW[@START[-END]][,OPTION...]

happens to frames; HOW is the share of them, 0.01 or 1%:
{chr(10).join(f"  {kind:<11} {what}" for kind, what in FRAME_KINDS.items())}
happens to servos; HOW is which ones, 3 or 2+4 or 4-6 or all:
{chr(10).join(f"  {kind:<11} {what}" for kind, what in SERVO_KINDS.items())}

@5s: from 5 s after the start on; @5s-5.8s: until 5.8 s after the start
options of what happens to frames:
  requests   only frames to the servos      replies    only frames from the servos
  servo=3    only frames to or from these   count=2    so many times and no more
  by=20ms    how late (delay, reorder)
examples:
  drop=0.01                     a hundredth of all frames, in both directions
  flip=1,replies,servo=3,count=2@10s
                                two replies of servo 3 after 10 s
  overload=3@5s                 servo 3 lets go after 5 s
  missing=4-6@8s-12s            the cable behind servo 3 is out for 4 s
"""


class FaultError(ValueError):
    """A fault that makes no sense; says what was expected."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: One of `FRAME_KINDS` or `SERVO_KINDS`.
        rate: Share of the frames that it happens to (frame kinds).
        servos: Bus ids it is limited to; None for all.
        direction: One of `DIRECTIONS` (frame kinds).
        start_s: From when on, seconds after the start of whatever the plan is given to.
        end_s: Until when.
        count: How often at most; None for no limit (frame kinds).
        by_s: How late a frame is (delay, reorder).

    Raises:
        FaultError: A value makes no sense.
    """

    kind: str
    rate: float = 1.0
    servos: frozenset[int] | None = None
    direction: str = "both"
    start_s: float = 0.0
    end_s: float = math.inf
    count: int | None = None
    by_s: float = _LATE_S

    def __post_init__(self) -> None:
        kinds = (*FRAME_KINDS, *SERVO_KINDS)
        if self.kind not in kinds:
            near = difflib.get_close_matches(self.kind, kinds, 1)
            raise FaultError(f"no fault {self.kind!r}{f', perhaps {near[0]!r}' if near else ''}: {', '.join(kinds)}")
        if not 0 <= self.rate <= 1:
            raise FaultError(f"{self.kind}={self.rate:g}: a share of the frames from 0 to 1, or 0% to 100%")
        if self.servos is not None and not all(0 <= id < 0xFE for id in self.servos):
            raise FaultError(f"servos {sorted(self.servos)}: bus ids from 0 to 253")
        if self.direction not in DIRECTIONS:
            raise FaultError(f"direction {self.direction!r}: one of {', '.join(DIRECTIONS)}")
        if not 0 <= self.start_s < self.end_s:
            raise FaultError(f"from {self.start_s:g} s to {self.end_s:g} s: an end after the start")
        if self.kind in MOMENTS and self.end_s != math.inf:
            raise FaultError(f"{self.kind} happens at a moment: {self.kind}=3@5s, without an end")
        if self.count is not None and self.count < 1:
            raise FaultError(f"count={self.count}: 1 or more")
        if not 0 < self.by_s < math.inf:
            raise FaultError(f"by={self.by_s:g}: a time above 0")
        if self.kind in SERVO_KINDS and (self.rate, self.direction, self.count, self.by_s) != (
            1,
            "both",
            None,
            _LATE_S,
        ):
            raise FaultError(f"{self.kind} happens to servos: it has no share, direction, count or by")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Reads a fault as `SYNTAX` says. FaultError if it is none."""
        when = _take(text, r"@([^,@]*)")
        head, *options = [part.strip() for part in re.sub(r"@[^,]*", "", text).split(",")]
        kind, has_value, how = head.partition("=")
        fields: dict[str, object] = {}
        if when is not None:
            fields["start_s"], fields["end_s"] = _window(when)
        if kind in SERVO_KINDS:
            if not has_value:
                raise FaultError(f"{kind}: say which servos, {kind}=3 or {kind}=4-6 or {kind}=all")
            fields["servos"] = _servos(how)
        elif has_value:
            fields["rate"] = _share(how)
        for option in options:
            name, _, value = option.partition("=")
            if option in DIRECTIONS:
                fields["direction"] = option
            elif name == "servo":
                fields["servos"] = _servos(value)
            elif name == "count":
                fields["count"] = _whole(value)
            elif name == "by":
                fields["by_s"] = _seconds(value)
            else:
                raise FaultError(f"option {option!r} of {text!r}: requests, replies, servo=3, count=2 or by=20ms")
        return cls(kind, **fields)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        servos = "all" if self.servos is None else "+".join(map(str, sorted(self.servos)))
        text = f"{self.kind}={servos if self.kind in SERVO_KINDS else repr(self.rate)}"
        if self.start_s or self.end_s != math.inf:
            text += f"@{self.start_s!r}s" + ("" if self.end_s == math.inf else f"-{self.end_s!r}s")
        if self.kind in FRAME_KINDS:
            text += "" if self.direction == "both" else f",{self.direction}"
            text += "" if self.servos is None else f",servo={servos}"
            text += "" if self.count is None else f",count={self.count}"
            text += "" if self.by_s == _LATE_S else f",by={self.by_s!r}s"
        return text

    @property
    def until_s(self) -> float:
        """When it is over: a brown-out that says nothing else is short."""
        brief = self.kind == "brownout" and self.end_s == math.inf
        return self.start_s + _BROWNOUT_S if brief else self.end_s

    def concerns(self, id: int) -> bool:
        """Whether it happens to this servo, or to frames to or from it."""
        return self.servos is None or id in self.servos


@dataclass(frozen=True)
class FaultPlan:
    """Faults, and the seed from which it follows which frames they happen to."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    @classmethod
    def of(cls, faults: Iterable[Fault | str], seed: int = 0) -> FaultPlan:
        """From faults or their texts. FaultError if one makes no sense."""
        return cls(tuple(Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults), seed)

    def on_frames(self, direction: str) -> FaultPlan:
        """Those that happen to frames of one direction."""
        kept = (f for f in self.faults if f.kind in FRAME_KINDS and f.direction in ("both", direction))
        return replace(self, faults=tuple(kept))

    @property
    def on_servos(self) -> tuple[Fault, ...]:
        """Those that happen to servos."""
        return tuple(fault for fault in self.faults if fault.kind in SERVO_KINDS)


def _take(text: str, pattern: str) -> str | None:
    found = re.findall(pattern, text)
    if len(found) > 1:
        raise FaultError(f"{text!r}: one time, @5s or @5s-8s")
    return found[0] if found else None


def _seconds(text: str) -> float:
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise FaultError(f"{text!r} is no time: 5s, 300ms or 20us")
    return float(found[1]) * _UNITS[found[2]]


def _window(text: str) -> tuple[float, float]:
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise FaultError(f"{text!r} is no time: 5s, 300ms or 20us, or two of them, 5s-8s")
    end = found[found.re.groups]
    return _seconds(found[1]), math.inf if end is None else _seconds(end)


def _share(text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise FaultError(f"{text!r} is no share of the frames: 0.01 or 1%") from None


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise FaultError(f"{text!r} is no whole number")
    return int(text)


def _servos(text: str) -> frozenset[int] | None:
    if text == "all":
        return None
    ids: set[int] = set()
    for part in text.split("+"):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise FaultError(f"{text!r} names no servos: 3, 2+4, 4-6 or all")
        ids.update(range(int(first), int(last or first) + 1))
    return frozenset(ids)
