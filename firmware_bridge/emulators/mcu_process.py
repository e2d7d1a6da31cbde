"""Starts an emulated microcontroller on a pty, in a process of its own, with servos that move."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.faults import FaultError, FaultPlan
from firmware_bridge.emulators.faulty_line import FaultyLine

_ROOT = Path(__file__).resolve().parents[2]
SO101_ARM = _ROOT / "edge/robots/so101.json"
"""The description that is emulated when no other is named."""


class McuProcess:
    """A microcontroller whose `port` speaks the bridge protocol. Use as a context manager, or call `close`.

    The process ends with `close`, and by itself when this process dies in whatever way.

    Args:
        arm: The arm's description; its servo ids are those of the servos.
        ids: The same ids, in order of the description.
        calibration: LeRobot's file, if the computer has one.
        position: Where the servos stand at first, ticks; 2048 by default.
        link: Also make this symbolic link to the pty, for a stable name.
        wiretap: Append what the servos are told to this file, as records of `server.TAP`, on the device's clock.
        faults: What goes wrong with the servos and on their bus; its time begins when the process starts.
        upward_faults: What goes wrong with frames on the line to the computer.
        pace: Device seconds in a second, at most 1.

    Attributes:
        port: Path of the tty that a client opens, at any rate.
        block: State of the servos; faults are injected here.

    Raises:
        FaultError: A fault in `upward_faults` is none of such a line.
        OSError: The process did not come up; its messages are on standard error.
        ValueError: `pace` is not above 0 and at most 1.
    """

    def __init__(
        self,
        arm: Path = SO101_ARM,
        ids: Sequence[int] = (1, 2, 3, 4, 5, 6),
        *,
        calibration: Path | None = None,
        position: Sequence[int] | None = None,
        link: Path | None = None,
        wiretap: Path | None = None,
        faults: FaultPlan | None = None,
        upward_faults: FaultPlan | None = None,
        pace: float = 1.0,
    ) -> None:
        if not 0 < pace <= 1:
            raise ValueError(f"pace {pace:g}: device seconds in a second, above 0 and at most 1")
        upward_faults, faults = upward_faults or FaultPlan(), faults or FaultPlan()
        if upward_faults.on_servos:
            raise FaultError(f"{upward_faults.on_servos[0]}: happens to servos, not on the line to the computer")
        FaultyLine(upward_faults, "requests", "cobs")  # says what such a line cannot do
        self.block, descriptor = ServoBlock.shared(ids)
        if position is not None:
            self.block.position[:] = position
        command = [sys.executable, "-m", "firmware_bridge.emulators.mcu_server", str(descriptor), f"--arm={arm}"]
        command += [] if calibration is None else [f"--calibration={calibration}"]
        command += [] if wiretap is None else [f"--wiretap={wiretap}"]
        command += [f"--fault={fault}" for fault in faults.faults]
        command += [f"--upward-fault={fault}" for fault in upward_faults.faults]
        command += [f"--seed={faults.seed}", f"--pace={pace}"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
        }
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(descriptor,),
                env=environment,
                bufsize=0,
            )
        finally:
            os.close(descriptor)
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().decode().strip()
        if not self.port:
            raise OSError(f"the microcontroller ended with status {self._process.wait()} before it had a pty")
        self._link = link
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.port)

    @property
    def running(self) -> bool:
        """False once the process has died."""
        return self._process.poll() is None

    def push(self, button: bytes) -> None:
        """S presses the emergency stop, R lets go, H makes it hang until its watchdog strikes, P: power fails."""
        assert self._process.stdin is not None
        self._process.stdin.write(button)

    def close(self) -> None:
        """Ends the process; the port disappears, as an unplugged board does."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def __enter__(self) -> McuProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
