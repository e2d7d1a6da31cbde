"""The computer's end of the bridge, as patient as the machine is busy: it waits for conditions, never for a time."""

from __future__ import annotations

import itertools
import os
import random
import select
import time
from collections.abc import Callable

from firmware_bridge._bridge import (
    Clear,
    Command,
    Hello,
    HelloReply,
    Message,
    Parser,
    Release,
    State,
    Stop,
    encode,
    serial_frame,
)
from firmware_bridge.arm_table import ArmTable
from hil.backends import set_to_1_mbps

IDLE, READY, RUNNING, BRAKING, STOPPED = 1, 2, 3, 4, 5
STOP, EXPIRED, FEEDBACK, DRIVE, RESET = 0x01, 0x02, 0x08, 0x10, 0x100
BUSY = EXPIRED | FEEDBACK
"""What a machine that is too busy to run this test in real time causes by itself."""
ACCEPTED, WRONG_CONFIG, STALE, NOT_ARMED, WRONG_LATCH, FAULT_PRESENT = 0, 4, 7, 8, 10, 11

_PATIENCE_S = 120.0
_EXPIRY_MS = 100
_HELLO_AGAIN = 50  # states


class Computer:
    """Speaks to whatever is behind `port`."""

    def __init__(self, port: str, table: ArmTable) -> None:
        self.table = table
        self.session = 1  # nobody has opened it
        self.sequence = 0
        self.reply: HelloReply | None = None
        self._port = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        set_to_1_mbps(port)
        self._parser = Parser()
        self._state: State | None = None

    def close(self) -> None:
        os.close(self._port)

    @property
    def state(self) -> State:
        """The newest."""
        assert self._state is not None
        return self._state

    def send(self, message: Message) -> None:
        self.send_bytes(serial_frame(encode(message)))

    def send_bytes(self, data: bytes) -> None:
        while data:
            select.select([], [self._port], [], _PATIENCE_S)
            data = data[os.write(self._port, data) :]

    def next_state(self) -> State:
        """Waits for one that is newer than all that came so far."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if not select.select([self._port], [], [], 1.0)[0]:
                continue
            fresh = False
            for message in self._parser.feed(os.read(self._port, 4096)):
                if isinstance(message, State):
                    self._state, fresh = message, True
                elif isinstance(message, HelloReply):
                    self.reply = message
            if fresh:
                return self.state
        raise TimeoutError(f"no state in {_PATIENCE_S} s; the last one was {self._state}")

    def wait(self, condition: Callable[[State], bool], each: Callable[[], None] = lambda: None) -> State:
        """States until one is as wanted; `each` is done for every one that is not."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition(self.next_state()):
            assert time.monotonic() < deadline, self.state
            each()
        return self.state

    def states(self, count: int) -> State:
        """So many."""
        for _ in range(count):
            self.next_state()
        return self.state

    # --- orders ---------------------------------------------------------------------------------------------------

    def _order(self) -> tuple[int, int, int, int]:
        self.sequence += 1
        return _EXPIRY_MS, self.session, self.sequence, self.state.time_us

    def hello(self, **other: int) -> HelloReply:
        """A new session; returns the answer."""
        self.session, self.sequence = random.randrange(1, 2**32), 0
        return self._greet(**other)

    def _greet(self, **other: int) -> HelloReply:
        self.reply = None
        hello = Hello(len(self.table.joints), self.table.tick_us, self.session, self.table.config)._replace(**other)
        self.send(hello)
        waited = itertools.count(1)

        def again() -> None:
            if next(waited) % _HELLO_AGAIN == 0:  # it, or its reply, was lost: a hello may be repeated
                self.send(hello)

        self.wait(lambda _: self.reply is not None, again)
        assert self.reply is not None
        return self.reply

    def clear(self, latch: int | None = None) -> State:
        """Asks to arm; returns the first state that says what became of it."""
        return self._judged(Clear, latch)

    def release(self) -> State:
        return self._judged(Release, None)

    def command(self, targets: list[int]) -> None:
        self.send(Command(*self._order(), tuple((position, 0) for position in targets)))

    def stop(self) -> State:
        """Until a state reports it and the arm is at rest."""
        self.send(Stop())
        return self.wait(lambda state: state.arm == STOPPED and state.faults & STOP != 0)

    def _judged(self, kind: type[Clear | Release], latch: int | None) -> State:
        """Until it is refused for something else than that this machine was busy, or counts."""
        while True:
            self._greet()  # of the session that is open: no more than that no refusal stands after it
            self.next_state()
            message = kind(*self._order(), self.state.latch if latch is None else latch)
            self.send(message)
            self.wait(lambda state, own=message.sequence: state.sequence == own or state.refusal != ACCEPTED)  # type: ignore[misc]
            busy = (STALE,) if latch is not None else (STALE, WRONG_LATCH)
            if self.state.refusal not in busy:
                return self.state

    def _go_on(self, targets: list[int]) -> None:
        """A command, and before it a clear where there has to be one. What a busy machine delays is said again."""
        if self.state.arm in (IDLE, STOPPED):
            self.send(Clear(*self._order(), self.state.latch))
        if self.state.arm != BRAKING:
            self.command(targets)

    def arm(self, on: Callable[[], bool] = lambda: True) -> State:
        """Running where it is measured, however often a busy machine lets that expire, and `on`: torque is."""

        def again() -> None:
            self._go_on(list(self.state.positions))

        return self.wait(lambda state: state.arm == RUNNING and on(), again)

    def drive(self, targets: list[int], reached: Callable[[], bool]) -> None:
        """Commands the same targets until they are reached."""

        def again() -> None:
            assert self.state.faults & ~BUSY == 0, self.state
            self._go_on(targets)

        self.wait(lambda _: reached(), again)
