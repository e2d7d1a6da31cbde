"""What the Damiao motors of an arm say about themselves, and what a person should know. Reads, never writes."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.arm import ArmDescription, DamiaoDrive, MotorDescription
from edge.errors import ArmError
from edge.probe import round_trips

ROUND_TRIPS = 20
"""Questions for the state whose time is taken, a motor."""

# Registers. The three limits are floats, the others unsigned.
_TIMEOUT, _MODE, _LIMITS = 9, 10, (21, 22, 23)
_NAMES = ("PMAX", "VMAX", "TMAX")
_MIT, _ON, _LOST_COMMANDS = 1, 1, 13
_TIMEOUT_UNIT_MS = 0.05


class Bus(Protocol):
    """A CAN bus of motors; None where nobody answered."""

    def read(self, id: int, master_id: int, address: int, timeout_ns: int = ...) -> int | None: ...
    def refresh(
        self, id: int, master_id: int, limits: tuple[float, float, float], timeout_ns: int = ...
    ) -> tuple[int, float, int, int] | None: ...


@dataclass(frozen=True)
class MotorState:
    """One motor.

    Attributes:
        mode: Control mode; 1 takes commands of this project.
        limits: rad, rad/s, N m, registers 21 to 23.
        timeout_ms: Silence after which it switches itself off; 0: never.
        status: Nibble of its feedback.
        position: rad, of the motor.
        celsius: Driver and coil.
        round_trips_ms: Times from a question to its answer.
    """

    id: int
    mode: int
    limits: tuple[float, float, float]
    timeout_ms: float
    status: int
    position: float
    celsius: tuple[int, int]
    round_trips_ms: tuple[float, ...]


def look(bus: Bus, id: int, master_id: int) -> MotorState | None:
    """Ask one motor for everything; None if it does not answer each question."""
    asked = [bus.read(id, master_id, address) for address in (_MODE, _TIMEOUT, *_LIMITS)]
    words = [word for word in asked if word is not None]
    if len(words) < len(asked):
        return None
    position, velocity, torque = (struct.unpack("<f", struct.pack("<I", word))[0] for word in words[2:])
    limits = (position, velocity, torque)
    times: list[float] = []
    seen = None
    for _ in range(ROUND_TRIPS):
        began = time.monotonic_ns()
        answer = bus.refresh(id, master_id, limits)
        if answer is not None:
            seen = answer
            times.append((time.monotonic_ns() - began) / 1e6)
    if seen is None:
        return None
    status, angle, driver, coil = seen
    return MotorState(
        id, words[0], limits, words[1] * _TIMEOUT_UNIT_MS, status, angle, (driver, coil), tuple(times)
    )  # fmt: skip


def look_at_all(bus: Bus, arm: ArmDescription, drive: DamiaoDrive) -> list[MotorState]:
    """Ask every motor of an arm, in its order.

    Raises:
        ArmError: One does not answer.
    """
    asked = [
        (joint, look(bus, joint.servo_id, motor.master_id))
        for joint, motor in zip(arm.joints, drive.motors, strict=True)
    ]
    silent = ", ".join(f"{joint.servo_id} ({joint.name})" for joint, state in asked if state is None)
    if silent:
        raise ArmError(
            "motors do not answer",
            expected=f"{len(asked)} Damiao motors at 1 Mbps",
            got=f"silence from {silent}",
            fix="check power, the CAN cable and its two terminators, and the motors' ids and master ids",
        )
    return [state for _, state in asked if state is not None]


def summary(states: Sequence[MotorState]) -> str:
    """One line on all motors."""
    times = [t for state in states for t in state.round_trips_ms]
    hottest = max(max(state.celsius) for state in states)
    return f"{len(states)} motors: {hottest} °C, round trip {round_trips(times)}"


def findings(
    arm: ArmDescription, drive: DamiaoDrive, states: Sequence[MotorState], describe: Callable[[int], str]
) -> list[str]:
    """What is not as it should be, a line each, with what to do about it.

    Args:
        arm: The description.
        drive: Its motors.
        states: One a joint, in its order.
        describe: Names a status.
    """
    found = []
    for joint, motor, state in zip(arm.joints, drive.motors, states, strict=True):
        who = f"motor {state.id} ({joint.name})"
        if state.status == _LOST_COMMANDS:
            found.append(f"{who} switched itself off for want of commands: the next start clears that")
        elif fault := describe(state.status):
            found.append(f"{who} reports {fault}: remove the cause, then switch its power off and on")
        elif state.status == _ON:
            found.append(f"{who} holds its pose: torque is on")
        if state.mode != _MIT:
            found.append(f"{who} is in control mode {state.mode}: a run needs 1 (MIT), set it with the maker's tool")
        wanted = (motor.max_position, motor.max_velocity, motor.max_torque)
        for register, name, ours, its in zip(_LIMITS, _NAMES, wanted, state.limits, strict=True):
            if abs(ours - its) > its / 1000:
                found.append(
                    f"{who}, {motor.model}, register {register} ({name}) is {its:g}, the description says {ours:g}: a "
                    "run refuses this; correct whichever is wrong"
                )
        at = _joint_angle(motor, state.position)
        if not joint.lower <= at <= joint.upper:
            found.append(
                f"{who} stands at {at:.2f} rad, outside {joint.lower:g} to {joint.upper:g}: move it back by hand"
            )
    return found


def _joint_angle(motor: MotorDescription, angle: float) -> float:
    return motor.zero - angle if motor.reversed else angle - motor.zero
