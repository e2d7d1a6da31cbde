"""The half-duplex wire: requests reach every servo, replies come back when a real bus would have carried them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from firmware_bridge._feetech import Frame, Parser, encode_status
from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.registers import BAUD_RATES
from firmware_bridge.emulators.servo import Servo

BROADCAST = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION, SYNC_READ, SYNC_WRITE = 1, 2, 3, 4, 5, 0x82, 0x83
BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""

_IDLE_NS = 10_000_000  # a servo gives up on a frame whose next byte does not come for this long
_GARBLE = 0x55


@dataclass
class _Reply:
    """Bytes on the wire from `start_ns` to `end_ns`."""

    start_ns: int
    end_ns: int
    data: bytearray
    garbled: bool = False


class ServoBus:
    """A bus of STS3215 servos: bytes and a clock in, bytes out. No I/O, no thread, no clock of its own.

    Half duplex is taken seriously: a request that overlaps a reply destroys both, and so do two replies.

    Args:
        block: State of the servos; also carries injected faults.
        stored: By servo id, EEPROM registers that differ from the factory's, as an earlier client stored them.

    Attributes:
        servos: The servos, in order of `block.ids`.
    """

    def __init__(self, block: ServoBlock, stored: Mapping[int, Mapping[str, int]] = MappingProxyType({})) -> None:
        self.block = block
        self.servos = tuple(Servo(block, index, stored.get(id, {})) for index, id in enumerate(block.ids))
        self._parser = Parser()
        self._host_free_ns = 0
        self._replies: deque[_Reply] = deque()
        self._handlers: dict[int, Callable[[Frame, int, int], None]] = {
            PING: self._on_ping,
            READ: self._on_read,
            WRITE: self._on_write,
            REG_WRITE: self._on_reg_write,
            ACTION: self._on_action,
            SYNC_READ: self._on_sync_read,
            SYNC_WRITE: self._on_sync_write,
        }

    def receive(self, data: bytes, now_ns: int, baud: int = BAUD_RATES[0]) -> None:
        """The host starts to send these bytes now, or right behind what it is still sending.

        Args:
            data: Bytes as the host wrote them.
            now_ns: Time, on any clock that only goes forward.
            baud: Rate the host's port is set to. Servos set to another rate hear noise.
        """
        byte_ns = BITS_PER_BYTE * 1_000_000_000 // baud
        if now_ns > self._host_free_ns + _IDLE_NS:
            self._parser.reset()
        for byte in data:
            start = max(now_ns, self._host_free_ns)
            end = self._host_free_ns = start + byte_ns
            heard = byte ^ _GARBLE if self._collide(start, end) else byte
            for frame in self._parser.feed(bytes((heard,))):
                self.block.requests += 1
                handler = self._handlers.get(frame.code)
                if handler is not None:
                    handler(frame, end, baud)

    @property
    def next_due_ns(self) -> int | None:
        """When the next reply will have been carried; None when the line is quiet."""
        return self._replies[0].end_ns if self._replies else None

    @property
    def quiet_ns(self) -> int | None:
        """When the last reply will have been carried; None when the line is quiet already."""
        return self._replies[-1].end_ns if self._replies else None

    def transmit(self, now_ns: int) -> bytes:
        """Takes every reply whose last byte has arrived at the host by now."""
        out = bytearray()
        while self._replies and self._replies[0].end_ns <= now_ns:
            reply = self._replies.popleft()
            out += bytes(byte ^ _GARBLE for byte in reply.data) if reply.garbled else reply.data
        return bytes(out)

    def _addressed(self, id: int, baud: int) -> list[Servo]:
        return [servo for servo in self.servos if id in (servo.id, BROADCAST) and servo.baud == baud]

    def _on_ping(self, frame: Frame, end_ns: int, baud: int) -> None:
        for servo in self._addressed(frame.id, baud):
            end_ns = self._answer(servo, b"", end_ns, baud)

    def _on_read(self, frame: Frame, end_ns: int, baud: int) -> None:
        if frame.id == BROADCAST or len(frame.params) != 2:
            return
        for servo in self._addressed(frame.id, baud):
            self._answer(servo, servo.read(*frame.params), end_ns, baud)

    def _on_write(self, frame: Frame, end_ns: int, baud: int) -> None:
        self._write(frame, end_ns, baud, Servo.write)

    def _on_reg_write(self, frame: Frame, end_ns: int, baud: int) -> None:
        self._write(frame, end_ns, baud, Servo.reg_write)

    def _write(self, frame: Frame, end_ns: int, baud: int, write: Callable[[Servo, int, bytes], None]) -> None:
        if len(frame.params) < 2:
            return
        for servo in self._addressed(frame.id, baud):
            write(servo, frame.params[0], frame.params[1:])
            if frame.id != BROADCAST and servo.acknowledges:
                self._answer(servo, b"", end_ns, baud)

    def _on_action(self, frame: Frame, end_ns: int, baud: int) -> None:
        for servo in self._addressed(frame.id, baud):
            servo.action()
            if frame.id != BROADCAST and servo.acknowledges:
                self._answer(servo, b"", end_ns, baud)

    def _on_sync_read(self, frame: Frame, end_ns: int, baud: int) -> None:
        if len(frame.params) < 3:
            return
        address, length, *ids = frame.params
        for id in ids:  # in the order of the request; a missing servo leaves its slot empty
            for servo in self._addressed(id, baud):
                end_ns = self._answer(servo, servo.read(address, length), end_ns, baud)

    def _on_sync_write(self, frame: Frame, end_ns: int, baud: int) -> None:
        if len(frame.params) < 2:
            return
        address, length = frame.params[:2]
        for at in range(2, len(frame.params) - length, length + 1):
            for servo in self._addressed(frame.params[at], baud):
                servo.write(address, frame.params[at + 1 : at + 1 + length])

    def _answer(self, servo: Servo, params: bytes, request_end_ns: int, baud: int) -> int:
        """Puts a status on the wire; returns when its slot ends."""
        data = bytearray(encode_status(servo.id, servo.status, params))
        start = request_end_ns + servo.return_delay_ns
        end = start + len(data) * BITS_PER_BYTE * 1_000_000_000 // baud
        if servo.silent:
            return end
        if self.block.flip_replies > 0:
            self.block.flip_replies -= 1
            data[-1] ^= 0x10
        elif self.block.swap_replies > 0 and len(params) >= 2:
            self.block.swap_replies -= 1
            data[5], data[6] = data[6], data[5]
        self._replies.append(_Reply(start, end, data, garbled=self._collide(start, end)))
        if len(self._replies) > 1 and self._replies[-2].end_ns > end:
            self._replies = deque(sorted(self._replies, key=lambda r: r.end_ns))
        return end

    def _collide(self, start_ns: int, end_ns: int) -> bool:
        """Garbles every reply that is on the wire in this time; True if there was one."""
        hit = [reply for reply in self._replies if reply.start_ns < end_ns and start_ns < reply.end_ns]
        for reply in hit:
            self.block.collisions += not reply.garbled
            reply.garbled = True
        return bool(hit)
