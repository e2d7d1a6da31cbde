"""An emulated port can be opened again when its client was killed; one that lives does not lose it by being quiet."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firmware_bridge.emulators import BusProcess, FaultPlan, McuProcess
from firmware_bridge.emulators.can_bus import CanBus
from firmware_bridge.emulators.faulty_port import FaultyPort
from firmware_bridge.emulators.host_firmware import HostFirmware, build_host_firmware
from firmware_bridge.emulators.slcan import SlcanAdapter
from firmware_bridge.emulators.slcan_ports import SlcanPorts

ROOT = Path(__file__).resolve().parents[1]
_TIOCGEXCL = 0x80045440  # asm-generic/ioctls.h; Python has no name for it
_CLIENT = """
import sys, time
import fcntl, serial, termios
port = serial.Serial(sys.argv[1], 1_000_000, exclusive=True)  # flock
fcntl.ioctl(port.fd, termios.TIOCEXCL)
port.write(bytes.fromhex("FF FF 01 02 01 FB"))
print("open", flush=True)
time.sleep(600)
"""


@contextmanager
def servo_bus(_: Path) -> Iterator[str]:
    with BusProcess() as bus:
        yield bus.port


@contextmanager
def microcontroller(_: Path) -> Iterator[str]:
    with McuProcess() as mcu:
        yield mcu.port


@contextmanager
def slcan_adapter(_: Path) -> Iterator[str]:
    bus = CanBus()
    with SlcanPorts(bus, (SlcanAdapter(bus),)) as served:
        yield served.ports[0]


@contextmanager
def faulty_line(_: Path) -> Iterator[str]:
    with BusProcess() as bus, FaultyPort(bus.port, FaultPlan()) as line:
        yield line.port


@contextmanager
def firmware_on_this_machine(folder: Path) -> Iterator[str]:
    with BusProcess() as bus, HostFirmware(build_host_firmware(folder), bus.port) as firmware:
        yield firmware.port


PORTS = [servo_bus, microcontroller, slcan_adapter, faulty_line, firmware_on_this_machine]


@pytest.mark.parametrize("served", PORTS, ids=lambda served: served.__name__)
def test_a_client_that_was_killed_does_not_keep_the_port(
    served: Callable[[Path], Iterator[str]], tmp_path: Path
) -> None:
    def exclusive() -> bool:
        answer = bytearray(4)
        fcntl.ioctl(watching, _TIOCGEXCL, answer)
        return bool(answer[0])

    with served(tmp_path) as port:
        watching = os.open(port, os.O_RDWR | os.O_NOCTTY)
        client = subprocess.Popen([sys.executable, "-c", _CLIENT, port], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "open\n"
            time.sleep(2.5)
            assert exclusive()
        finally:
            client.kill()
            client.wait()
        for _ in range(100):
            if not exclusive():
                break
            time.sleep(0.1)
        assert not exclusive()
        os.close(watching)
