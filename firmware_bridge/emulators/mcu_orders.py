"""What an emulated microcontroller makes of messages: docs/bridge-protocol.md in Python, and not codec/bridge_gate.c.

Two readings of one page are worth having only while neither is copied from the other. Pure: messages and a clock in.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag, auto

from firmware_bridge._bridge import (
    MAX_EXPIRY_MS,
    PROTOCOL,
    Clear,
    Command,
    Hello,
    HelloReply,
    Message,
    Release,
    State,
    Stop,
)

_CLOCK = 1 << 32
"""The wire's microseconds wrap here; those of this file do not."""


class Arm(IntEnum):
    """`arm` of a state."""

    IDLE = 1
    READY = 2
    RUNNING = 3
    BRAKING = 4
    STOPPED = 5


class Latched(IntFlag):
    """`faults` of a state."""

    STOP = 0x0001
    EXPIRED = 0x0002
    SESSION = 0x0004
    FEEDBACK = 0x0008
    DRIVE = 0x0010
    LIMITER = 0x0020
    TRACKING = 0x0040
    POWER = 0x0080
    RESET = 0x0100


class Refusal(IntEnum):
    """`refusal` of a state or of a hello's reply. Of several reasons the lowest is given."""

    ACCEPTED = 0
    WRONG_PROTOCOL = 1
    WRONG_JOINTS = 2
    WRONG_TICK = 3
    WRONG_CONFIG = 4
    NO_SESSION = 5
    OLD_SEQUENCE = 6
    STALE = 7
    NOT_ARMED = 8
    NOT_AT_REST = 9
    WRONG_LATCH = 10
    FAULT_PRESENT = 11


class Task(Enum):
    """What a message that counts leaves to be done."""

    ARM = auto()
    FOLLOW = auto()
    RELEASE = auto()


class Orders:
    """Session, sequence, expiry and latch of one arm, since power-on.

    Args:
        joints: How many the arm has.
        tick_us: In which its velocities are counted.
        config: The hash of what both ends must have alike.
        longest_ms: An order lives no longer than this, whatever it asks for.

    Attributes:
        arm: What it may do.
        faults: What is latched.
        present: Those of which the cause is still there.
        latch: The number of what is latched.
        targets: Position and velocity of each joint, of the newest command.
    """

    def __init__(self, joints: int, tick_us: int, config: int, longest_ms: int = MAX_EXPIRY_MS) -> None:
        self._joints, self._tick_us, self._config, self._longest_ms = joints, tick_us, config, longest_ms
        self.arm = Arm.IDLE
        self.faults = self.present = Latched(0)
        self.latch = 0
        self.refusal = Refusal.ACCEPTED
        self.session = self.sequence = 0
        self.targets: tuple[tuple[int, int], ...] = ()
        self._dies_us = 0

    @property
    def armed(self) -> bool:
        return self.arm in (Arm.READY, Arm.RUNNING)

    def receive(self, now_us: int, message: Message) -> Task | HelloReply | None:
        """Judges a message when it arrives; what is to be done about it, or the answer that is to be sent."""
        self._let_expire(now_us)
        match message:
            case Stop():
                self._latch(Latched.STOP)
            case Hello():
                return self._greet(message)
            case Command():
                return self._obey(now_us, message, self._why_not_follow(now_us, message))
            case Clear() | Release():
                return self._obey(now_us, message, self._why_not_answer_to(now_us, message))
        return None

    def tick(self, now_us: int, present: Latched) -> None:
        """Once a tick: faults whose cause is there now."""
        self.present = present
        if present & ~self.faults:
            self._latch(present)
        self._let_expire(now_us)

    def come_to_rest(self) -> None:
        """The limiter has brought the arm to rest."""
        if self.arm == Arm.BRAKING:
            self.arm = Arm.STOPPED

    def report(self, now_us: int, positions: tuple[int, ...], limited: int, stale: int, age_ms: int) -> State:
        return State(
            arm=self.arm,
            refusal=self.refusal,
            session=self.session,
            sequence=self.sequence,
            time_us=now_us % _CLOCK,
            faults=self.faults,
            latch=self.latch,
            limited=limited,
            stale=stale,
            age_ms=age_ms,
            positions=positions,
        )

    def _latch(self, faults: Latched) -> None:
        self.faults |= faults
        self.latch = (self.latch + 1) % (1 << 16)
        if self.armed:
            self.arm = Arm.BRAKING
        elif self.arm == Arm.IDLE:
            self.arm = Arm.STOPPED

    def _let_expire(self, now_us: int) -> None:
        if self.armed and now_us >= self._dies_us:
            self._latch(Latched.EXPIRED)

    def _greet(self, hello: Hello) -> HelloReply:
        expected = {
            Refusal.WRONG_PROTOCOL: hello.protocol == PROTOCOL,
            Refusal.WRONG_JOINTS: hello.joints == self._joints,
            Refusal.WRONG_TICK: hello.tick_us == self._tick_us,
            Refusal.WRONG_CONFIG: hello.config == self._config,
        }
        self.refusal = next((why for why, alike in expected.items() if not alike), Refusal.ACCEPTED)
        if self.refusal == Refusal.ACCEPTED and hello.session != self.session:
            if self.armed:
                self._latch(Latched.SESSION)
            self.session, self.sequence = hello.session, 0
        return HelloReply(self._joints, self._tick_us, self.session, self._config, PROTOCOL, self.refusal)

    def _why_not(self, now_us: int, order: Command | Clear | Release) -> Refusal:
        """Reasons that every order may be refused for."""
        if order.session == 0 or order.session != self.session:
            return Refusal.NO_SESSION
        if order.sequence <= self.sequence:
            return Refusal.OLD_SEQUENCE
        # What lies ahead of this clock is nearly a whole turn of it old.
        age_us = (now_us - order.basis_us) % _CLOCK
        return Refusal.ACCEPTED if age_us < order.expiry_ms * 1000 else Refusal.STALE

    def _why_not_follow(self, now_us: int, command: Command) -> Refusal:
        if len(command.targets) != self._joints:
            return Refusal.WRONG_JOINTS
        return self._why_not(now_us, command) or (Refusal.ACCEPTED if self.armed else Refusal.NOT_ARMED)

    def _why_not_answer_to(self, now_us: int, order: Clear | Release) -> Refusal:
        if why := self._why_not(now_us, order):
            return why
        if self.arm not in (Arm.IDLE, Arm.STOPPED):
            return Refusal.NOT_AT_REST
        if order.latch != self.latch:
            return Refusal.WRONG_LATCH
        return Refusal.FAULT_PRESENT if isinstance(order, Clear) and self.present else Refusal.ACCEPTED

    def _obey(self, now_us: int, order: Command | Clear | Release, why_not: Refusal) -> Task | None:
        self.refusal = why_not
        if why_not:
            return None
        self.sequence = order.sequence
        if isinstance(order, Release):
            return Task.RELEASE
        self._dies_us = now_us + 1000 * min(order.expiry_ms, self._longest_ms)
        if isinstance(order, Command):
            self.arm, self.targets = Arm.RUNNING, order.targets
            return Task.FOLLOW
        self.arm, self.faults = Arm.READY, Latched(0)
        return Task.ARM
