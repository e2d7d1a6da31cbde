"""What the suite runs against: the same bridge protocol on a tty, with emulated servos behind it or a real arm."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from firmware_bridge.emulators import BusProcess, KinematicServos, McuProcess, ServoBlock
from firmware_bridge.emulators.host_firmware import build_host_firmware, compile_firmware

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware_bridge/firmware"
_STEP_S = 0.004
_POSE = (2048, 1500, 2400, 2900, 2048, 2300)
_SLOWER = 4  # device time than ours: a busy machine has time to be in time
_IO_PRIORITY = 50  # as the emulated servos'
_GRACE_MS = 400  # that the firmware's clock waits for a computer, or a servo, kept from its turn


@dataclass
class Backend:
    """Something that speaks the bridge protocol.

    Attributes:
        name: As in the test's name.
        port: The tty to open.
        servos: State of the emulated servos; None when they are real, or out of sight.
        wiretap: What the servos heard.
        press: Pushes a button: S, R or H (firmware/ports); None where a person would have to.
    """

    name: str
    port: str
    servos: ServoBlock | None = None
    wiretap: Path | None = None
    press: Callable[[bytes], None] | None = None


def build_twin(folder: Path) -> Path:
    """The firmware as a library that a test moves on, tick by tick."""
    return compile_firmware(
        folder / "firmware_twin.so", Path(__file__).with_name("firmware_twin.c"), "-shared", "-fPIC"
    )


def build_qemu(folder: Path) -> Path:
    """The firmware for MPS2 AN386."""
    for tool, package in (("qemu-system-arm", "qemu-system-arm"), ("arm-none-eabi-gcc", "gcc-arm-none-eabi")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing: install the Debian package {package}")
    subprocess.run([FIRMWARE / "ports/mps2_an386/build.sh", folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "firmware.elf"


def _moved(servos: BusProcess, ending: threading.Event) -> None:
    bodies = KinematicServos(servos.block)
    while not ending.wait(_STEP_S):
        bodies.step(_STEP_S)


@contextmanager
def emulated_servos(wiretap: Path, pipes: Path | None = None) -> Iterator[BusProcess]:
    """Six servos, limp, that move while this lasts."""
    ending = threading.Event()
    with BusProcess(position=_POSE, wiretap=wiretap, pipes=pipes) as servos:
        mover = threading.Thread(target=_moved, args=(servos, ending))
        mover.start()
        try:
            yield servos
        finally:
            ending.set()
            mover.join()


def _line(process: subprocess.Popen[bytes], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(pattern, line.decode()):
            return match[1]
    raise OSError(f"{process.args} ended with status {process.wait()} before it had a port")


@contextmanager
def started(command: list[str | Path], pattern: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process, _line(process, pattern)
    finally:
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        process.terminate()
        process.wait()


def set_to_1_mbps(port: str) -> None:
    """Also for whoever opens the tty next."""
    descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(descriptor)
    settings = termios.tcgetattr(descriptor)
    settings[4] = settings[5] = termios.B1000000
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)
    os.close(descriptor)


@contextmanager
def host(program: Path, servos: BusProcess) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with started([program, "--bus", servos.port, "--grace", str(_GRACE_MS)], r"^(/dev/\S+)") as both:
        yield both


@contextmanager
def qemu(program: Path, servos: BusProcess) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    command: list[str | Path] = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none"]
    # Time by instructions, 1 ns each: far slower than this machine, however busy it is, so that nothing comes too late.
    command += ["-icount", "shift=0,sleep=off"]
    command += ["-chardev", "pty,id=upward", "-serial", "chardev:upward"]
    # Not a pty: its bytes go through a worker of the kernel, which on a busy machine kept answers back for many cycles.
    command += ["-chardev", f"pipe,id=bus,path={servos.port}", "-serial", "chardev:bus"]
    command += ["-chardev", "stdio,id=buttons,signal=off", "-serial", "chardev:buttons", "-kernel", program]
    with started(command, r"redirected to (\S+) \(label upward\)") as both:
        # Its thread for input and output, not the one that computes: bytes come to the firmware at once, and what has
        # to wait for a processor is the firmware's time. Without this right a machine must have little else to do.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(both[0].pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_IO_PRIORITY))
        yield both


def _presser(process: subprocess.Popen[bytes]) -> Callable[[bytes], None]:
    def press(button: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(button)
        process.stdin.flush()

    return press


@contextmanager
def firmware(name: str, programs: dict[str, Path], wiretap: Path) -> Iterator[Backend]:
    """The firmware of one port, with emulated servos."""
    pipes = wiretap.with_name("bus") if name == "qemu" else None
    with emulated_servos(wiretap, pipes) as servos, STARTERS[name](programs[name], servos) as (process, port):
        yield Backend(name, port, servos.block, wiretap, _presser(process))


@contextmanager
def emulator(wiretap: Path) -> Iterator[Backend]:
    """The page read a second time, in Python; its servos are on the same clock."""
    with McuProcess(position=_POSE, wiretap=wiretap, pace=1 / _SLOWER) as mcu:
        yield Backend("emulator", mcu.port, mcu.block, wiretap, mcu.push)


def board() -> Backend:
    """A real one."""
    port = os.environ.get("EDGEARM_HIL_PORT")
    if port is None:
        pytest.skip("no board: name its port in EDGEARM_HIL_PORT")
    return Backend("board", port)


BUILDERS = {"host": build_host_firmware, "qemu": build_qemu}
STARTERS = {"host": host, "qemu": qemu}
