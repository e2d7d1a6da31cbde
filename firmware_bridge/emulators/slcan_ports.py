"""slcan adapters of one bus, each on a pty of its own, served by a thread."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from firmware_bridge.emulators.can_bus import CanBus
from firmware_bridge.emulators.pty_pair import QUIET_NS, DeadClients, open_pty
from firmware_bridge.emulators.slcan import SlcanAdapter

_READ_BYTES = 4096


class SlcanPorts:
    """Serves adapters until it is closed. Use as a context manager, or call `close`.

    Args:
        bus: The bus they are on.
        adapters: Those to be given a pty; faults may be set on them while they are served.
        links: Also make these symbolic links to the ptys, for stable names.

    Attributes:
        ports: Paths of the ttys that clients open, in order of the adapters. An adapter that is unplugged and in again
            has another one.
    """

    def __init__(self, bus: CanBus, adapters: Sequence[SlcanAdapter], links: Sequence[Path] = ()) -> None:
        self.bus, self.adapters, self.links = bus, tuple(adapters), tuple(links)
        self.ports = [""] * len(self.adapters)
        self._ends: list[tuple[int, int] | None] = [None] * len(self.adapters)  # master and slave of each pty
        self._clients: dict[int, DeadClients] = {}  # by master
        self._changing = threading.Lock()
        self._wake, self._waker = os.pipe()
        self._ending = False
        for index in range(len(self.adapters)):
            self.plug_in(index)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def plug_in(self, index: int) -> None:
        """Gives an adapter a new pty; its link, if it has one, leads there from now on."""
        master, slave = open_pty()
        with self._changing:
            self._ends[index], self.ports[index] = (master, slave), os.ttyname(slave)
            self._clients[master] = DeadClients(slave)
        os.write(self._waker, b"x")
        for link in self.links[index : index + 1]:
            link.unlink(missing_ok=True)
            link.symlink_to(self.ports[index])

    def unplug(self, index: int) -> None:
        """Takes an adapter's pty away, as when its cable is pulled. Its power goes too: the channel is closed."""
        with self._changing:
            ends, self._ends[index] = self._ends[index], None
            adapter = self.adapters[index]
            adapter.bit_rate = adapter.data_bit_rate = 0
            adapter.outbox.clear()
            adapter.output.clear()
            if ends is not None:
                del self._clients[ends[0]]
            for end in ends or ():
                os.close(end)
        os.write(self._waker, b"x")  # a pty that somebody still waits for does not hang up
        for link in self.links[index : index + 1]:
            link.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends the thread; the ports disappear."""
        self._ending = True
        os.write(self._waker, b"x")
        self._thread.join()
        for index in range(len(self.adapters)):
            self.unplug(index)
        os.close(self._wake)
        os.close(self._waker)

    def _serve(self) -> None:
        while not self._ending:
            with self._changing:
                plugged = [(a, ends[0]) for a, ends in zip(self.adapters, self._ends, strict=True) if ends is not None]
                due = self.bus.next_due_ns
            full = [master for adapter, master in plugged if adapter.output]
            now_ns = time.monotonic_ns()
            wake_ns = min(due or now_ns + QUIET_NS, now_ns + QUIET_NS)
            wait = max(0.0, (wake_ns - now_ns) * 1e-9)
            with contextlib.suppress(OSError, ValueError):  # one that was unplugged meanwhile
                readable, _, _ = select.select([self._wake, *(m for _, m in plugged)], full, [], wait)
                if self._wake in readable:
                    os.read(self._wake, _READ_BYTES)
            with self._changing:
                self._exchange()

    def _exchange(self) -> None:
        plugged = [(a, ends[0]) for a, ends in zip(self.adapters, self._ends, strict=True) if ends is not None]
        for adapter, master in plugged:
            heard = b""
            with contextlib.suppress(BlockingIOError):
                heard = os.read(master, _READ_BYTES)
                adapter.receive(heard, time.monotonic_ns())
            self._clients[master].look(heard)
        self.bus.advance(time.monotonic_ns())
        for adapter, master in plugged:
            # What is not taken stays: nobody reads, and the adapter's memory fills up.
            with contextlib.suppress(BlockingIOError):
                del adapter.output[: os.write(master, adapter.output) if adapter.output else 0]

    def __enter__(self) -> SlcanPorts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
