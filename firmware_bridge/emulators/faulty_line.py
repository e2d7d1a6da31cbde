"""A line between two ends on which things go wrong: bytes and a clock in, bytes out, one direction."""

from __future__ import annotations

import heapq

from firmware_bridge.emulators.faults import FaultPlan
from firmware_bridge.emulators.framing import SPLITTERS
from firmware_bridge.emulators.injector import Injector

_HELD_NS = 5_000_000
"""Half a frame that does not go on is passed on after this long."""


class FaultyLine:
    """One direction of a line. Pure: no I/O, no thread, no clock of its own.

    What it does follows from the plan's seed and the frames that come, not from how they are cut up by reads.

    Args:
        plan: What goes wrong with frames; other faults in it have no effect here.
        direction: "requests" or "replies": which faults of the plan, and which random numbers.
        protocol: One of `SPLITTERS`: how to tell where a frame ends.
        start_ns: When the plan's time begins, on the clock of the calls.

    Attributes:
        counts: How often each kind of fault has happened.
    """

    def __init__(self, plan: FaultPlan, direction: str, protocol: str = "feetech", start_ns: int = 0) -> None:
        self._injector = Injector(plan, direction, start_ns, feetech=protocol == "feetech")
        self._splitter = SPLITTERS[protocol]()
        self._feetech = protocol == "feetech"
        self._queue: list[tuple[int, int, bytes]] = []  # a heap: when, in which order, what
        self._order = 0
        self._in_order_ns = start_ns  # nothing leaves before this, but what overtakes
        self._pushed_ns = start_ns
        self._holding = False
        self.counts = self._injector.counts

    def push(self, data: bytes, now_ns: int) -> None:
        """Bytes arrive at one end."""
        if self._holding and now_ns - self._pushed_ns >= _HELD_NS:
            self._flush(self._pushed_ns + _HELD_NS)
        for byte in data:
            self._holding = True
            self._pushed_ns = now_ns
            for piece in self._splitter.push(byte):
                self._holding = False
                self._send(piece, now_ns)

    def pull(self, now_ns: int) -> bytes:
        """Takes what has arrived at the other end by now."""
        if self._holding and now_ns - self._pushed_ns >= _HELD_NS:
            self._flush(self._pushed_ns + _HELD_NS)
        out = bytearray()
        while self._queue and self._queue[0][0] <= now_ns:
            out += heapq.heappop(self._queue)[2]
        return bytes(out)

    @property
    def next_due_ns(self) -> int | None:
        """When `pull` will give something again; None while nothing is on the way."""
        held_ns = self._pushed_ns + _HELD_NS if self._holding else None
        return min((at for at in (held_ns, self._queue[0][0] if self._queue else None) if at is not None), default=None)

    def _flush(self, now_ns: int) -> None:
        self._holding = False
        self._enqueue(self._splitter.flush(), now_ns)

    def _send(self, piece: bytes, now_ns: int) -> None:
        if not self._splitter.is_frame(piece):
            self._enqueue(piece, now_ns)
            return
        id = piece[2] if self._feetech and piece[2] < 0xFE else None
        for passed in self._injector.passed(piece, now_ns, id):
            due_ns = max(now_ns, self._in_order_ns) + passed.late_ns
            if passed.holds:
                self._in_order_ns = due_ns
            self._enqueue(passed.data, due_ns)

    def _enqueue(self, data: bytes, due_ns: int) -> None:
        if data:
            self._order += 1
            heapq.heappush(self._queue, (max(due_ns, self._in_order_ns), self._order, data))
