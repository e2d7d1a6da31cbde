"""The process of a servo bus: `BusProcess` starts it; it prints the port and serves until its standard input closes."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.bus import ServoBus
from firmware_bridge.emulators.faults import FaultPlan
from firmware_bridge.emulators.pty_pair import DeadClients, open_pty
from firmware_bridge.emulators.tty_rate import baud_of

TAP = struct.Struct("=qI")
"""Head of a wiretap's record: when the bytes came, and how many."""

_READ_BYTES = 4096
_IDLE_NS = 10_000_000  # on a quiet line servos still look at their load this often
_MCL_CURRENT, _MCL_FUTURE = 1, 2  # bits/mman.h: a servo has no pages that must first come from a disk
_PRIORITY = 50  # below a control loop's 80, above everything that renders or infers


@dataclass(frozen=True)
class Line:
    """Where bytes come from and go to.

    Attributes:
        reads: Descriptor, non-blocking.
        writes: Likewise; the same one for a pty.
        baud: What the host has set the line to, bits a second.
        look: Called again and again, with what has been heard since.
    """

    reads: int
    writes: int
    baud: Callable[[], int]
    look: Callable[[bytes], None]


def make_pty() -> tuple[Line, str]:
    """Master side of a pty, and the path for a client."""
    master, slave = open_pty()
    return Line(master, master, lambda: baud_of(master), DeadClients(slave).look), os.ttyname(slave)


def make_pipes(stem: str) -> tuple[Line, str]:
    """A pair of pipes as qemu's `pipe` device opens them: it reads STEM.in and writes STEM.out."""
    for end in (".in", ".out"):
        os.mkfifo(stem + end)
    # Both ways each: a pipe without a reader, or a writer, would have an end.
    reads, writes = (os.open(stem + end, os.O_RDWR | os.O_NONBLOCK) for end in (".out", ".in"))
    return Line(reads, writes, lambda: 1_000_000, lambda _: None), stem


def serve(bus: ServoBus, line: Line, until_closed: int, wiretap: BinaryIO | None = None) -> None:
    """Carries bytes between a line and a bus until the other end of `until_closed` goes away.

    Args:
        bus: The servos.
        line: To the host.
        until_closed: A pipe the parent holds; end of file ends the loop.
        wiretap: Is given all that comes from the host, as records of `TAP`: time on CLOCK_MONOTONIC, length, bytes.
    """
    while True:
        now_ns = time.monotonic_ns()
        due = bus.quiet_ns  # one wake-up a burst of replies: a USB adapter hands them over in one packet too
        wake = min(now_ns + _IDLE_NS if due is None else due, bus.next_event_ns or now_ns + _IDLE_NS)
        readable, _, _ = select.select([line.reads, until_closed], [], [], max(0.0, (wake - now_ns) * 1e-9))
        if until_closed in readable and not os.read(until_closed, _READ_BYTES):
            return
        data = b""
        if line.reads in readable:
            data, now_ns = os.read(line.reads, _READ_BYTES), time.monotonic_ns()
            bus.receive(data, now_ns, line.baud())
            if wiretap is not None:
                wiretap.write(TAP.pack(now_ns, len(data)) + data)
        line.look(data)
        reply = bus.transmit(time.monotonic_ns(), line.baud())
        if reply:
            with contextlib.suppress(BlockingIOError):  # nobody reads and the buffer is full: the bytes are lost
                os.write(line.writes, reply)


def main() -> None:
    """Body of the process: prints the port, then serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int, help="of the shared servo block")
    parser.add_argument("--stored", type=json.loads, default={}, help="registers by name by servo id, as JSON")
    parser.add_argument("--fault", action="append", default=[], help="one of a plan, as faults.SYNTAX says")
    parser.add_argument("--seed", type=int, default=0, help="of the plan")
    parser.add_argument("--wiretap", type=Path, help="write what comes from the host to this file")
    parser.add_argument("--pipes", metavar="STEM", help="a pair of pipes in place of the pty")
    arguments = parser.parse_args()
    stored = {int(id): registers for id, registers in arguments.stored.items()}
    faults = FaultPlan.of(arguments.fault, arguments.seed)
    bus = ServoBus(ServoBlock.attach(arguments.descriptor), stored, faults, time.monotonic_ns())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    line, port = make_pipes(arguments.pipes) if arguments.pipes else make_pty()
    with contextlib.suppress(OSError, AttributeError):  # without the right, replies are late under load, nothing else
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE)
    print(port, flush=True)
    with contextlib.ExitStack() as stack:
        # Unbuffered: it is read while the bus runs.
        tap = stack.enter_context(arguments.wiretap.open("ab", buffering=0)) if arguments.wiretap else None
        serve(bus, line, sys.stdin.fileno(), tap)


if __name__ == "__main__":
    main()
