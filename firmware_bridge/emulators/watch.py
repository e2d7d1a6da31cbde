"""What a person wants to see of a servo bus: who speaks, what is switched on, where it stands, what has gone wrong."""

from __future__ import annotations

import numpy as np

from firmware_bridge.emulators.block import ServoBlock

_ERRORS = {0x01: "voltage", 0x02: "angle", 0x04: "overheat", 0x08: "overcurrent", 0x20: "overload"}
_SUMMARY_S = 1.0


class Watch:
    """Turns what changes in a block into lines. Pure: the caller has the clock.

    Args:
        block: Of the bus.
    """

    def __init__(self, block: ServoBlock) -> None:
        self._block = block
        self._torque, self._status = block.torque.copy(), block.status.copy()
        self._baud = 0
        self._summary_s, self._requests, self._busy = 0.0, 0, False

    def lines(self, now_s: float) -> list[str]:
        """What has happened since the last call; `now_s` is seconds since the start."""
        return [f"{now_s:8.1f} s  {text}" for text in (*self._changes(), *self._summary(now_s))]

    def _changes(self) -> list[str]:
        block, texts = self._block, []
        if block.baud != self._baud:
            self._baud = block.baud
            texts.append(f"a client speaks at {self._baud} bit/s")
        torque, status = block.torque.copy(), block.status.copy()
        for value, name in ((1, "on"), (0, "off")):
            changed = [
                id for id, before, now in zip(block.ids, self._torque, torque, strict=True) if before != now == value
            ]
            if changed:
                texts.append(f"torque {name}: {' '.join(map(str, changed))}")
        for id, before, now in zip(block.ids, self._status, status, strict=True):
            if before != now:
                texts.append(f"servo {id}: {describe_errors(int(now)) or 'no error any more'}")
        self._torque, self._status = torque, status
        return texts

    def _summary(self, now_s: float) -> list[str]:
        if now_s - self._summary_s < _SUMMARY_S:
            return []
        block, elapsed_s = self._block, now_s - self._summary_s
        requests = block.requests - self._requests
        self._summary_s, self._requests = now_s, block.requests
        was_busy, self._busy = self._busy, requests > 0
        if not requests:
            return ["nobody speaks"] if was_busy else []
        wrong = [f"{kind} {count}" for kind, count in block.injected.items() if count]
        wrong += [f"collisions {block.collisions}"] if block.collisions else []
        away = int(np.max(np.abs(block.goal - block.position) * block.driven))
        return [
            f"{requests / elapsed_s:5.0f} requests/s  at {' '.join(f'{tick:4d}' for tick in block.position)}"
            f"  {away:4d} from goal{'  so far: ' if wrong else ''}{', '.join(wrong)}"
        ]


def describe_errors(bits: int) -> str:
    """Error bits of a status, for a person; empty for none."""
    return ", ".join(name for bit, name in _ERRORS.items() if bits & bit)
