"""The microcontroller's own firmware as a process of this machine, between a servo bus and a computer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

BRIDGE = Path(__file__).resolve().parents[1]
_PRIORITY = 45  # among what is emulated, below the servo bus: nothing else runs on a microcontroller


def build_host_firmware(folder: Path) -> Path:
    """Compiles the host's port of the firmware for the SO-101; returns the program.

    Raises:
        OSError: There is no C compiler.
        subprocess.CalledProcessError: It does not compile; the compiler's words are on standard error.
    """
    return compile_firmware(folder / "edgearm_firmware_host", BRIDGE / "firmware/ports/host/main.c")


def compile_firmware(output: Path, port: Path, *flags: str) -> Path:
    """Compiles the firmware for this machine with a port of its own; returns `output`. Raises as above."""
    parts = [BRIDGE / part for part in ("firmware", "codec", "safety")]
    sources = [source for part in parts for source in sorted(part.glob("*.c"))]
    command = ["cc", "-std=c99", "-O2", *flags, *(f"-I{part}" for part in parts)]
    command += [str(source) for source in [*sources, port]]
    subprocess.run([*command, "-lm", "-o", str(output)], check=True)
    return output


class HostFirmware:
    """Starts the firmware on a servo bus. Use as a context manager, or call `close`.

    The process ends with `close`, and by itself when this process dies in whatever way.

    Args:
        program: What `build_host_firmware` made.
        bus: The servo bus's tty.
        grace_ms: How long its clock waits for a computer, or a servo, that a busy machine keeps from its turn; 0: it is
            the machine's clock.
        environment: Variables, beside this process's.

    Attributes:
        port: The tty that speaks the bridge protocol.

    Raises:
        OSError: It did not come up; its messages are on standard error.
    """

    def __init__(
        self, program: Path, bus: str, grace_ms: int = 0, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [str(program), "--bus", bus, *(["--grace", str(grace_ms)] if grace_ms else [])]
        variables = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables)
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().decode().strip()
        if not self.port:
            raise OSError(f"the firmware ended with status {self._process.wait()} before it had a port")
        self._hurry()

    def _hurry(self) -> None:
        """The watchdog first: what it starts from then on has its priority."""
        with contextlib.suppress(OSError):  # without the right it waits its turn like everybody
            os.sched_setscheduler(self.pid, os.SCHED_FIFO, os.sched_param(_PRIORITY))
            for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
                os.sched_setscheduler(int(child), os.SCHED_FIFO, os.sched_param(_PRIORITY))

    def press(self, button: bytes) -> None:
        """`S` presses the emergency stop, `R` lets go of it, `H` hangs the loop until the watchdog resets it."""
        assert self._process.stdin is not None
        self._process.stdin.write(button)
        self._process.stdin.flush()

    def kill(self) -> None:
        """Both processes at once and without a word, as when its power is gone."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for process in (self.pid, *map(int, children)):
            os.kill(process, signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        """Of the watchdog, which has started the firmware."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process; the port disappears. Torque stays as it is: nothing more is said to the servos."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> HostFirmware:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
