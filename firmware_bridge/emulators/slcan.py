"""A USB adapter between a serial line and a CAN bus, which speaks slcan: Lawicel's ASCII lines, CAN FD as CANable does.

No kinder than the device: the bit rate is set before the channel is opened, frames are refused while it is closed, a
frame that nobody on the bus acknowledges stays in the adapter's few buffers until they are full, and what the host does
not fetch in time is lost.
"""

from __future__ import annotations

from firmware_bridge.emulators.can_bus import FD_LENGTHS, CanBus, CanFrame, CanNode

BIT_RATES = (10_000, 20_000, 50_000, 100_000, 125_000, 250_000, 500_000, 800_000, 1_000_000)
"""By the digit behind S."""
DATA_BIT_RATES = {1: 1_000_000, 2: 2_000_000, 4: 4_000_000, 5: 5_000_000}
"""By the digit behind Y."""
STYLES = ("canable", "lawicel", "mute")
"""How a frame is acknowledged: with CR; with z or Z and CR; not at all. The mute firmware acknowledges nothing else
either, and takes an empty line for the last frame again."""

RX_LOST, TX_FULL, UNHEARD = 0x08, 0x02, 0x20

_OK, _BELL = b"\r", b"\a"
_LONGEST_LINE = 1 + 8 + 1 + 2 * 64
_TX_FRAMES = 16
_HOST_BYTES = 4096
_STAMP_MS = 60_000


class SlcanAdapter(CanNode):
    """Bytes and a clock in, bytes out. No I/O, no thread, no clock of its own.

    Args:
        bus: The bus at its other side; the adapter adds itself.
        style: One of `STYLES`.
        fd: Whether it knows CAN FD.

    Attributes:
        output: Bytes for the host; whoever carries them takes them from its front.
        drop_answers: Fault: so many coming answers are lost.
        damage_frames: Fault: so many coming frames for the host have a byte that is no digit.
        refuse_frames: Fault: so many coming frames are refused.
    """

    def __init__(self, bus: CanBus, style: str = "canable", *, fd: bool = True) -> None:
        super().__init__()
        if style not in STYLES:
            raise ValueError(f"style {style!r}: one of {', '.join(STYLES)}")
        self.bus, self.style, self.fd = bus, style, fd
        self.output = bytearray()
        self.drop_answers = self.damage_frames = self.refuse_frames = 0
        self._rate = self._data_rate = 0
        self._stamps = False
        self._status = 0
        self._line = bytearray()
        self._last_frame = b""
        bus.nodes.append(self)

    @property
    def is_open(self) -> bool:
        """Whether it takes part in the bus."""
        return bool(self.bit_rate)

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes what the host wrote."""
        for byte in data:
            if byte == 0x0D:
                line, self._line = bytes(self._line), bytearray()
                self._answer(_BELL if len(line) > _LONGEST_LINE else self._obey(line, now_ns))
            elif len(self._line) <= _LONGEST_LINE:
                self._line.append(byte)

    def hear(self, frame: CanFrame, now_ns: int) -> None:
        if not frame.fd or self.fd:
            line = format_line(frame)
            if self._stamps:
                line += b"%04X" % (now_ns // 1_000_000 % _STAMP_MS)
            if self.damage_frames > 0:
                self.damage_frames -= 1
                line = line[:2] + b"\x80" + line[3:]
            if len(self.output) + len(line) < _HOST_BYTES:
                self.output += line + b"\r"
            else:
                self._status |= RX_LOST

    def _answer(self, answer: bytes) -> None:
        if self.style == "mute" and answer in (_OK, _BELL):
            return
        if self.drop_answers > 0:
            self.drop_answers -= 1
        else:
            self.output += answer

    def _obey(self, line: bytes, now_ns: int) -> bytes:
        if not line:
            repeat = self.style == "mute" and self._last_frame
            return self._send(self._last_frame, now_ns) if repeat else _BELL
        letter, rest = line[:1], line[1:]
        if letter in b"tTrRdDbB":
            self._last_frame = line
            return self._send(line, now_ns)
        if letter in b"VvN" and not rest:
            return {b"V": b"V1013", b"v": b"v0101", b"N": b"NEMUL"}[letter] + _OK
        if letter == b"C" and not rest and self.is_open:
            self.bit_rate = self.data_bit_rate = 0
            self.outbox.clear()
            return _OK
        if letter == b"F" and not rest and self.is_open:
            status, self._status = self._status | (UNHEARD if self.unheard else 0), 0
            return b"F%02X" % status + _OK
        return _OK if not self.is_open and self._configure(letter, rest) else _BELL

    def _configure(self, letter: bytes, rest: bytes) -> bool:
        """The commands of a closed channel."""
        if letter in (b"O", b"L") and not rest and self._rate:
            self.bit_rate, self.data_bit_rate, self.listen_only = self._rate, self._data_rate, letter == b"L"
            self._status = 0
            return True
        if len(rest) != 1 or not rest.isdigit():
            return False
        digit = int(rest)
        if letter == b"S" and digit < len(BIT_RATES):
            self._rate = BIT_RATES[digit]
        elif letter == b"Y" and self.fd and digit in DATA_BIT_RATES:
            self._data_rate = DATA_BIT_RATES[digit]
        elif letter == b"Z" and digit < 2:
            self._stamps = bool(digit)
        else:
            return letter in b"MA" and digit < 2
        return True

    def _send(self, line: bytes, now_ns: int) -> bytes:
        frame = parse_line(line)
        if frame is None or not self.is_open or self.listen_only or (frame.fd and not self.data_bit_rate):
            return _BELL
        if self.refuse_frames > 0:
            self.refuse_frames -= 1
            return _BELL
        if len(self.outbox) >= _TX_FRAMES:
            self._status |= TX_FULL
            return _BELL
        self.outbox.append((now_ns, frame))
        return (b"Z" if frame.extended else b"z") + _OK if self.style == "lawicel" else _OK


def format_line(frame: CanFrame) -> bytes:
    """A frame as a line, without the CR."""
    letter = b"r" if frame.remote else b"t" if not frame.fd else b"b" if frame.bit_rate_switch else b"d"
    head = letter.upper() + b"%08X" % frame.id if frame.extended else letter + b"%03X" % frame.id
    length = frame.requested if frame.remote else len(frame.data)
    return head + b"%X" % FD_LENGTHS.index(length) + frame.data.hex().upper().encode()


def parse_line(line: bytes) -> CanFrame | None:
    """A line without its CR as a frame; None if it is none, or has a digit too many or too few."""
    letter, extended = line[:1].lower(), line[:1].isupper()
    digits = 8 if extended else 3
    text = line[1:].decode("latin-1")
    if len(text) < digits + 1 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        return None
    id, code, data = int(text[:digits], 16), int(text[digits], 16), text[digits + 1 :]
    length = FD_LENGTHS[code]
    fd, remote = letter in (b"d", b"b"), letter == b"r"
    if (
        id > (0x1FFFFFFF if extended else 0x7FF)
        or (length > 8 and not fd)
        or len(data) != (0 if remote else 2 * length)
    ):
        return None
    return CanFrame(id, bytes.fromhex(data), extended, remote, length if remote else 0, fd, letter == b"b")
