"""The installed udev rules, run by udev itself on adapters that are described to it and not there (`udev_rules.sh`)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PORT = "/devices/pci0000:00/0000:00:14.0/usb1/1-2"
MISSING = [word for word in ("umockdev-run", "udevadm", "unshare") if shutil.which(word) is None]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs a /dev of its own, which only root may make"),
    # CI installs them: there a missing one is a failure.
    pytest.mark.skipif(bool(MISSING) and "CI" not in os.environ, reason=f"not installed: {', '.join(MISSING)}"),
]


def usb(vendor: str, product: str, serial: str) -> str:
    """An adapter in a plug of a hub, as umockdev reads it."""
    hub = "P: /devices/pci0000:00/0000:00:14.0/usb1\nE: DEVTYPE=usb_device\nE: SUBSYSTEM=usb\n"
    hub += "A: idVendor=1d6b\\n\nA: idProduct=0002\\n\n\n"
    hub += "P: /devices/pci0000:00/0000:00:14.0\nE: SUBSYSTEM=pci\n\n"
    device = f"P: {PORT}\nE: DEVTYPE=usb_device\nE: SUBSYSTEM=usb\nA: idVendor={vendor}\\n\nA: idProduct={product}\\n\n"
    device += f"A: serial={serial}\\n\n" if serial else ""
    interface = f"P: {PORT}/1-2:1.0\nE: DEVTYPE=usb_interface\nE: SUBSYSTEM=usb\nA: bInterfaceNumber=00\\n\n"
    return f"{device}\n{interface}A: bInterfaceClass=02\\n\n\n{hub}"


def tty(path: str) -> str:
    name = path.rpartition("/")[2]
    return (
        f"P: {path}\nN: {name}\nE: SUBSYSTEM=tty\nE: DEVNAME=/dev/{name}\nE: MAJOR=166\nE: MINOR=0\nA: dev=166:0\\n\n\n"
    )


@dataclass(frozen=True)
class Made:
    """What udev made of a device.

    Attributes:
        said: All that `udevadm test` printed.
        properties: What the device has in udev's memory.
    """

    said: str
    properties: dict[str, str]

    @property
    def names(self) -> set[str]:
        """Its lasting names of ours."""
        links = self.properties.get("DEVLINKS", "").split()
        return {link for link in links if link.startswith("/dev/edgearm/")}

    def ours(self, word: str) -> bool:
        """Whether a line of our rules set something: `MODE 0660` or, from systemd 254 on, another wording of it."""
        return re.search(rf"99-edgearm\.rules:\d+.*{word}", self.said) is not None


def plug_in(folder: Path, devices: str, path: str) -> Made:
    (folder / "devices").write_text(devices)
    command = [Path(__file__).with_name("udev_rules.sh"), folder / "devices", f"/sys{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return Made(done.stdout, dict(re.findall(r"^(\w+)=(.*)$", done.stdout, re.MULTILINE)))


@pytest.mark.parametrize(
    ("vendor", "product", "name"),
    [
        ("1a86", "55d3", "ttyACM0"),  # CH343: the adapter that SO-101 kits come with
        ("0403", "6014", "ttyUSB0"),  # FT232H: U2D2 and its relatives
        ("2e8a", "000a", "ttyACM0"),  # RP2040
    ],
)
def test_an_adapter_has_a_lasting_name_and_is_no_modem(tmp_path: Path, vendor: str, product: str, name: str) -> None:
    path = f"{PORT}/1-2:1.0/tty/{name}"
    made = plug_in(tmp_path, tty(path) + usb(vendor, product, "58FA083455"), path)
    assert made.names == {"/dev/edgearm/58FA083455"}
    assert made.properties["ID_MM_DEVICE_IGNORE"] == "1"
    assert made.ours("MODE.*0660")
    assert made.ours("GROUP")


def test_one_without_a_serial_number_is_named_after_its_plug(tmp_path: Path) -> None:
    path = f"{PORT}/1-2:1.0/tty/ttyUSB0"
    made = plug_in(tmp_path, tty(path) + usb("1a86", "7523", ""), path)  # CH340
    assert made.names == {f"/dev/edgearm/{made.properties['ID_PATH_TAG']}"}
    assert "usb" in made.properties["ID_PATH_TAG"]
    assert made.properties["ID_MM_DEVICE_IGNORE"] == "1"


def test_what_is_no_adapter_of_servos_is_left_alone(tmp_path: Path) -> None:
    """A modem, and a port of the board."""
    modem, board = f"{PORT}/1-2:1.0/tty/ttyACM0", "/devices/platform/serial8250/tty/ttyS0"
    for path, devices in ((modem, tty(modem) + usb("2c7c", "0125", "1234")), (board, tty(board))):
        made = plug_in(tmp_path, devices, path)
        assert not made.names
        assert "ID_MM_DEVICE_IGNORE" not in made.properties
        assert not made.ours("MODE")


def test_ftdi_adapters_hand_over_bytes_after_a_millisecond(tmp_path: Path) -> None:
    path = f"{PORT}/1-2:1.0/ttyUSB0"
    for driver, theirs in (("ftdi_sio", True), ("ch341-uart", False)):
        port = f"P: {path}\nE: SUBSYSTEM=usb-serial\nE: DRIVER={driver}\nL: driver=../../{driver}\n"
        made = plug_in(tmp_path, f"{port}A: latency_timer=16\\n\n\n" + usb("0403", "6014", "FT1"), path)
        assert made.ours("latency_timer.*['\"]1['\"]") == theirs


def test_the_service_may_keep_cores_awake(tmp_path: Path) -> None:
    path = "/devices/virtual/misc/cpu_dma_latency"
    device = (
        f"P: {path}\nE: SUBSYSTEM=misc\nE: DEVNAME=/dev/cpu_dma_latency\nE: MAJOR=10\nE: MINOR=124\nA: dev=10:124\\n\n"
    )
    made = plug_in(tmp_path, device, path)
    assert made.ours("GROUP.*4711")
    assert made.ours("MODE.*0660")
