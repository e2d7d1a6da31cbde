"""What the servos were told, from the bytes that arrived on their pty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge._feetech import Frame, Parser
from firmware_bridge.emulators.server import TAP

WRITE, SYNC_READ, SYNC_WRITE = 0x03, 0x82, 0x83
TORQUE_ENABLE, GOAL_POSITION = 40, 42


class Wire:
    """Reads what a `BusProcess` with this wiretap has heard so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def frames(self) -> list[tuple[int, Frame]]:
        """Every intact request with the time of its last byte, oldest first."""
        data = self.path.read_bytes() if self.path.exists() else b""
        heard: list[tuple[int, Frame]] = []
        parser, at = Parser(), 0
        while at + TAP.size <= len(data):
            time_ns, length = TAP.unpack_from(data, at)
            at += TAP.size
            if at + length > len(data):
                break  # still being written
            heard += [(time_ns, frame) for frame in parser.feed(data[at : at + length])]
            at += length
        return heard

    def timed_goals(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Ticks (6,) of every sync_write of goals, with the time of its last byte."""
        return [
            (
                time_ns,
                np.array([int.from_bytes(frame.params[at : at + 2], "little") for at in range(3, len(frame.params), 3)]),
            )
            for time_ns, frame in self.frames()
            if frame.code == SYNC_WRITE and frame.params[0] == GOAL_POSITION
        ]

    def goals(self, since_ns: int = 0) -> NDArray[np.int64]:
        """Ticks (n, 6) of every sync_write of goals."""
        rows = [goals for time_ns, goals in self.timed_goals() if time_ns > since_ns]
        return np.array(rows, np.int64).reshape(-1, 6)

    def torque(self) -> list[int]:
        """What was written to Torque_Enable, any servo, oldest first."""
        return [
            frame.params[1] for _, frame in self.frames() if frame.code == WRITE and frame.params[0] == TORQUE_ENABLE
        ]
