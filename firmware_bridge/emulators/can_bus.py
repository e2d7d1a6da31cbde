"""A CAN bus: one frame at a time, the lowest identifier first, each for as long as its bits take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

FD_LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)
"""Bytes of data by the four bits that stand for them on the wire."""


@dataclass(frozen=True)
class CanFrame:
    """One frame.

    Attributes:
        id: Identifier, 11 bits, or 29 if `extended`.
        data: Up to 8 bytes; in CAN FD one of `FD_LENGTHS`.
        requested: Of a `remote` frame, the length it asks for.
        bit_rate_switch: Of a CAN FD frame: its data goes at the data bit rate.
    """

    id: int
    data: bytes = b""
    extended: bool = False
    remote: bool = False
    requested: int = 0
    fd: bool = False
    bit_rate_switch: bool = False

    @property
    def rank(self) -> tuple[int, bool, int, bool]:
        """Who wins the wire when several begin at once: the smaller one, bit by bit as it is sent."""
        base = self.id >> 18 if self.extended else self.id
        return base, self.extended, self.id, self.remote

    def duration_ns(self, bit_rate: int, data_bit_rate: int) -> int:
        """Time on the wire with the pause behind it, for content that needs the most stuff bits."""
        length = 0 if self.remote else len(self.data)
        head = 54 if self.extended else 34
        if not self.fd:
            bits = head + 8 * length
            return (bits + (bits - 1) // 4 + 13) * 1_000_000_000 // bit_rate
        slow = (head - 15) * 5 // 4 + 13
        fast = (5 + 8 * length) * 5 // 4 + (27 if length <= 16 else 32)
        rate = data_bit_rate if self.bit_rate_switch else bit_rate
        return slow * 1_000_000_000 // bit_rate + fast * 1_000_000_000 // rate


@dataclass
class CanNode:
    """Somebody on the bus: what it still has to send, and what it makes of what it hears.

    Attributes:
        bit_rate: 0 while it is off the bus.
        data_bit_rate: 0 for a node that knows no CAN FD: it destroys every such frame.
        listen_only: Hears and acknowledges nothing.
        outbox: When each frame was ready, and the frame, oldest first.
        unheard: Its frame is on the wire again and again because nobody acknowledges it.
    """

    bit_rate: int = 0
    data_bit_rate: int = 0
    listen_only: bool = False
    outbox: deque[tuple[int, CanFrame]] = field(default_factory=deque)
    unheard: bool = False

    def hear(self, frame: CanFrame, now_ns: int) -> None:
        """Another node's frame has been carried."""


class EchoNode(CanNode):
    """Sends every data frame back, with the lowest bit of its identifier turned over. Fits in with any bit rate."""

    def hear(self, frame: CanFrame, now_ns: int) -> None:
        if not frame.remote:
            values = {**vars(frame), "id": frame.id ^ 1}
            self.outbox.append((now_ns, CanFrame(**values)))


class CanBus:
    """The wire between nodes. No I/O, no thread, no clock of its own."""

    def __init__(self) -> None:
        self.nodes: list[CanNode] = []
        self.carried = 0
        self._free_ns = 0
        self._flying: tuple[int, CanNode, CanFrame] | None = None

    def advance(self, now_ns: int) -> None:
        """Carries what the wire has had time for."""
        while self._begin(now_ns) and self._flying is not None and self._flying[0] <= now_ns:
            end, sender, frame = self._flying
            self._flying, self._free_ns = None, end
            self.carried += 1
            if sender.outbox and sender.outbox[0][1] is frame:  # it may have closed meanwhile
                sender.outbox.popleft()
            for node in self.nodes:
                if node is not sender and (node.bit_rate or isinstance(node, EchoNode)):
                    node.hear(frame, end)

    @property
    def next_due_ns(self) -> int | None:
        """When the frame that is on the wire has been carried."""
        return None if self._flying is None else self._flying[0]

    def _begin(self, now_ns: int) -> bool:
        """Puts the next frame on the wire; True if there is one on it."""
        if self._flying is not None:
            return True
        waiting = [(node, *node.outbox[0]) for node in self.nodes if node.outbox]
        ready = []
        for node, since, frame in waiting:
            node.unheard = not self._passes(node, frame)
            if not node.unheard:
                ready.append((node, since, frame))
        if not ready:
            return False
        start = max(self._free_ns, min(since for _, since, _ in ready))
        if start > now_ns:
            return False
        node, _, frame = min((row for row in ready if row[1] <= start), key=lambda row: row[2].rank)
        rates = [(other.bit_rate, other.data_bit_rate) for other in self.nodes if other.bit_rate]
        bit_rate, data_bit_rate = rates[0]
        self._flying = start + frame.duration_ns(bit_rate, data_bit_rate or bit_rate), node, frame
        return True

    def _passes(self, sender: CanNode, frame: CanFrame) -> bool:
        """Whether somebody acknowledges the frame and nobody destroys it."""
        on_bus = [node for node in self.nodes if node.bit_rate]
        others = [node for node in self.nodes if node is not sender and not node.listen_only]
        heard = any(node.bit_rate or isinstance(node, EchoNode) for node in others)
        one_rate = len({node.bit_rate for node in on_bus}) == 1
        fd_known = not frame.fd or (
            all(node.data_bit_rate for node in on_bus)
            and (not frame.bit_rate_switch or len({node.data_bit_rate for node in on_bus}) == 1)
        )
        return heard and one_rate and fd_known
