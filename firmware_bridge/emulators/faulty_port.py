"""Puts a line on which things go wrong between a client and a port, a real one too."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
import tty
from pathlib import Path
from types import TracebackType

from firmware_bridge.emulators.faults import FaultPlan
from firmware_bridge.emulators.faulty_line import FaultyLine
from firmware_bridge.emulators.pty_pair import QUIET_NS, DeadClients, open_pty
from firmware_bridge.emulators.tty_rate import baud_of, set_baud

_READ_BYTES = 4096


class FaultyPort:
    """A pty whose bytes go to and from a port, with faults on the way. Use as a context manager, or call `close`.

    The port is set to whatever rate the client sets the pty to.

    Args:
        behind: The port that the client would otherwise open.
        plan: What goes wrong; its time begins now.
        protocol: What is spoken, one of `framing.SPLITTERS`.
        link: Also make this symbolic link to the pty, for a stable name.

    Attributes:
        port: Path of the tty that a client opens.
        lines: By direction, the two lines.
        gone: What has become of the port behind, empty while it is there.

    Raises:
        OSError: The port cannot be opened.
    """

    def __init__(self, behind: str, plan: FaultPlan, protocol: str = "feetech", link: Path | None = None) -> None:
        start_ns = time.monotonic_ns()
        self.lines = {way: FaultyLine(plan, way, protocol, start_ns) for way in ("requests", "replies")}
        self.gone = ""
        self._link = link
        self._behind = os.open(behind, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._behind)
        self._master, self._slave = open_pty()
        self._clients = DeadClients(self._slave)
        self._baud = 0
        self.port = os.ttyname(self._slave)
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.port)

    def close(self) -> None:
        """Ends it; the pty disappears, the port behind is left as it is."""
        os.write(self._waker, b"x")
        self._thread.join()
        for end in (self._master, self._slave, self._behind, self._wake, self._waker):
            os.close(end)
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def _serve(self) -> None:
        try:
            while not self._carry():
                pass
        except OSError as error:
            self.gone = error.strerror or "gone"

    def _carry(self) -> bool:
        """Waits for something and carries it; True when it is to end."""
        now_ns = time.monotonic_ns()
        due = [at for line in self.lines.values() if (at := line.next_due_ns) is not None]
        wait = max(0.0, (min([*due, now_ns + QUIET_NS]) - now_ns) * 1e-9)
        readable, _, _ = select.select([self._wake, self._master, self._behind], [], [], wait)
        if self._wake in readable:
            return True
        for name, source, target in (
            ("requests", self._master, self._behind),
            ("replies", self._behind, self._master),
        ):
            data = os.read(source, _READ_BYTES) if source in readable else b""
            if source in readable and not data:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if name == "requests":
                self._clients.look(data)
                if data:
                    self._follow_rate()
            line = self.lines[name]
            line.push(data, time.monotonic_ns())
            out = line.pull(time.monotonic_ns())
            if out:
                with contextlib.suppress(BlockingIOError):  # nobody reads and the buffer is full: the bytes are lost
                    os.write(target, out)
        return False

    def _follow_rate(self) -> None:
        baud = baud_of(self._master)
        if baud != self._baud:
            self._baud = baud
            set_baud(self._behind, baud)

    def __enter__(self) -> FaultyPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
