"""The half-duplex wire: requests reach every servo, replies come back when a real bus would have carried them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from firmware_bridge._feetech import Frame, Parser, encode_status
from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.faults import FaultPlan
from firmware_bridge.emulators.framing import FeetechSplitter
from firmware_bridge.emulators.injector import Injector
from firmware_bridge.emulators.registers import BAUD_RATES
from firmware_bridge.emulators.servo import Servo
from firmware_bridge.emulators.servo_faults import ServoFaults

BROADCAST = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION, SYNC_READ, SYNC_WRITE = 1, 2, 3, 4, 5, 0x82, 0x83
BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""

_IDLE_NS = 10_000_000  # a servo gives up on a frame whose next byte does not come for this long
_CHECK_NS = 10_000_000  # how often a servo looks at its load: the unit of Protection_Time
_STATUS_BYTES = 6  # of a reply without parameters
_GARBLE = 0x55


@dataclass
class _Reply:
    """Bytes on the wire from `start_ns` to `end_ns`."""

    start_ns: int
    end_ns: int
    data: bytes
    baud: int
    garbled: bool = False


class ServoBus:
    """A bus of STS3215 servos: bytes and a clock in, bytes out. No I/O, no thread, no clock of its own.

    Half duplex is taken seriously: a request that overlaps a reply destroys both, and so do two replies.

    Args:
        block: State of the servos.
        stored: By servo id, EEPROM registers that differ from the factory's, as an earlier client stored them.
        faults: What goes wrong.
        start_ns: When the plan's time begins, on the clock of the calls.

    Attributes:
        servos: The servos, in order of `block.ids`.
        on_request: Is called with every intact request, as the servos understood it, and when it ended.
    """

    def __init__(
        self,
        block: ServoBlock,
        stored: Mapping[int, Mapping[str, int]] = MappingProxyType({}),
        faults: FaultPlan | None = None,
        start_ns: int = 0,
    ) -> None:
        plan = faults or FaultPlan()
        self.block = block
        self.servos = tuple(Servo(block, index, stored.get(id, {})) for index, id in enumerate(block.ids))
        self.on_request: Callable[[Frame, int], None] | None = None
        self._parser = Parser()
        self._host_free_ns = 0
        self._checked_ns = start_ns - _CHECK_NS
        self._replies: deque[_Reply] = deque()
        self._on_servos = ServoFaults(plan.on_servos, self.servos, block, start_ns)
        self._on_replies = Injector(plan, "replies", start_ns)
        self._on_requests = Injector(plan, "requests", start_ns)
        self._splitter = FeetechSplitter()
        self._late: list[tuple[int, int, bytes, int]] = []  # a heap: when, in which order, what, at which rate
        self._late_count = 0
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
        self.advance(now_ns)
        self.block.baud = baud
        byte_ns = BITS_PER_BYTE * 1_000_000_000 // baud
        if now_ns > self._host_free_ns + _IDLE_NS:
            self._hear(self._splitter.flush(), now_ns, baud)
            self._parser.reset()
        tampered = bool(self._on_requests)
        for byte in data:
            start = max(now_ns, self._host_free_ns)
            end = self._host_free_ns = start + byte_ns
            heard = byte ^ _GARBLE if self._collide(start, end) else byte
            if tampered:
                self._pass_on(heard, end, baud)
            else:
                self._hear(bytes((heard,)), end, baud)

    def advance(self, now_ns: int) -> None:
        """What happens by itself until now: faults of the plan, servos that shut off, requests that were held up."""
        while self._late and self._late[0][0] <= now_ns:
            due_ns, _, data, baud = heapq.heappop(self._late)
            self._hear(data, due_ns, baud)
        self._on_servos.advance(now_ns)
        if now_ns - self._checked_ns >= _CHECK_NS:
            self._checked_ns = now_ns
            for servo in self.servos:
                servo.protect(now_ns)

    def _pass_on(self, byte: int, end_ns: int, baud: int) -> None:
        """A byte of a request, where requests are tampered with: nothing is heard before a frame is complete."""
        for piece in self._splitter.push(byte):
            if not self._splitter.is_frame(piece):
                self._hear(piece, end_ns, baud)
                continue
            before = dict(self._on_requests.counts)
            for passed in self._on_requests.passed(piece, end_ns, None if piece[2] == BROADCAST else piece[2]):
                if passed.late_ns:
                    self._late_count += 1
                    heapq.heappush(self._late, (end_ns + passed.late_ns, self._late_count, passed.data, baud))
                else:
                    self._hear(passed.data, end_ns, baud)
            self._count(self._on_requests, before)

    def _hear(self, data: bytes, end_ns: int, baud: int) -> None:
        for frame in self._parser.feed(data):
            self.block.requests += 1
            if self.on_request is not None:
                self.on_request(frame, end_ns)
            handler = self._handlers.get(frame.code)
            if handler is not None:
                handler(frame, end_ns, baud)

    def _count(self, injector: Injector, before: Mapping[str, int]) -> None:
        for kind, count in injector.counts.items():
            if count != before.get(kind, 0):
                self.block.count_injected(kind, count - before.get(kind, 0))

    @property
    def next_due_ns(self) -> int | None:
        """When the next reply will have been carried; None when the line is quiet."""
        return self._replies[0].end_ns if self._replies else None

    @property
    def quiet_ns(self) -> int | None:
        """When the last reply will have been carried; None when the line is quiet already."""
        return self._replies[-1].end_ns if self._replies else None

    @property
    def next_event_ns(self) -> int | None:
        """When a fault of the plan begins or ends, or a request that was held up arrives; None when none will."""
        late_ns = self._late[0][0] if self._late else None
        return min((at for at in (late_ns, self._on_servos.next_ns) if at is not None), default=None)

    def transmit(self, now_ns: int, baud: int | None = None) -> bytes:
        """Takes every reply whose last byte has arrived at the host by now.

        A port that is set to another rate than the servo's hears as long a noise; `baud` is None where it is not.
        """
        self.advance(now_ns)
        out = bytearray()
        while self._replies and self._replies[0].end_ns <= now_ns:
            reply = self._replies.popleft()
            if baud is not None and baud != reply.baud:
                out += bytes(byte ^ _GARBLE for byte in reply.data)[: max(1, len(reply.data) * baud // reply.baud)]
            else:
                out += bytes(byte ^ _GARBLE for byte in reply.data) if reply.garbled else reply.data
        return bytes(out)

    def _addressed(self, id: int, baud: int) -> list[Servo]:
        return [s for s in self.servos if id in (s.id, BROADCAST) and s.baud == baud and not s.deaf]

    def _on_ping(self, frame: Frame, end_ns: int, baud: int) -> None:
        servos = self._addressed(frame.id, baud)
        places = sorted({servo.id for servo in servos})  # to a broadcast the lowest id answers first
        for servo in servos:
            self._answer(servo, b"", end_ns, baud, places.index(servo.id))

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
        for place, id in enumerate(ids):
            for servo in self._addressed(id, baud):
                self._answer(servo, servo.read(address, length), end_ns, baud, place)

    def _on_sync_write(self, frame: Frame, end_ns: int, baud: int) -> None:
        if len(frame.params) < 2:
            return
        address, length = frame.params[:2]
        for at in range(2, len(frame.params) - length, length + 1):
            for servo in self._addressed(frame.params[at], baud):
                servo.write(address, frame.params[at + 1 : at + 1 + length])

    def _answer(self, servo: Servo, params: bytes, request_end_ns: int, baud: int, place: int = 0) -> None:
        """Puts a status on the wire.

        After a sync_read every servo waits for its place by time, each place as long as its own return delay and
        reply; it does not listen to those before it. So one that is missing leaves a gap, and the others come when
        they would have come anyway. (Seen in avenhaus/SO-ARM100-Encoders, issue 1: an STS3215 begins to answer while
        a slower device that was asked before it is still sending.)
        """
        if servo.silent:
            return
        data = encode_status(servo.id, servo.status, params)
        byte_ns = BITS_PER_BYTE * 1_000_000_000 // baud
        slot_ns = servo.return_delay_ns + (_STATUS_BYTES + len(params)) * byte_ns
        start_ns = request_end_ns + place * slot_ns + servo.return_delay_ns
        if self.block.flip_replies > 0:
            self.block.flip_replies -= 1
            data = data[:-1] + bytes((data[-1] ^ 0x10,))
        elif self.block.swap_replies > 0 and len(params) >= 2:
            self.block.swap_replies -= 1
            data = data[:5] + data[6:7] + data[5:6] + data[7:]
        if self._on_replies:
            before = dict(self._on_replies.counts)
            free_ns = start_ns
            for passed in self._on_replies.passed(data, start_ns, servo.id):
                free_ns = self._carry(passed.data, max(free_ns, start_ns + passed.late_ns), byte_ns, baud)
            self._count(self._on_replies, before)
        else:
            self._carry(data, start_ns, byte_ns, baud)
        if servo.twin:
            self._collide(start_ns, start_ns + len(data) * byte_ns)

    def _carry(self, data: bytes, start_ns: int, byte_ns: int, baud: int) -> int:
        """Bytes of a servo on the wire; returns when they end."""
        end_ns = start_ns + len(data) * byte_ns
        if data:
            self._replies.append(_Reply(start_ns, end_ns, data, baud, garbled=self._collide(start_ns, end_ns)))
            if len(self._replies) > 1 and self._replies[-2].end_ns > end_ns:
                self._replies = deque(sorted(self._replies, key=lambda r: r.end_ns))
        return end_ns

    def _collide(self, start_ns: int, end_ns: int) -> bool:
        """Garbles every reply that is on the wire in this time; True if there was one."""
        hit = [reply for reply in self._replies if reply.start_ns < end_ns and start_ns < reply.end_ns]
        for reply in hit:
            self.block.collisions += not reply.garbled
            reply.garbled = True
        return bool(hit)
