"""Looks at an arm's port without using it, so that a wrong one is told before models are loaded."""

from __future__ import annotations

import errno
import fcntl
import os
import termios
from pathlib import Path

from edge.errors import ConfigError, LinkError

_INTERFACES, _CAN = Path("/sys/class/net"), "280"


def connected(devices: Path = Path("/dev"), system: Path = Path("/sys")) -> list[str]:
    """Paths of the serial adapters that are plugged in: by the lasting name where there is one, else by number.

    An adapter without a serial number shares its name in by-id with all of its make; the name of its socket lasts.
    """
    found = sorted(path for pattern in ("ttyACM*", "ttyUSB*") for path in devices.glob(pattern))
    names = {
        by: {path.resolve(): path for path in sorted((devices / "serial" / by).glob("*"), reverse=True)}
        for by in ("by-id", "by-path")
    }
    lasting = (names["by-id" if _has_serial_number(path.name, system) else "by-path"] for path in found)
    return [str(links.get(path.resolve(), path)) for path, links in zip(found, lasting, strict=True)]


def _has_serial_number(tty: str, system: Path) -> bool:
    """Whether the USB device that a port is on has one; as in firmware_bridge/link/serial_names.cpp."""
    at = (system / "class/tty" / tty / "device").resolve()
    device = next((path for path in (at, *at.parents) if (path / "idVendor").exists()), None)
    return device is not None and (device / "serial").exists() and bool((device / "serial").read_text().strip())


def check_port(port: str, *, can: bool = False) -> None:
    """Opens a port for a moment. Sends nothing and changes no setting.

    Args:
        port: A serial port.
        can: The arm is on CAN: a name without a slash is an interface of the kernel.

    Raises:
        ConfigError: No port was named.
        LinkError: It does not exist, may not be opened, is busy, or is no serial port or no CAN interface.
    """
    if can and port and "/" not in port:
        _check_interface(port)
        return
    found = ", ".join(connected()) or "no serial adapter"
    if not port:
        raise ConfigError("--port is not given", expected="the arm's serial port", got=f"connected: {found}")
    expected = "a serial port that no other process uses"
    try:
        handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise _trouble(port, expected, problem.errno, found) from problem
    try:
        termios.tcgetattr(handle)
        # The driver holds this lock while it runs.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, termios.error) as problem:
        raise _trouble(port, expected, int(problem.args[0]), found) from problem
    finally:
        os.close(handle)


def _check_interface(name: str) -> None:
    there = sorted(path.parent.name for path in _INTERFACES.glob("*/type") if path.read_text().strip() == _CAN)
    if name not in there:
        raise LinkError(
            f"CAN interface {name} does not exist",
            expected="a CAN interface, or the path of an adapter that speaks slcan",
            got=f"CAN interfaces: {', '.join(there) or 'none'}",
            fix=f"bring it up: ip link set {name} up type can bitrate 1000000",
        )


def _trouble(port: str, expected: str, number: int | None, found: str) -> LinkError:
    what, fix = {
        errno.ENOENT: (f"port {port} does not exist", f"plug in the adapter, or name another port; connected: {found}"),
        errno.EACCES: (f"port {port} may not be opened", "join the group that owns it (often dialout)"),
        errno.EBUSY: (f"port {port} is busy", "end the other program that uses it"),
        errno.EWOULDBLOCK: (f"port {port} is busy", "end the other program that uses it"),
        errno.ENOTTY: (f"{port} is not a serial port", "name a serial port such as /dev/ttyACM0"),
    }.get(number or 0, (f"port {port} cannot be opened", "check the adapter and the path"))
    return LinkError(what, expected=expected, got=os.strerror(number or 0), fix=fix)
