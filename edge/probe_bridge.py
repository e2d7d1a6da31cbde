"""What an arm's microcontroller says about itself, and what a person should know. Opens no session, arms nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.arm import ArmDescription, BridgeDrive
from edge.errors import ArmError

ROUND_TRIPS = 20
"""Questions whose time is taken."""

_BRIEF_NS = 300_000_000
_TRIES = 3


class Identity(Protocol):
    """Of a microcontroller; `protocol` and `config` are hashes."""

    joints: int
    tick_us: int
    protocol: int
    config: int


class State(Protocol):
    """What it says every tick."""

    arm: str
    faults: str
    session: int
    sequence: int
    time_us: int
    latch: int
    stale: int
    age_ms: int


class Port(Protocol):
    """The microcontroller's port; None where nobody answered."""

    def state(self, timeout_ns: int = ...) -> State | None: ...
    def identity(self, timeout_ns: int = ...) -> Identity | None: ...
    @property
    def corrupt(self) -> int: ...


@dataclass(frozen=True)
class ControllerReport:
    """What was heard.

    Attributes:
        state: The newest.
        corrupt: Damaged frames while it was listened to.
        round_trips_ms: Times from a question to its answer.
    """

    identity: Identity
    state: State
    corrupt: int
    round_trips_ms: tuple[float, ...]


def speaks_bridge(port: Port) -> bool:
    """Whether a state comes: a microcontroller sends them unasked."""
    return port.state(_BRIEF_NS) is not None


def look(port: Port) -> ControllerReport:
    """Listen and ask.

    Raises:
        ArmError: No microcontroller with this project's protocol answers.
    """
    expected = "a state every tick, and an answer to a hello"
    fix = "check its cable, power and firmware; an arm without a microcontroller has a description of its own"
    state = port.state()
    if state is None:
        got = f"{port.corrupt} damaged frames" if port.corrupt else "silence"
        raise ArmError("no microcontroller answers", expected=expected, got=got, fix=fix)
    identity = _asked(port)
    noise = port.corrupt  # of what was on its way before the port was opened
    times: list[float] = []
    for _ in range(ROUND_TRIPS):
        began = time.monotonic_ns()
        if port.identity() is not None:
            times.append((time.monotonic_ns() - began) / 1e6)
    if identity is None or not times:
        got = "states, and no answer to a hello"
        raise ArmError("the microcontroller does not answer", expected=expected, got=got, fix=fix)
    return ControllerReport(identity, port.state() or state, port.corrupt - noise, tuple(times))


def _asked(port: Port) -> Identity | None:
    for _ in range(_TRIES):
        answer = port.identity()
        if answer is not None:
            return answer
    return None


def check(arm: ArmDescription, drive: BridgeDrive, report: ControllerReport, protocol: int, config: int) -> None:
    """Whether the microcontroller is this arm's.

    Args:
        arm: The description.
        drive: Its drive.
        report: What was heard.
        protocol: Of this program.
        config: Of the description and the calibration.

    Raises:
        ArmError: What differs, with both and the remedy.
    """
    identity = report.identity
    rows = (
        ("speaks another protocol", f"protocol {protocol:08x}", f"protocol {identity.protocol:08x}",
         "flash the firmware of this version (make firmware)"),
        (f"is not that of a {arm.name}", f"{len(arm.joints)} joints", f"{identity.joints} joints",
         "name the port of the described arm, or another arm description"),
        ("has another tick", f"{drive.tick_us} us", f"{identity.tick_us} us",
         "correct bridge.tick_us in the arm description, or flash another firmware"),
        ("was built for another arm or calibration", f"configuration {config:08x}",
         f"configuration {identity.config:08x}",
         "name the description and the calibration that its table was written from, or write the table anew "
         "(python -m firmware_bridge.arm_table), build the firmware and flash it"),
    )  # fmt: skip
    for what, expected, got, fix in rows:
        if expected != got:
            raise ArmError(f"the microcontroller {what}", expected=expected, got=got, fix=fix)


def summary(report: ControllerReport) -> str:
    """One line."""
    identity, state, times = report.identity, report.state, report.round_trips_ms
    return (
        f"microcontroller, protocol {identity.protocol:08x}, configuration {identity.config:08x}, tick "
        f"{identity.tick_us / 1e3:g} ms, {state.arm}: round trip {statistics.median(times):.2f} ms "
        f"(n = {len(times)}, worst {max(times):.2f})"
    )


def findings(arm: ArmDescription, report: ControllerReport) -> list[str]:
    """What a person should know, a line each."""
    state = report.state
    found = []
    if state.faults:
        found.append(
            f"the microcontroller has the arm {state.arm} since: {state.faults} (stops and faults since it started: "
            f"{state.latch}); a run clears that when it starts, unless the cause is still there"
        )
    names: Sequence[str] = [joint.name for i, joint in enumerate(arm.joints) if state.stale >> i & 1]
    if names:
        found.append(
            f"not measured by the microcontroller: {', '.join(names)}: check power, the daisy chain and the ids"
        )
    if report.corrupt:
        found.append(f"{report.corrupt} damaged frames from the microcontroller: check the cable and its shield")
    return found
