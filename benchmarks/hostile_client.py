"""A client that behaves as badly as a socket lets it: a process of its own, so that it costs the service no lock.

    python benchmarks/hostile_client.py SOCKET --seconds 5 --seed 1

Garbage, lines without an end, lines that are too long, requests by the hundred, followers that never read, half
requests and hang-ups. It orders nothing: whoever may open the socket may do that. Prints how often it did what, as
JSON, when its time is over or it is told to end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.service.messages import LONGEST, Request

_PATIENCE_S = 0.1
_HELD = 8
"""Connections left open, unread: half of what the service has room for."""


class HostileClient:
    """Does one bad thing after another. `done` counts them."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._choose = path, random.Random(seed)
        self._held: list[socket.socket] = []
        self.done: Counter[str] = Counter()
        self._over = False

    def end(self) -> None:
        """Ends `misbehave` soon. A signal handler that raised instead is sometimes swallowed on the way up."""
        self._over = True

    def misbehave(self, until: float) -> None:
        """Until that time of the monotonic clock."""
        kinds = (self._garbage, self._endless, self._many, self._half, self._unread)
        while not self._over and time.monotonic() < until:
            kind = self._choose.choice(kinds)
            # Refused, hung up on or kept waiting: what a bad client should expect.
            with contextlib.suppress(OSError):
                kind()
            self.done[kind.__name__.strip("_")] += 1
        for connection in self._held:
            connection.close()

    def _open(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_PATIENCE_S)
        connection.connect(str(self._path))
        return connection

    def _garbage(self) -> None:
        with self._open() as connection:
            connection.sendall(self._choose.randbytes(self._choose.randrange(1, 3 * LONGEST)))

    def _endless(self) -> None:
        with self._open() as connection:
            for _ in range(20):
                connection.sendall(b"x" * LONGEST)

    def _many(self) -> None:
        with self._open() as connection:
            connection.sendall(Request("status").line() * 300)
            connection.recv(1 << 16)

    def _half(self) -> None:
        with self._open() as connection:
            line = Request("task", text="put the red cube on the blue plate").line()
            connection.sendall(line[: self._choose.randrange(1, len(line) - 1)])

    def _unread(self) -> None:
        connection = self._open()
        self._held.append(connection)
        if len(self._held) > _HELD:
            self._held.pop(0).close()
        connection.sendall(Request("status", follow=True).line() * 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socket", type=Path, help="of `edge serve`")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    client = HostileClient(options.socket, options.seed)
    signal.signal(signal.SIGTERM, lambda *_: client.end())
    try:
        client.misbehave(time.monotonic() + options.seconds)
    finally:
        print(json.dumps(client.done))


if __name__ == "__main__":
    main()
