"""The rate a tty is set to, odd ones included."""

from __future__ import annotations

import fcntl
import struct

# asm-generic: x86, arm and risc-v alike
_TCGETS2, _TCSETS2, _TERMIOS2 = 0x802C542A, 0x402C542B, struct.Struct("=4I20s2I")
_CFLAG, _INPUT, _OUTPUT = 2, 5, 6
_CBAUD, _BOTHER, _INPUT_SHIFT = 0o010017, 0o010000, 16


def baud_of(descriptor: int) -> int:
    """Bits a second."""
    answer = fcntl.ioctl(descriptor, _TCGETS2, bytes(_TERMIOS2.size))
    return int(_TERMIOS2.unpack(answer)[_OUTPUT])


def set_baud(descriptor: int, baud: int) -> None:
    """Sets both directions to so many bits a second."""
    modes = list(_TERMIOS2.unpack(fcntl.ioctl(descriptor, _TCGETS2, bytes(_TERMIOS2.size))))
    modes[_CFLAG] = modes[_CFLAG] & ~(_CBAUD | _CBAUD << _INPUT_SHIFT) | _BOTHER
    modes[_INPUT] = modes[_OUTPUT] = baud
    fcntl.ioctl(descriptor, _TCSETS2, _TERMIOS2.pack(*modes))
