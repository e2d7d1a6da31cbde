"""Ptys that behave as serial ports do when clients come, go and die."""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
import time
import tty

QUIET_NS = 1_000_000_000
"""A client that has said nothing for so long may be dead."""


def open_pty() -> tuple[int, int]:
    """Master, non-blocking, and slave, raw. The slave stays open here, so that a client may come and go."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave


class DeadClients:
    """Takes off the exclusive use (TIOCEXCL) that clients have left behind which were killed.

    A serial port forgets it when nobody has it open any more; a pty whose slave stays open here would keep it for ever,
    and refuse everyone but root. A client that lives is told by the lock (flock) that it holds: then nothing happens.

    Args:
        slave: Of the pty.
    """

    def __init__(self, slave: int) -> None:
        self._slave, self._heard_ns = slave, time.monotonic_ns()

    def look(self, heard: bytes) -> None:
        """To be called at least once in `QUIET_NS`, with what has come from the client."""
        now_ns = time.monotonic_ns()
        if not heard and now_ns - self._heard_ns < QUIET_NS:
            return
        self._heard_ns = now_ns
        if not heard:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._slave, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.ioctl(self._slave, termios.TIOCNXCL)
                fcntl.flock(self._slave, fcntl.LOCK_UN)
