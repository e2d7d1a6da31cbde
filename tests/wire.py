"""What the servos were told, from the bytes that arrived on their pty."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge._feetech import Frame, Parser
from firmware_bridge.emulators.server import TAP

READ, WRITE, SYNC_READ, SYNC_WRITE = 0x02, 0x03, 0x82, 0x83
TORQUE_ENABLE, GOAL_POSITION = 40, 42


class Wire:
    """Reads what a `BusProcess` with this wiretap has heard so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parser, self._at, self._lock = Parser(), 0, threading.Lock()
        self._frames: list[tuple[int, Frame]] = []
        self._goals: list[tuple[int, NDArray[np.int64]]] = []

    def frames(self) -> list[tuple[int, Frame]]:
        """Every intact request with the time of its last byte, oldest first."""
        with self._lock:
            self._hear()
            return list(self._frames)

    def _hear(self) -> None:
        data = b""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        at = 0
        while at + TAP.size <= len(data):
            time_ns, length = TAP.unpack_from(data, at)
            end = at + TAP.size + length
            if end > len(data):
                break  # still being written
            for frame in self._parser.feed(data[at + TAP.size : end]):
                self._frames.append((time_ns, frame))
                if frame.code == SYNC_WRITE and frame.params[0] == GOAL_POSITION:
                    self._goals.append((time_ns, _ticks(frame)))
            at = end
        self._at += at

    def timed_goals(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Ticks (6,) of every sync_write of goals, with the time of its last byte."""
        with self._lock:
            self._hear()
            return list(self._goals)

    def goals(self, since_ns: int = 0) -> NDArray[np.int64]:
        """Ticks (n, 6) of every sync_write of goals."""
        rows = [goals for time_ns, goals in self.timed_goals() if time_ns > since_ns]
        return np.array(rows, np.int64).reshape(-1, 6)

    def torque(self) -> list[int]:
        """What was written to Torque_Enable, any servo, oldest first."""
        return [
            frame.params[1] for _, frame in self.frames() if frame.code == WRITE and frame.params[0] == TORQUE_ENABLE
        ]


def _ticks(frame: Frame) -> NDArray[np.int64]:
    """Of each servo, behind its id."""
    words = [frame.params[at : at + 2] for at in range(3, len(frame.params), 3)]
    return np.array([int.from_bytes(word, "little") for word in words], np.int64)
