"""The firmware and its emulator side by side on one virtual clock, each with servos of its own."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from firmware_bridge._bridge import HelloReply, Parser, State
from firmware_bridge.arm_table import ArmTable
from firmware_bridge.emulators import FaultPlan, KinematicServos, Mcu, ServoBlock, ServoBus

START_NS = (2**32 - 1_000_000) * 1000
"""The wire's clock wraps after a second."""

_MOST = 8192


class Twins:
    """Both; every method does the same to both, and `tick` compares what they say.

    Attributes:
        now_ns: The clock.
        state: The newest.
        replies: All to hellos.
        blocks: The servos of the emulator, and those of the firmware.
    """

    def __init__(self, library: Path, table: ArmTable, faults: FaultPlan, holding: tuple[int, ...] | None) -> None:
        self._c = ctypes.CDLL(str(library))
        self._table, self.now_ns = table, START_NS
        self._parser, self.state = Parser(), State(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ())
        self.replies: list[HelloReply] = []
        ids = [joint.servo_id for joint in table.joints]
        self.blocks = (ServoBlock.local(ids), ServoBlock.local(ids))
        if holding is not None:
            for block in self.blocks:
                block.goal[:], block.torque[:] = holding, 1
        ours, theirs = (ServoBus(block, faults=faults, start_ns=START_NS) for block in self.blocks)
        self._bodies = [KinematicServos(block) for block in self.blocks]
        self._bus, self.mcu = theirs, Mcu(table, ours, START_NS)
        self._c.twin_press(0)
        self._boot(False)

    def each(self, do: Callable[[ServoBlock], None]) -> None:
        """Something happens to the servos."""
        for block in self.blocks:
            do(block)

    def boot(self, by_watchdog: bool) -> None:
        self.mcu.boot(self.now_ns, by_watchdog=by_watchdog)
        self.mcu.output.clear()
        self._boot(by_watchdog)

    def _boot(self, by_watchdog: bool) -> None:
        self._c.twin_boot(self._us, int(by_watchdog))
        self._parser = Parser()
        self._said(0)
        self._said(1)

    def press(self, whether: bool) -> None:
        if whether:
            self.mcu.press(self.now_ns)
        else:
            self.mcu.let_go()
        self._c.twin_poll(self._us)  # it is looked at all the time: also just before this
        self._c.twin_press(int(whether))
        self._c.twin_poll(self._us)

    def hear(self, data: bytes) -> None:
        """Bytes from the computer, some time between two ticks."""
        self.mcu.receive(data, self.now_ns)
        self._c.twin_hear(0, data, ctypes.c_size_t(len(data)))
        self._c.twin_poll(self._us)

    def wait(self, us: int) -> None:
        """Not beyond the next tick."""
        self.now_ns += us * 1000
        assert self.now_ns < self.mcu.due_ns

    def tick(self) -> None:
        """On to the next tick, which is done; both have to say and do the same."""
        self.now_ns = self.mcu.due_ns
        for bodies in self._bodies:
            bodies.step(self._table.tick_us * 1e-6)
        answers = self._bus.transmit(self.now_ns)
        self._c.twin_hear(1, answers, ctypes.c_size_t(len(answers)))
        self._c.twin_poll(ctypes.c_uint32((self.now_ns // 1000 - 1) % 2**32))  # a poll takes only so many bytes
        self._c.twin_poll(self._us)
        self.mcu.advance(self.now_ns)
        ours, theirs = b"".join(data for _, data in self.mcu.wiretap), self._said(1)
        self.mcu.wiretap.clear()
        assert ours == theirs, f"{self.now_ns - START_NS} ns, {self.state}:\n{ours.hex(' ')}\n{theirs.hex(' ')}"
        if theirs:
            self._bus.receive(theirs, self.now_ns)
        self._compare(bytes(self.mcu.output), self._said(0))
        self.mcu.output.clear()

    def _compare(self, ours: bytes, theirs: bytes) -> None:
        messages = self._parser.feed(theirs)
        said = Parser().feed(ours)
        assert said == messages, f"{self.now_ns - START_NS} ns: {said} is not {messages}"
        assert ours == theirs
        for message in messages:
            if isinstance(message, State):
                self.state = message
            elif isinstance(message, HelloReply):
                self.replies.append(message)

    @property
    def _us(self) -> ctypes.c_uint32:
        return ctypes.c_uint32(self.now_ns // 1000 % 2**32)

    def _said(self, bus: int) -> bytes:
        buffer = ctypes.create_string_buffer(_MOST)
        self._c.twin_say.restype = ctypes.c_size_t
        count = self._c.twin_say(bus, buffer, ctypes.c_size_t(_MOST))
        return buffer.raw[:count]
