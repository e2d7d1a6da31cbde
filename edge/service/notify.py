"""What systemd is told: sd_notify(3), a datagram to the socket that it names in the environment."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells the service manager; says nothing where there is none.

    Args:
        address: Of the socket: a path, or a name that begins with `@` (abstract); empty for none.
        watchdog_s: `feed_watchdog` has to be called within this time, again and again; None if nobody waits for it.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s if address else None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """As the service manager asked for it in NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        watchdog_us, meant = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        ours = not meant or meant == str(os.getpid())
        watchdog_s = int(watchdog_us) * 1e-6 if watchdog_us.isdecimal() and ours else None
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self, text: str) -> None:
        """Commands are taken from now on."""
        self._send(f"READY=1\nSTATUS={_line(text)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(text)}")

    def feed_watchdog(self) -> None:
        """Everything is sound."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service is about to end on purpose."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # a manager that does not listen is no reason to stop an arm
                self._socket.sendto(message.encode(), self._address)


def _line(text: str) -> str:
    return " ".join(text.split())
