"""What an emulated microcontroller knows of its servos, and how it switches them on and off. Pure: bytes in and out."""

from __future__ import annotations

from enum import Enum, auto

from firmware_bridge._feetech import (
    Frame,
    Parser,
    encode_sync_read,
    encode_sync_write,
    from_sign_magnitude,
    to_sign_magnitude,
)
from firmware_bridge.arm_table import ArmTable, JointTable
from firmware_bridge.emulators.registers import REGISTERS

VOLTAGE, OVERLOAD = 0x01, 0x20
LOST_CYCLES = 5
"""Without a believable answer for so long a servo's position is not known."""

_FIRST = REGISTERS["torque_enable"].address
_BLOCK = REGISTERS["present_position"].address + 2 - _FIRST
"""Every question asks for the registers from torque to measured position, which is one answer of 24 bytes."""
_HOLD_FROM = REGISTERS["acceleration"].address
_GOAL = REGISTERS["goal_position"].address
_RETURN_DELAY = REGISTERS["return_delay"].address
_SIGN = 15
_STAGE_CYCLES = 25
_REPEATS = 3
_NEAR = 64
_CALL_CYCLES = 32
_CALLS_TO_ALL = 4


class Seen:
    """One servo, as its answers show it.

    Attributes:
        encoder: Newest position that was believed, ticks.
        known: Whether that still counts.
        missed: Cycles since the last believed answer.
        errors: Error bits that the last two answers share.
        limp: Torque was off in the last two answers.
        limp_now: Torque was off in the last answer.
        torque: Whether it was on in the newest believed answer.
        goal: In the newest believed answer, ticks.
        hold: Registers from Acceleration to Goal_Velocity there.
    """

    def __init__(self, joint: JointTable) -> None:
        self.joint = joint
        self.encoder = self.goal = self.errors = self.missed = 0
        self.known = self.torque = self.limp = self.limp_now = False
        self.hold = b""
        self._heard = False
        self._candidate: int | None = None
        self._last_code = 0

    def answer(self, frame: Frame) -> bool:
        """Takes an answer; False when no such joint can have meant it."""
        encoder = _word(frame.params, REGISTERS["present_position"].address)
        if not self._believable(encoder):
            return False
        self.encoder, self.known, self._heard = encoder, True, True
        self.torque = frame.params[0] != 0
        self.goal = _word(frame.params, _GOAL)
        self.hold = frame.params[_HOLD_FROM - _FIRST : _HOLD_FROM - _FIRST + 7]
        self.errors, self._last_code = frame.code & self._last_code, frame.code
        self.limp, self.limp_now = not self.torque and self.limp_now, not self.torque
        return True

    def _believable(self, encoder: int) -> bool:
        """The servos' sum does not see two bytes swapped."""
        if self.known:
            return abs(encoder - self.encoder) <= self.joint.margin + self.joint.travel * (self.missed + 1)
        before, self._candidate = self._candidate, encoder
        return before is not None and abs(encoder - before) <= self.joint.margin

    def end_cycle(self) -> None:
        self.missed = 0 if self._heard else self.missed + 1
        self._heard = False
        if self.missed == LOST_CYCLES:
            self.known, self._candidate = False, None

    @property
    def measured(self) -> bool:
        """In the cycle that has ended."""
        return self.known and self.missed == 0

    @property
    def elsewhere(self) -> bool:
        """On its way to where it is not."""
        return self.known and self.torque and abs(self.goal - self.encoder) > _NEAR


class SeenServos:
    """All of them, and the question that each cycle asks."""

    def __init__(self, table: ArmTable) -> None:
        self.seen = [Seen(joint) for joint in table.joints]
        self._by_id = {each.joint.servo_id: each for each in self.seen}
        self._parser = Parser(_BLOCK)
        self._cycle = self._calls = 0

    def hear(self, data: bytes) -> None:
        """Bytes off the wire."""
        for frame in self._parser.feed(data):
            each = self._by_id.get(frame.id)
            if each is not None and len(frame.params) == _BLOCK:
                was_known = each.known
                if each.answer(frame) and not was_known:
                    self._calls = 0

    def end_cycle(self) -> None:
        self._cycle += 1
        for each in self.seen:
            each.end_cycle()

    @property
    def complete(self) -> bool:
        return all(each.measured for each in self.seen)

    def question(self) -> bytes:
        """Of the next cycle. Silent servos are told, now and then, to answer without delay, on a quiet line."""
        self._parser.reset()
        silent = [each for each in self.seen if not each.known]
        told = b""
        if silent and self._cycle % _CALL_CYCLES == 0:
            return b""
        if silent and self._cycle % _CALL_CYCLES == 1:
            who = self.seen if self._calls < _CALLS_TO_ALL else silent
            self._calls += 1
            told = write(_RETURN_DELAY, {each.joint.servo_id: b"\0" for each in who})
        return told + encode_sync_read(_FIRST, _BLOCK, list(self._by_id))


