"""The adapter between a computer and a microcontroller: it carries, listens, hangs and is unplugged."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import threading
import time
import tty
from pathlib import Path

from firmware_bridge._bridge import Message, Parser, State

READ, LOOK_S = 4096, 0.05


class Adapter:
    """Carries bytes between a port of its own and the microcontroller's, and reads along.

    Args:
        link: Symbolic link to its port, the same after it was plugged in again.
        controller: The microcontroller's tty.

    Attributes:
        orders: What was handed to the microcontroller, with the time (`time.monotonic_ns`).
        states: What the microcontroller said, likewise; heard also while the computer is cut off.
        hangs: While it is set nothing is carried, and the computer's bytes wait in the port's buffer.
    """

    def __init__(self, link: Path, controller: str) -> None:
        self._link = link
        self.orders: list[tuple[int, Message]] = []
        self.states: list[tuple[int, State]] = []
        self.hangs = False
        self._down, self._up = Parser(), Parser()
        self._lock, self._end = threading.Lock(), threading.Event()
        self._controller = os.open(controller, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        _fast(self._controller)
        self._master = self._slave = -1
        self.plug_in()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def plug_in(self) -> None:
        """Gives it a port."""
        with self._lock:
            self._master, self._slave = pty.openpty()
            os.set_blocking(self._master, False)
            _fast(self._slave)
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        """Takes the port away; the microcontroller stays powered."""
        with self._lock:
            self._link.unlink(missing_ok=True)
            for descriptor in (self._slave, self._master):
                if descriptor >= 0:
                    os.close(descriptor)
            self._master = self._slave = -1

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self.unplug()
        os.close(self._controller)

    def _carry(self) -> None:
        while not self._end.is_set():
            open_ends = [end for end in (self._controller, -1 if self.hangs else self._master) if end >= 0]
            with contextlib.suppress(OSError, ValueError):  # unplugged meanwhile
                select.select(open_ends, [], [], LOOK_S)
            with self._lock:
                from_controller = _read(self._controller)
                now = time.monotonic_ns()
                said = [message for message in self._up.feed(from_controller) if isinstance(message, State)]
                self.states += [(now, message) for message in said]
                if self.hangs or self._master < 0:
                    continue
                _write(self._master, from_controller)
                from_computer = _read(self._master)
                _write(self._controller, from_computer)
                self.orders += [(now, message) for message in self._down.feed(from_computer)]


def _fast(descriptor: int) -> None:
    tty.setraw(descriptor)
    settings = termios.tcgetattr(descriptor)
    settings[4] = settings[5] = termios.B1000000
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)


def _read(descriptor: int) -> bytes:
    with contextlib.suppress(OSError):
        return os.read(descriptor, READ)
    return b""


def _write(descriptor: int, data: bytes) -> None:
    """What does not go in is lost, as on a line that nobody reads."""
    with contextlib.suppress(OSError):
        os.write(descriptor, data)
