from collections.abc import Mapping
from typing import NamedTuple

MAX_PARAMS: int

class Frame(NamedTuple):
    """One intact frame without its stuffing; `error` is 0 in what is not a status."""

    id: int
    instruction: int
    error: int
    params: bytes

def encode_frame(id: int, instruction: int, params: bytes = b"") -> bytes: ...
def encode_ping(id: int) -> bytes: ...
def encode_read(id: int, address: int, length: int) -> bytes: ...
def encode_write(id: int, address: int, data: bytes) -> bytes: ...
def encode_sync_write(address: int, length: int, values: Mapping[int, bytes]) -> bytes:
    """One write of `length` bytes a servo; `values` is keyed by servo id. ValueError if a value has another length."""

def encode_status(id: int, error: int, params: bytes = b"") -> bytes: ...

class Parser:
    """Finds frames in a byte stream, again after any garbage.

    `max_params`, as they go over the wire, bounds how many bytes a false header can make it wait for.
    """

    frames: int
    """Intact frames found so far."""
    corrupt: int
    """Whole candidates with a wrong CRC, wrong stuffing, or a status without its error byte."""
    skipped: int
    """Bytes that belonged to no frame."""

    def __init__(self, max_params: int = 250) -> None: ...
    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Every intact frame that `data` completes, oldest first."""

    def reset(self) -> None:
        """Forget what is buffered; counters stay."""
