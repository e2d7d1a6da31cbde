"""The bridge protocol: docs/bridge-protocol.md. Numbers as there; what it does not allow is a ValueError, what does not
fit its field an OverflowError."""

from enum import IntEnum
from typing import NamedTuple, TypeAlias

PROTOCOL: int
"""Hash of the wire header."""
MAX_JOINTS: int
MAX_LENGTH: int
MAX_EXPIRY_MS: int
CAN_STOP: int
CAN_TO_ARM: int
CAN_FROM_ARM: int

class Hello(NamedTuple):
    joints: int
    tick_us: int
    session: int
    config: int
    protocol: int = ...
    refusal: int = 0

class HelloReply(NamedTuple):
    joints: int
    tick_us: int
    session: int
    config: int
    protocol: int = ...
    refusal: int = 0

class Command(NamedTuple):
    """`targets`: position and velocity of each joint, in 2^-32 of its unit, and that a tick."""

    expiry_ms: int
    session: int
    sequence: int
    basis_us: int
    targets: tuple[tuple[int, int], ...]

class Clear(NamedTuple):
    expiry_ms: int
    session: int
    sequence: int
    basis_us: int
    latch: int

class Release(NamedTuple):
    expiry_ms: int
    session: int
    sequence: int
    basis_us: int
    latch: int

class Stop(NamedTuple): ...

class State(NamedTuple):
    arm: int
    refusal: int
    session: int
    sequence: int
    time_us: int
    faults: int
    latch: int
    limited: int
    stale: int
    age_ms: int
    positions: tuple[int, ...]

Message: TypeAlias = Hello | HelloReply | Command | Clear | Release | Stop | State

def encode(message: Message) -> bytes: ...
def decode(data: bytes) -> Message | None:
    """None when these bytes are not exactly a message."""

def serial_frame(message: bytes) -> bytes:
    """An encoded message as it goes over a serial line."""

def can_fragments(message: bytes, frame_size: int, transfer: int) -> list[bytes]:
    """An encoded message as it goes over CAN, in frames of 8 or 64 bytes; `transfer` counts messages."""

def crc32(data: bytes) -> int: ...
def cobs_encode(data: bytes) -> bytes: ...
def cobs_decode(data: bytes) -> bytes | None: ...

class Parser:
    """Finds messages on a serial line, again after any garbage."""

    frames: int
    """Messages found so far."""
    corrupt: int
    """What stood between two zeros and was none."""
    skipped: int
    """Bytes of those."""

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Every message that `data` completes, oldest first."""

class Assembly:
    """Puts the messages of one CAN identifier together; `frame_size` is 8 or 64."""

    frames: int
    corrupt: int
    skipped: int

    def __init__(self, frame_size: int) -> None: ...
    def push(self, data: bytes) -> Message | None:
        """The message that this frame completes."""

class Action(IntEnum):
    """What a message asks of the microcontroller: bridge_gate.h."""

    NOTHING = ...
    ANSWER = ...
    ARM = ...
    FOLLOW = ...
    BRAKE = ...
    DROP = ...

class Gate:
    """The microcontroller's judgement of messages."""

    targets: tuple[tuple[int, int], ...]

    def __init__(self, joints: int, tick_us: int, config: int, max_expiry_ms: int = ...) -> None: ...
    def receive(self, now_us: int, message: Message) -> tuple[Action, Message | None]:
        """What to do, and the answer to send if there is one."""

    def tick(self, now_us: int, present: int = 0) -> None: ...
    def at_rest(self) -> None: ...
    def report(self, now_us: int) -> State: ...
