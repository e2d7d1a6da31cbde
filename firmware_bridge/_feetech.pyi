from collections.abc import Iterable, Mapping
from typing import NamedTuple

MAX_PARAMS: int

class Frame(NamedTuple):
    """One intact frame: `code` is a request's instruction or a reply's error byte."""

    id: int
    code: int
    params: bytes

def encode_ping(id: int) -> bytes: ...
def encode_read(id: int, address: int, length: int) -> bytes: ...
def encode_write(id: int, address: int, data: bytes) -> bytes: ...
def encode_sync_read(address: int, length: int, ids: Iterable[int]) -> bytes: ...
def encode_sync_write(address: int, length: int, values: Mapping[int, bytes]) -> bytes:
    """One write of `length` bytes a servo; `values` is keyed by servo id. ValueError if a value has another length."""

def encode_status(id: int, error: int, params: bytes = b"") -> bytes:
    """A servo's reply; `error` is a sum of the error bits."""

def to_sign_magnitude(value: int, sign_bit: int) -> int:
    """A 16-bit word with the sign in `sign_bit`; magnitudes that do not fit saturate."""

def from_sign_magnitude(word: int, sign_bit: int) -> int: ...

class Parser:
    """Finds frames in a byte stream, again after any garbage.

    `max_params` bounds how many bytes a false header can make it wait for.
    """

    frames: int
    """Intact frames found so far."""
    corrupt: int
    """Whole candidates whose checksum was wrong."""
    skipped: int
    """Bytes that belonged to no frame."""

    def __init__(self, max_params: int = 253) -> None: ...
    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Every intact frame that `data` completes, oldest first."""

    def reset(self) -> None:
        """Forget what is buffered; counters stay."""
