"""Damiao motors on an emulated CAN bus: MIT mode, registers, and what goes wrong with them.

No kinder than the device: a motor speaks only when it is spoken to, takes commands only while it is on, goes off by
itself after `timeout` of silence, keeps a fault until it is cleared and the cause is gone, goes on with the command it
had before it was disabled, and forgets written registers when its power goes. Physics are those of one wheel: inertia,
friction, the motor's own torque limit; nothing pulls at it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from firmware_bridge import _damiao as damiao
from firmware_bridge.emulators.can_bus import CanBus, CanFrame, CanNode

MODELS = {
    "DM4310": damiao.Limits(12.5, 30.0, 10.0),
    "DM4340": damiao.Limits(12.5, 8.0, 28.0),
}
"""Factory limits. Public tables disagree about them, which is why a client has to ask."""

TIMEOUT_UNIT_NS = 50_000

_READ, _WRITE, _REFRESH = 0x33, 0x55, 0xCC
_ORDER_HEAD = b"\xff" * 7
_WRITABLE = {damiao.TIMEOUT, damiao.CONTROL_MODE, damiao.MAX_POSITION, damiao.MAX_VELOCITY, damiao.MAX_TORQUE}
_STEP_S = 0.001
_LONGEST_S = 2.0
_CELSIUS = 32


@dataclass(frozen=True)
class MotorSetting:
    """One motor as it was set up.

    Attributes:
        id: Its commands go to this identifier.
        master_id: Its answers come from this one.
        limits: Largest position, velocity and torque, registers 21 to 23.
        position: Where it stands, rad.
        inertia: Of what it turns, kg m².
        friction: N m s/rad.
    """

    id: int
    master_id: int
    limits: damiao.Limits = MODELS["DM4310"]
    position: float = 0.0
    inertia: float = 0.01
    friction: float = 0.02


class DamiaoMotor(CanNode):
    """One motor. Its state may be set at any time, as a person or a fault would.

    Attributes:
        on: Whether it has torque.
        fault: Status nibble of a fault it found; it goes off, and CLEAR does nothing while `cause_stays`.
        drop_answers: So many coming answers are lost.
        silent: It hears and does not answer.
        wrong_positions: So many coming answers tell a position half a radian off.
        heard: Every frame that reached it, with its time.
    """

    def __init__(self, setting: MotorSetting) -> None:
        super().__init__(bit_rate=1_000_000)
        self.setting = setting
        self.position, self.velocity, self.torque = setting.position, 0.0, 0.0
        self.on = self.silent = self.cause_stays = False
        self.fault = damiao.OFF
        self.drop_answers = self.wrong_positions = 0
        self.heard: list[tuple[int, CanFrame]] = []
        self.registers: dict[int, bytes] = {}
        self._stored = {
            damiao.TIMEOUT: struct.pack("<I", 0),
            damiao.CONTROL_MODE: struct.pack("<I", damiao.MODE_MIT),
            damiao.MAX_POSITION: struct.pack("<f", setting.limits.position),
            damiao.MAX_VELOCITY: struct.pack("<f", setting.limits.velocity),
            damiao.MAX_TORQUE: struct.pack("<f", setting.limits.torque),
            7: struct.pack("<I", setting.master_id),
            8: struct.pack("<I", setting.id),
        }
        self._command = damiao.Command(0.0, 0.0, 0.0, 0.0, 0.0)
        self._now_ns = self._fed_ns = 0
        self.power_up()

    @property
    def limits(self) -> damiao.Limits:
        """What it goes by now."""
        numbers = (damiao.MAX_POSITION, damiao.MAX_VELOCITY, damiao.MAX_TORQUE)
        return damiao.Limits(*(struct.unpack("<f", self.registers[number])[0] for number in numbers))

    @property
    def status(self) -> int:
        return self.fault or (damiao.ON if self.on else damiao.OFF)

    def power_up(self) -> None:
        """Power back after it was gone: off, nothing commanded, what was written and not stored is forgotten."""
        self.registers = dict(self._stored)
        self.on, self.fault, self.velocity = False, damiao.OFF, 0.0
        self._command = damiao.Command(self.position, 0.0, 0.0, 0.0, 0.0)

    def store(self, address: int, value: bytes) -> None:
        """Sets a register for good, as the maker's tool does."""
        self._stored[address] = self.registers[address] = value

    def trip(self, status: int, *, cause_stays: bool = False) -> None:
        """A fault that it finds in itself."""
        self.on, self.fault, self.cause_stays = False, status, cause_stays

    def advance(self, now_ns: int) -> None:
        """Moves on to a time, and watches for silence on the way."""
        if self._now_ns == 0:
            self._now_ns = self._fed_ns = now_ns
        timeout_ns = struct.unpack("<I", self.registers[damiao.TIMEOUT])[0] * TIMEOUT_UNIT_NS
        ends_ns = self._fed_ns + timeout_ns
        if self.on and timeout_ns and now_ns > ends_ns:
            self._turn(ends_ns)
            self.trip(damiao.LOST_COMMANDS)
        self._turn(now_ns)

    def hear(self, frame: CanFrame, now_ns: int) -> None:
        if frame.extended or frame.remote or frame.fd or len(frame.data) != 8:
            return
        self.advance(now_ns)
        if frame.id == damiao.REGISTER_ID:
            id, what, address = struct.unpack("<HBB", frame.data[:4])
            if id == self.setting.id:
                self.heard.append((now_ns, frame))
                self._register(what, address, frame.data[4:], now_ns)
        elif frame.id == self.setting.id:
            self.heard.append((now_ns, frame))
            self._fed_ns = now_ns
            if frame.data[:7] == _ORDER_HEAD and frame.data[7] in (damiao.CLEAR, damiao.ENABLE, damiao.DISABLE):
                self._obey(frame.data[7])
            else:
                self._command = damiao.unpack_command(self.limits, frame.data)
            self._feedback(now_ns)

    def _obey(self, order: int) -> None:
        if order == damiao.CLEAR and not self.cause_stays:
            self.fault = damiao.OFF
        elif order == damiao.ENABLE and not self.fault:
            self.on = True
        elif order == damiao.DISABLE:
            self.on = False

    def _register(self, what: int, address: int, value: bytes, now_ns: int) -> None:
        if what == _REFRESH:
            self._feedback(now_ns)
        elif what in (_READ, _WRITE) and address in self.registers:
            if what == _WRITE and address in _WRITABLE:
                self.registers[address] = value
            self._say(struct.pack("<HBB", self.setting.id, what, address) + self.registers[address], now_ns)

    def _feedback(self, now_ns: int) -> None:
        position, velocity, torque = self.limits
        told = self.position
        if self.wrong_positions > 0:
            self.wrong_positions -= 1
            told += 0.5
        row = damiao.Feedback(
            self.setting.id & 0xF,
            self.status,
            _within(told, position),
            _within(self.velocity, velocity),
            _within(self.torque, torque),
            _CELSIUS,
            _CELSIUS,
        )
        self._say(damiao.pack_feedback(self.limits, row), now_ns)

    def _say(self, data: bytes, now_ns: int) -> None:
        if self.drop_answers > 0:
            self.drop_answers -= 1
        elif not self.silent:
            self.outbox.append((now_ns, CanFrame(self.setting.master_id, data)))

    def _turn(self, now_ns: int) -> None:
        left = min((now_ns - self._now_ns) * 1e-9, _LONGEST_S)
        self._now_ns = max(now_ns, self._now_ns)
        command = self._command
        while left > 0:
            step = min(left, _STEP_S)
            left -= step
            wanted = 0.0
            if self.on:
                wanted = command.kp * (command.position - self.position) + command.torque
                wanted += command.kd * (command.velocity - self.velocity)
            self.torque = _within(wanted, self.limits.torque)
            self.velocity += (self.torque - self.setting.friction * self.velocity) / self.setting.inertia * step
            self.position += self.velocity * step


