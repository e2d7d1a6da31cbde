"""Ptys that behave as serial ports do when clients come, go and die."""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
import tty


def open_pty() -> tuple[int, int]:
    """Master, non-blocking, and slave, raw. The slave stays open here, so that a client may come and go."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave


def forget_dead_client(slave: int) -> None:
    """Takes off the exclusive use (TIOCEXCL) that a client has left behind which was killed.

    A serial port forgets it when nobody has it open any more; a pty whose slave stays open here would keep it for ever,
    and refuse everyone but root. A client that lives is told by the lock (flock) that it holds: then nothing happens.
    """
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(slave, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(slave, termios.TIOCNXCL)
        fcntl.flock(slave, fcntl.LOCK_UN)
