"""The process of an emulated microcontroller: `McuProcess` starts it; it prints the port and serves until its standard
input closes. Buttons are bytes there: S presses the emergency stop, R lets go, H makes it hang, P takes its power away
for a moment."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

from firmware_bridge.arm_table import arm_table, read_description
from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.bus import ServoBus
from firmware_bridge.emulators.faults import FaultPlan
from firmware_bridge.emulators.faulty_line import FaultyLine
from firmware_bridge.emulators.kinematics import KinematicServos
from firmware_bridge.emulators.mcu import Mcu
from firmware_bridge.emulators.pty_pair import DeadClients, open_pty
from firmware_bridge.emulators.server import TAP

_READ_BYTES = 4096
_LEAP_NS = 4_000_000


class DeviceClock:
    """Time on the device: it stands still while this process is kept from running, so that nothing in it is ever late.

    Args:
        pace: Device seconds in a second, at most 1. A slow device gives a busy computer time to be in time.
    """

    def __init__(self, pace: float) -> None:
        self._pace, self._seen_ns, self._now_ns = pace, time.monotonic_ns(), 0

    def now_ns(self) -> int:
        seen_ns = time.monotonic_ns()
        self._now_ns += min(round((seen_ns - self._seen_ns) * self._pace), _LEAP_NS)
        self._seen_ns = seen_ns
        return self._now_ns

    def seconds_until(self, then_ns: int) -> float:
        """As the computer counts them."""
        return max(0.0, (then_ns - self._now_ns) * 1e-9 / self._pace)


class McuServer:
    """A microcontroller with moving servos behind a pty.

    Args:
        mcu: The microcontroller.
        bodies: What moves its servos.
        upward: By direction, "requests" and "replies", the line to the computer.
        pace: As `DeviceClock`.
        wiretap: Is given all that goes to the servos, as records of `server.TAP`, on the device's clock.
    """

    def __init__(
        self,
        mcu: Mcu,
        bodies: KinematicServos,
        upward: dict[str, FaultyLine],
        pace: float = 1.0,
        wiretap: BinaryIO | None = None,
    ) -> None:
        self._mcu, self._bodies, self._upward, self._wiretap = mcu, bodies, upward, wiretap
        self._clock = DeviceClock(pace)

    def serve(self, master: int, slave: int, buttons: int) -> None:
        """On a pty, until the other end of `buttons` goes away."""
        clients = DeadClients(slave)
        while True:
            due = [self._mcu.due_ns, *(at for line in self._upward.values() if (at := line.next_due_ns) is not None)]
            wait_s = self._clock.seconds_until(min(due))
            readable, _, _ = select.select([master, buttons], [], [], wait_s)
            now_ns = self._clock.now_ns()
            self._advance(now_ns)
            if buttons in readable:
                pushed = os.read(buttons, _READ_BYTES)
                if not pushed:
                    return
                self._push(pushed, now_ns)
            heard = os.read(master, _READ_BYTES) if master in readable else b""
            clients.look(heard)
            self._upward["requests"].push(heard, now_ns)
            self._mcu.receive(self._upward["requests"].pull(now_ns), now_ns)
            self._upward["replies"].push(bytes(self._mcu.output), now_ns)
            self._mcu.output.clear()
            if said := self._upward["replies"].pull(now_ns):
                with contextlib.suppress(BlockingIOError):  # nobody reads and the buffer is full: the bytes are lost
                    os.write(master, said)

    def _advance(self, now_ns: int) -> None:
        while self._mcu.due_ns <= now_ns:
            self._bodies.step(self._mcu.table.tick_us * 1e-6)
            self._mcu.advance(self._mcu.due_ns)
        for at_ns, data in self._mcu.wiretap if self._wiretap is not None else ():
            assert self._wiretap is not None
            self._wiretap.write(TAP.pack(at_ns, len(data)) + data)
        self._mcu.wiretap.clear()

    def _push(self, buttons: bytes, now_ns: int) -> None:
        for button in buttons:
            match chr(button):
                case "S":
                    self._mcu.press(now_ns)
                case "R":
                    self._mcu.let_go()
                case "H":
                    self._mcu.hang(now_ns)
                case "P":
                    self._mcu.boot(now_ns)


def main() -> None:
    """Body of the process: prints the port, then serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int, help="of the shared servo block")
    parser.add_argument("--arm", type=Path, required=True)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--upward-fault", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--wiretap", type=Path)
    arguments = parser.parse_args()
    calibration = None if arguments.calibration is None else json.loads(arguments.calibration.read_text("utf-8"))
    table = arm_table(read_description(arguments.arm), calibration)
    block = ServoBlock.attach(arguments.descriptor)
    plan = FaultPlan.of(arguments.upward_fault, arguments.seed)
    upward = {way: FaultyLine(plan, way, "cobs") for way in ("requests", "replies")}
    mcu = Mcu(table, ServoBus(block, faults=FaultPlan.of(arguments.fault, arguments.seed)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    master, slave = open_pty()
    print(os.ttyname(slave), flush=True)
    with contextlib.ExitStack() as stack:
        # Unbuffered: it is read while this runs.
        tap = stack.enter_context(arguments.wiretap.open("ab", buffering=0)) if arguments.wiretap else None
        McuServer(mcu, KinematicServos(block), upward, arguments.pace, tap).serve(master, slave, sys.stdin.fileno())


if __name__ == "__main__":
    main()