class Stage(Enum):
    """Of torque."""

    LEFT = auto()
    """As they are: nothing is written."""
    MEASURING = auto()
    GOALS = auto()
    TORQUE = auto()
    ON = auto()
    RELEASING = auto()


class Drives:
    """Goals and torque of all servos.

    Attributes:
        goals: Where each servo is told to be, ticks.
    """

    def __init__(self, servos: SeenServos) -> None:
        self._servos = servos
        self.stage = Stage.LEFT
        self.goals = [0] * len(servos.seen)
        self._cycles = self._repeats = 0
        self._settled = [False] * len(self.goals)
        self._lost = [False] * len(self.goals)

    @property
    def on(self) -> bool:
        return self.stage == Stage.ON

    def enter(self, stage: Stage) -> None:
        self.stage, self._cycles = stage, 0
        self._repeats = _REPEATS

    def halt(self) -> None:
        """At rest for good: the last goal is said a few times more, then nothing."""
        if self.on and self._repeats > 0:
            self._repeats -= 1
        elif self.stage != Stage.RELEASING:
            self.enter(Stage.LEFT)

    @property
    def stuck(self) -> bool:
        return self.stage not in (Stage.LEFT, Stage.ON) and self._cycles > _STAGE_CYCLES

    def advance(self) -> bool:
        """After each cycle; True when the pose has just been measured, which is in `goals`."""
        self._cycles += 1
        seen, complete = self._servos.seen, self._servos.complete
        if self.on:
            self._lost = [lost or not each.known for lost, each in zip(self._lost, seen, strict=True)]
        match self.stage:
            case Stage.LEFT:
                for n, each in enumerate(seen):
                    self._settled[n] |= each.known and not each.elsewhere
            case Stage.MEASURING if complete:
                self.goals = [each.encoder for each in seen]
                self._settled = [True] * len(seen)
                self.enter(Stage.GOALS)
                return True
            case Stage.GOALS if complete and [each.hold for each in seen] == self._holds():
                self.enter(Stage.TORQUE)
            case Stage.TORQUE if complete and all(each.torque for each in seen):
                self.enter(Stage.ON)
                self._lost = [False] * len(seen)
            case Stage.RELEASING if complete and self._cycles > _REPEATS and not any(each.torque for each in seen):
                self.enter(Stage.LEFT)
        return False

    def words(self) -> bytes:
        """What the servos are told before the next question."""
        ids = [each.joint.servo_id for each in self._servos.seen]
        match self.stage:
            case Stage.LEFT:  # power-on has found one on its way: it stays where it is
                away = [e for e, done in zip(self._servos.seen, self._settled, strict=True) if not done and e.elsewhere]
                return write(_GOAL, {each.joint.servo_id: _position(each.encoder) for each in away})
            case Stage.GOALS:
                return write(_HOLD_FROM, dict(zip(ids, self._holds(), strict=True)))
            case Stage.TORQUE:
                return write(_FIRST, dict.fromkeys(ids, b"\x01"))
            case Stage.ON:  # a goal switches torque on: who may have lost power is left as it is
                goals = zip(ids, self.goals, self._lost, self._servos.seen, strict=True)
                return write(
                    _GOAL, {id: _position(goal) for id, goal, lost, each in goals if not lost and not each.limp_now}
                )
            case Stage.RELEASING:
                return write(_FIRST, dict.fromkeys(ids, b"\0"))
        return b""

    def _holds(self) -> list[bytes]:
        """Acceleration, goal, time and velocity: the goal alone decides."""
        return [b"\0" + _position(goal) + bytes(4) for goal in self.goals]


def write(address: int, values: dict[int, bytes]) -> bytes:
    """One frame to these servos; nothing when there are none."""
    return encode_sync_write(address, len(next(iter(values.values()))), values) if values else b""


def _position(encoder: int) -> bytes:
    return to_sign_magnitude(encoder, _SIGN).to_bytes(2, "little")


def _word(block: bytes, address: int) -> int:
    return from_sign_magnitude(int.from_bytes(block[address - _FIRST : address - _FIRST + 2], "little"), _SIGN)
