"""Cuts a byte stream into frames, so that faults can happen to whole ones. Bytes that belong to none are not lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

_LONGEST = 1024


class Splitter(Protocol):
    """Cuts a stream."""

    def push(self, byte: int) -> list[bytes]:
        """Pieces that this byte completes: frames, and what stood between them. Joined, they are the stream."""

    def flush(self) -> bytes:
        """What has been held back, when nothing comes any more."""

    def is_frame(self, piece: bytes) -> bool:
        """Whether a piece is a frame and not what stood between them."""


class FeetechSplitter:
    """FF FF ID LEN, then LEN bytes: requests and replies. Sums are not looked at."""

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, byte: int) -> list[bytes]:
        held = self._held
        held.append(byte)
        out: list[bytes] = []
        while held:
            junk = self._junk()
            if junk:
                out.append(bytes(held[:junk]))
                del held[:junk]
            if len(held) < 4 or len(held) < 4 + held[3]:
                break
            length = 4 + held[3]
            out.append(bytes(held[:length]))
            del held[:length]
        return out

    def flush(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held

    def is_frame(self, piece: bytes) -> bool:
        return len(piece) >= 6 and piece[:2] == b"\xff\xff" and piece[2] != 0xFF and len(piece) == 4 + piece[3]

    def _junk(self) -> int:
        """How many leading bytes begin no frame."""
        held = self._held
        for at in range(len(held)):
            header, id, length = bytes(held[at : at + 2]), held[at + 2 : at + 3], held[at + 3 : at + 4]
            if header in (b"\xff", b"\xff\xff") and id != b"\xff" and (not length or length[0] >= 2):
                return at
        return len(held)


class DelimitedSplitter:
    """Frames that end with one byte: 00 for COBS, CR for slcan."""

    def __init__(self, end: int) -> None:
        self._end, self._held = end, bytearray()

    def push(self, byte: int) -> list[bytes]:
        self._held.append(byte)
        return [self.flush()] if byte == self._end or len(self._held) >= _LONGEST else []

    def flush(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held

    def is_frame(self, piece: bytes) -> bool:
        return len(piece) > 1 and piece[-1] == self._end


SPLITTERS: dict[str, Callable[[], Splitter]] = {
    "feetech": FeetechSplitter,
    "cobs": lambda: DelimitedSplitter(0x00),
    "slcan": lambda: DelimitedSplitter(0x0D),
}
"""By the name of the protocol on the line."""
