"""Where everything is, in shared memory: physics writes at its pace, the cameras look at theirs."""

from __future__ import annotations

import mmap
import os

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 64


class SharedPose:
    """The generalised positions of a model. One process writes, others read.

    Two slots take turns: a reader copies the one that was completed last while the writer fills the other.

    Args:
        descriptor: Of the shared memory; inherited by the reading process.
        size: Number of positions (`nq`).
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        memory = mmap.mmap(descriptor, _HEADER_BYTES + 2 * size * 8)
        self._latest = np.frombuffer(memory, np.int64, 1)
        self._slots = np.frombuffer(memory, np.float64, 2 * size, _HEADER_BYTES).reshape(2, size)

    @classmethod
    def create(cls, size: int) -> SharedPose:
        """New shared memory. It lives as long as a process has it open."""
        descriptor = os.memfd_create("pose")
        os.ftruncate(descriptor, _HEADER_BYTES + 2 * size * 8)
        return cls(descriptor, size)

    def write(self, positions: NDArray[np.float64]) -> None:
        """Publishes (size,) positions."""
        spare = 1 - int(self._latest[0])
        self._slots[spare] = positions
        self._latest[0] = spare

    def read(self) -> NDArray[np.float64]:
        """(size,) positions published last."""
        return np.array(self._slots[int(self._latest[0])])