class DamiaoMotors:
    """The motors of one arm on a bus. Take a motor out with `remove`, as a broken cable does.

    Args:
        bus: The bus; the motors are added to it.
        settings: One a motor.
    """

    def __init__(self, bus: CanBus, settings: Sequence[MotorSetting]) -> None:
        self.bus = bus
        self.motors = tuple(DamiaoMotor(setting) for setting in settings)
        bus.nodes.extend(self.motors)

    def remove(self, index: int) -> None:
        """It hears nothing and acknowledges nothing any more; it keeps doing what it was told last."""
        self.motors[index].bit_rate = 0
        self.motors[index].outbox.clear()

    def __getitem__(self, index: int) -> DamiaoMotor:
        return self.motors[index]

    @property
    def positions(self) -> list[float]:
        """rad."""
        return [motor.position for motor in self.motors]

    @property
    def statuses(self) -> list[int]:
        return [motor.status for motor in self.motors]


def bench_arm(limits: Mapping[int, damiao.Limits] | None = None) -> list[MotorSetting]:
    """Six motors as in the example description of an arm: ids 1 to 6, answers from 17 to 22, three DM4340, three
    DM4310. They stand at 0, the last one, the gripper's, half open.

    Args:
        limits: Those of single motors by id, where they are to be others.
    """
    models = ("DM4340",) * 3 + ("DM4310",) * 3
    limits = limits or {}
    return [
        MotorSetting(id, 16 + id, limits.get(id, MODELS[model]), position=0.9 if id == 6 else 0.0)
        for id, model in enumerate(models, 1)
    ]


def _within(value: float, bound: float) -> float:
    return max(-bound, min(bound, value))
