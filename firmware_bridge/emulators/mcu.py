"""An emulated bridge microcontroller: what docs/bridge-protocol.md asks of one, with emulated servos behind it."""

from __future__ import annotations

from firmware_bridge._bridge import HelloReply, Message, Parser, Stop, encode, serial_frame
from firmware_bridge._safety import REJECTED, Joint
from firmware_bridge.arm_table import ArmTable
from firmware_bridge.emulators.bus import ServoBus
from firmware_bridge.emulators.mcu_orders import Arm, Latched, Orders, Task
from firmware_bridge.emulators.mcu_servos import LOST_CYCLES, OVERLOAD, VOLTAGE, Drives, SeenServos, Stage

SILENCE_US = 20_000
"""From the last order that counted until the servos have the first goal of the brake, at most."""
WATCHDOG_US = 400_000

_WIRE_US = 1_000
_START_US = 1_000_000
_ASTRAY_US = 100_000


class Mcu:
    """The microcontroller. Pure: bytes and a clock in, bytes out; no I/O, no thread, no clock of its own.

    It follows the page, not the firmware's C: where the two differ one of them is wrong, and the page says which or is
    not clear. Only what must be the same to the last bit is shared: the codec, the limiter and the table.

    Args:
        table: The arm's; every limit comes from it.
        bus: Its servos. Their clock is this one's.
        start_ns: Power-on, on the clock of the calls.

    Attributes:
        output: What goes up to the computer, taken by the caller.
        due_ns: When the next tick is; `advance` does it.
        orders: What is armed, latched and refused.
        wiretap: All that went to the servos, with its time; taken by the caller.
    """

    def __init__(self, table: ArmTable, bus: ServoBus, start_ns: int = 0) -> None:
        self.table, self._bus = table, bus
        self.output = bytearray()
        self.wiretap: list[tuple[int, bytes]] = []
        self._pressed = False
        self.boot(start_ns)

    def boot(self, now_ns: int, *, by_watchdog: bool = False) -> None:
        """Power comes, or the watchdog has struck: nothing of what was before is left, but for the servos."""
        table = self.table
        longest_ms = max(1, (SILENCE_US - _WIRE_US - table.tick_us) // 1000)
        self.orders = Orders(len(table.joints), table.tick_us, table.config, longest_ms)
        self.due_ns = self._begun_ns = now_ns
        self._parser = Parser()
        self._servos = SeenServos(table)
        self._drives = Drives(self._servos)
        self._joints = [Joint(joint.limits, 0) for joint in table.joints]
        self._targets = [(0, 0)] * len(table.joints)
        self._astray = [0] * len(table.joints)
        self._limited = 0
        self._starting = True
        self._hung_ns: int | None = None
        self._held = self._pressed
        if by_watchdog:
            self.orders.tick(now_ns // 1000, Latched.RESET)
        if self._pressed:
            self.orders.receive(now_ns // 1000, Stop())

    def hang(self, now_ns: int) -> None:
        """The loop stands still, until the watchdog ends that."""
        self._hung_ns = now_ns

    def press(self, now_ns: int) -> None:
        """The emergency stop."""
        if not self._pressed and self._hung_ns is None:
            self.orders.receive(now_ns // 1000, Stop())
        self._pressed = self._held = True

    def let_go(self) -> None:
        """Of the emergency stop."""
        self._pressed = False

    def receive(self, data: bytes, now_ns: int) -> None:
        """Bytes from the computer; one that hangs takes none."""
        if self._hung_ns is None:
            for message in self._parser.feed(data):
                self._take(now_ns // 1000, message)

    def advance(self, now_ns: int) -> None:
        """Does every tick that is due by now, each at its own time."""
        while self.due_ns <= now_ns:
            at_ns = self.due_ns
            self.due_ns += self.table.tick_us * 1000
            answers = self._bus.transmit(at_ns)
            if self._hung_ns is None:
                self._servos.hear(answers)
                self._tick(at_ns)
            elif at_ns - self._hung_ns >= WATCHDOG_US * 1000:
                self.boot(at_ns, by_watchdog=True)

    def _take(self, now_us: int, message: Message) -> None:
        match self.orders.receive(now_us, message):
            case HelloReply() as reply:
                self._say(reply)
            case Task.ARM:
                self._drives.enter(Stage.MEASURING)
            case Task.FOLLOW:
                self._targets = list(self.orders.targets)
            case Task.RELEASE:
                self._drives.enter(Stage.RELEASING)

    def _say(self, message: Message) -> None:
        self.output += serial_frame(encode(message))

    # --- a tick -------------------------------------------------------------------------------------------------------

    def _tick(self, now_ns: int) -> None:
        now_us = now_ns // 1000
        self._servos.end_cycle()
        self._starting &= not self._servos.complete and now_ns - self._begun_ns < _START_US * 1000
        if self._drives.advance():
            self._rest()
        present = self._present()
        self.orders.tick(now_us, present | self._given_up())
        self._held = self._pressed
        self._move(now_us, present)
        words = self._drives.words() + self._servos.question()
        if words:
            self._bus.receive(words, now_ns)
            self.wiretap.append((now_ns, words))
        self._report(now_us)

    def _rest(self) -> None:
        """The pose is where the joints have been measured; what was commanded meanwhile is followed from there."""
        poses = [joint.position(at) for joint, at in zip(self.table.joints, self._drives.goals, strict=True)]
        self._joints = [Joint(joint.limits, at) for joint, at in zip(self.table.joints, poses, strict=True)]
        self._targets = [(at, 0) for at in poses] if self.orders.arm != Arm.RUNNING else list(self.orders.targets)

    def _present(self) -> Latched:
        found = Latched.STOP if self._held else Latched(0)
        for n, each in enumerate(self._servos.seen):
            errors = each.errors
            # A servo in overload says so until torque comes on again, which needs the clear that it must not prevent.
            if not self._drives.on and (self._drives.stage != Stage.LEFT or Latched.DRIVE in self.orders.faults):
                errors &= ~OVERLOAD
            if errors & VOLTAGE:
                found |= Latched.POWER
            if errors & ~VOLTAGE or (self._drives.on and each.limp):
                found |= Latched.DRIVE
            if each.missed >= LOST_CYCLES and not self._starting:
                found |= Latched.FEEDBACK
            off = abs(each.encoder - self._drives.goals[n])
            self._astray[n] = self._astray[n] + 1 if self._drives.on and 0 < each.joint.tracking < off else 0
            if self._astray[n] * self.table.tick_us >= _ASTRAY_US:
                found |= Latched.TRACKING
        return found

    def _given_up(self) -> Latched:
        if not self._drives.stuck:
            return Latched(0)
        why = Latched.FEEDBACK if self._drives.stage == Stage.MEASURING else Latched.DRIVE
        self._drives.enter(Stage.LEFT)
        return why

    def _move(self, now_us: int, present: Latched) -> None:
        self._limited = 0
        if self._drives.on and self.orders.arm == Arm.RUNNING:
            if not self._follow():
                self.orders.tick(now_us, present | Latched.LIMITER)
            self._set_goals()
        elif self._drives.on and self.orders.arm == Arm.BRAKING:
            for joint in self._joints:
                joint.brake()
            self._set_goals()
            if all(joint.velocity == 0 == joint.acceleration for joint in self._joints):
                self.orders.come_to_rest()
        elif not self.orders.armed:
            self.orders.come_to_rest()
            self._drives.halt()

    def _follow(self) -> bool:
        good = True
        for n, (joint, (position, velocity)) in enumerate(zip(self._joints, self._targets, strict=True)):
            if joint.step(position, velocity) & REJECTED:
                joint.brake()
                good = False
            self._limited |= (joint.position != position) << n
            self._targets[n] = (position + velocity, velocity)
        return good

    def _set_goals(self) -> None:
        both = zip(self.table.joints, self._joints, strict=True)
        self._drives.goals = [joint.encoder(at.position) for joint, at in both]

    def _report(self, now_us: int) -> None:
        seen = self._servos.seen
        ages = [each.missed * self.table.tick_us // 1000 if each.known else 255 for each in seen]
        stale = sum((age > 0) << n for n, age in enumerate(ages))
        positions = tuple(each.joint.position(each.encoder) for each in seen)
        self._say(self.orders.report(now_us, positions, self._limited, stale, max(ages)))
