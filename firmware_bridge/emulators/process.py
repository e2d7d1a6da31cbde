"""Starts the servo bus on a pty, in a process of its own: nothing the physics process does can delay a reply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.faults import FaultPlan

SO101_IDS = (1, 2, 3, 4, 5, 6)


class BusProcess:
    """Starts the bus on a pty and shares its block. Use as a context manager, or call `close`.

    The process ends with `close`, and by itself when this process dies in whatever way.

    Args:
        ids: Servo ids on the bus.
        position: Where the servos stand at first, ticks; 2048 by default.
        holding: Goals the servos hold with torque on, as an earlier client left them; by default torque is off.
        link: Also make this symbolic link to the pty, for a stable name.
        wiretap: Append what the host sends to this file, as records of `server.TAP`.
        registers: By servo id, EEPROM registers that differ from the factory's, as an earlier client stored them.
        faults: What goes wrong; its time begins when the process starts.
        pipes: For qemu: a pair of pipes at this path, `.in` and `.out`, in place of the pty.

    Attributes:
        port: Path of the tty that a client opens at 1 Mbps, or `pipes`.
        block: State shared with the bus; physics writes positions here and faults are injected here.

    Raises:
        OSError: The process did not come up; its messages are on standard error.
    """

    what = "servo bus"

    def __init__(
        self,
        ids: Sequence[int] = SO101_IDS,
        *,
        position: Sequence[int] | None = None,
        holding: Sequence[int] | None = None,
        link: Path | None = None,
        wiretap: Path | None = None,
        registers: Mapping[int, Mapping[str, int]] | None = None,
        faults: FaultPlan | None = None,
        pipes: Path | None = None,
    ) -> None:
        self.block, descriptor = ServoBlock.shared(ids)
        if position is not None:
            self.block.position[:] = position
        if holding is not None:
            self.block.goal[:], self.block.torque[:] = holding, 1
        command = [sys.executable, "-m", "firmware_bridge.emulators.server", str(descriptor)]
        command += [] if wiretap is None else ["--wiretap", str(wiretap)]
        command += [] if pipes is None else ["--pipes", str(pipes)]
        command += [] if registers is None else ["--stored", json.dumps(registers)]
        if faults is not None:
            command += [f"--fault={fault}" for fault in faults.faults] + [f"--seed={faults.seed}"]
        root = str(Path(__file__).resolve().parents[2])  # found from any working directory
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(descriptor,),
                env=environment,
                text=True,
            )
        finally:
            os.close(descriptor)
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        if not self.port:
            raise OSError(f"the servo bus ended with status {self._process.wait()} before it had a pty")
        self._link = link
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.port)

    @property
    def running(self) -> bool:
        """False once the process has died."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The bus's process: stopped by a signal it is an adapter that takes nothing and gives nothing."""
        return self._process.pid

    def close(self) -> None:
        """Ends the process; the port disappears, as an unplugged adapter does."""
        if self._process.poll() is None:
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

    def __enter__(self) -> BusProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
