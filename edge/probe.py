"""What the servos of an arm say about themselves, and what a person should know about it. Reads, never writes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.arm import ArmDescription
from edge.calibration import JointCalibration

ROUND_TRIPS = 20
"""Readings of the position whose time is taken, a servo."""

_BRIEF_NS = 5_000_000
_NEIGHBOURS = range(21)
_WARM_C, _STEP_V = 10, 0.1
# Addresses of the STS memory table. One reading may ask for 16 bytes.
_IDENTITY, _HOMING_OFFSET, _TORQUE, _LOCK, _PRESENT = 0, 31, 40, 55, 56


class Bus(Protocol):
    """A servo bus; None where nobody answered, else the servo's error bits and what it sent."""

    def ping(self, id: int, timeout_ns: int = ...) -> tuple[int, bytes] | None: ...
    def read(self, id: int, address: int, length: int, timeout_ns: int = ...) -> tuple[int, bytes] | None: ...


@dataclass(frozen=True)
class ServoState:
    """One servo. Ticks are those it reports, its encoder less the homing offset.

    Attributes:
        model: Model number; 777 is an STS3215.
        errors: Error bits of its last reply.
        locked: Its stored registers cannot be written.
        stored: What it was calibrated to: homing offset, lowest and highest tick it goes to.
        voltage_v: Now, and the least and the most that it works with.
        temperature_c: Now, and the most that it works with.
        round_trips_ms: Times from a question to its whole answer.
    """

    id: int
    model: int
    firmware: str
    errors: int
    torque: bool
    locked: bool
    position: int
    stored: tuple[int, int, int]
    voltage_v: tuple[float, float, float]
    temperature_c: tuple[int, int]
    round_trips_ms: tuple[float, ...]


def look(bus: Bus, id: int) -> ServoState | None:
    """Ask one servo for everything; None if it does not answer each question."""
    if bus.ping(id) is None:
        return None
    identity, offset = bus.read(id, _IDENTITY, 16), bus.read(id, _HOMING_OFFSET, 2)
    torque, lock, present = bus.read(id, _TORQUE, 1), bus.read(id, _LOCK, 1), bus.read(id, _PRESENT, 8)
    times: list[float] = []
    for _ in range(ROUND_TRIPS):
        began = time.monotonic_ns()
        if bus.read(id, _PRESENT, 2) is not None:
            times.append((time.monotonic_ns() - began) / 1e6)
    if identity is None or offset is None or torque is None or lock is None or present is None or not times:
        return None
    table, now = identity[1], present[1]
    stored = (_signed(_word(offset[1], 0), 11), _word(table, 9), _word(table, 11))
    return ServoState(
        id=id, model=_word(table, 3), firmware=f"{table[0]}.{table[1]}", errors=present[0], torque=torque[1] != b"\0",
        locked=lock[1] != b"\0", position=_signed(_word(now, 0), 15), stored=stored,
        voltage_v=(now[6] * _STEP_V, table[15] * _STEP_V, table[14] * _STEP_V), temperature_c=(now[7], table[13]),
        round_trips_ms=tuple(times),
    )  # fmt: skip


def strangers(bus: Bus, own: Iterable[int]) -> list[int]:
    """Low ids that answer and are not of this arm."""
    known = set(own)
    return [id for id in _NEIGHBOURS if id not in known and bus.ping(id, _BRIEF_NS) is not None]


def summary(states: Sequence[ServoState]) -> str:
    """One line on all servos."""
    times = [t for state in states for t in state.round_trips_ms]
    volts, hottest = min(state.voltage_v[0] for state in states), max(state.temperature_c[0] for state in states)
    return (
        f"{len(states)} servos, firmware {', '.join(sorted({state.firmware for state in states}))}: {volts:.1f} V, "
        f"{hottest} °C, round trip {round_trips(times)}"
    )


def round_trips(times_ms: Sequence[float]) -> str:
    """The times in words."""
    ranked = sorted(times_ms)
    last = ranked[min(len(ranked) - 1, math.ceil(0.99 * len(ranked)) - 1)]
    return f"p50 {statistics.median(ranked):.2f}, p99 {last:.2f} ms (n = {len(ranked)}, worst {ranked[-1]:.2f})"


def rows(arm: ArmDescription, states: Sequence[ServoState]) -> list[str]:
    """One line a joint, in its order: what it was read to be."""
    return [
        f"{state.id} {joint.name:<14} at {state.position:>5} of {state.stored[1]} to {state.stored[2]}, offset "
        f"{state.stored[0]}; {state.voltage_v[0]:.1f} V, {state.temperature_c[0]} °C, "
        f"p50 {statistics.median(state.round_trips_ms):.2f} ms"
        for joint, state in zip(arm.joints, states, strict=True)
    ]


def findings(
    arm: ArmDescription,
    states: Sequence[ServoState],
    calibration: Sequence[JointCalibration] | None,
    describe: Callable[[int], str],
) -> list[str]:
    """What is not as it should be, a line each, with what to do about it.

    Args:
        arm: The description.
        states: One a joint, in its order.
        calibration: The named file's entries, in the same order, or None.
        describe: Names error bits.
    """
    found = []
    for index, (joint, state) in enumerate(zip(arm.joints, states, strict=True)):
        who = f"servo {state.id} ({joint.name})"
        volts, least_v, most_v = state.voltage_v
        degrees, most_c = state.temperature_c
        offset, least, most = state.stored
        if state.errors:
            found.append(f"{who} reports {describe(state.errors)}: switch the arm's power off and on")
        if not least_v <= volts <= most_v:
            found.append(f"{who} has {volts:.1f} V, it works with {least_v:.1f} to {most_v:.1f}: check the supply")
        if degrees >= most_c - _WARM_C:
            found.append(f"{who} is at {degrees} °C, it switches off at {most_c}: let it rest")
        if (least or most) and not least <= state.position <= most:
            found.append(f"{who} stands at {state.position}, outside {least} to {most}: move it back by hand")
        if state.torque:
            found.append(f"{who} holds its pose: torque is on")
        if not state.locked:
            found.append(f"{who} is unlocked, a damaged frame could change what it has stored: `edge doctor --lock`")
        if calibration is not None:
            entry = calibration[index]
            wanted = (entry.homing_offset, entry.range_min, entry.range_max)
            if state.stored != wanted:
                found.append(
                    f"{who} holds offset {offset}, {least} to {most}; the file says {wanted[0]}, {wanted[1]} to "
                    f"{wanted[2]}: name this arm's file, or store it in the servos with LeRobot"
                )
    if calibration is None and any(state.stored[0] for state in states):
        found.append("the servos were calibrated by LeRobot: name its file with --calibration to use its zeros")
    return found


def _word(table: bytes, at: int) -> int:
    return table[at] | table[at + 1] << 8


def _signed(word: int, sign_bit: int) -> int:
    magnitude = word & ((1 << sign_bit) - 1)
    return -magnitude if word >> sign_bit & 1 else magnitude
