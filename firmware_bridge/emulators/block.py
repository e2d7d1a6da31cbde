"""The shared memory between the servo bus and whatever moves the servos.

Each word has one writer, is aligned and four bytes long, so it is never read half written. Words of one servo may
belong to neighbouring instants, as they do in the servo's own registers.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.faults import FRAME_KINDS, SERVO_KINDS

Words = NDArray[np.int32]

_MAGIC = 0x5345_5256
_KINDS = (*FRAME_KINDS, *SERVO_KINDS)
_HEADER = ("magic", "count", "flip_replies", "swap_replies", "requests", "collisions", "baud", *_KINDS)
_FIELDS = (
    # written by the bus
    "goal",
    "torque",
    "torque_limit",
    "goal_velocity",
    "acceleration",
    # written by physics
    "position",
    "velocity",
    "load",
    "moving",
    # written by the bus and by whoever injects faults; enabling torque clears an overload
    "silent",
    "status",
)
_ROWS = ("id", *_FIELDS)
_UNLOADED_BY = 0x2C  # Unloading_Condition as it comes from the factory: overload, overcurrent, overheat


class _Word:
    """One word of the header as an attribute."""

    def __init__(self, name: str) -> None:
        self._index = _HEADER.index(name)

    def __get__(self, block: ServoBlock, owner: type[ServoBlock]) -> int:
        return int(block.header[self._index])

    def __set__(self, block: ServoBlock, value: int) -> None:
        block.header[self._index] = value


class ServoBlock:
    """State of n servos, an array of n int32 words a field.

    Positions are ticks of the encoder (4096 a turn, 2048 = 0 rad), before the homing offset.

    Attributes:
        ids: Bus ids, in order of the arrays.
        goal: Where each servo is told to go, within its limits.
        torque: 1 where Torque_Enable is set. `driven` says whether the motor really pulls.
        torque_limit: Thousandths of the maximum torque.
        goal_velocity: Ticks/s the servo was told to keep to, 0 for no limit of its own.
        acceleration: 100 ticks/s^2, 0 for no limit.
        position: Measured position.
        velocity: Measured velocity, ticks/s.
        load: Measured load, thousandths of the maximum torque, signed.
        moving: 1 while the goal is not reached.
        silent: Fault: a servo that is not 0 here hears everything and never answers.
        status: Error bits in every reply (1 voltage, 2 angle, 4 overheat, 8 overcurrent, 0x20 overload).
        flip_replies: Fault: so many coming replies have one bit flipped, which their checksum shows.
        swap_replies: Fault: so many coming replies have two data bytes swapped, which the sum does not show.
        requests: Intact requests the bus has seen.
        collisions: Times two parties spoke at once, so that both were lost.
        baud: Rate of the host's port when it last sent something; 0 before that.
    """

    goal: Words
    torque: Words
    torque_limit: Words
    goal_velocity: Words
    acceleration: Words
    position: Words
    velocity: Words
    load: Words
    moving: Words
    silent: Words
    status: Words

    def __init__(self, memory: mmap.mmap | bytearray) -> None:
        words = np.frombuffer(memory, np.int32)
        if words[0] != _MAGIC:
            raise ValueError("this memory holds no servo block")
        count = int(words[1])
        self.header = words[: len(_HEADER)]
        rows = words[len(_HEADER) : len(_HEADER) + count * len(_ROWS)].reshape(len(_ROWS), count)
        self.ids = tuple(rows[0].tolist())
        for name, row in zip(_FIELDS, rows[1:], strict=True):
            setattr(self, name, row)

    @classmethod
    def local(cls, ids: Sequence[int]) -> ServoBlock:
        """A block inside this process."""
        return cls(_initial(ids))

    @classmethod
    def shared(cls, ids: Sequence[int]) -> tuple[ServoBlock, int]:
        """A block in anonymous shared memory, and the file descriptor another process attaches by."""
        content = _initial(ids)
        descriptor = os.memfd_create("servo-block")
        os.write(descriptor, content)
        return cls(mmap.mmap(descriptor, len(content))), descriptor

    @classmethod
    def attach(cls, descriptor: int) -> ServoBlock:
        """The block behind a descriptor that was inherited."""
        return cls(mmap.mmap(descriptor, os.fstat(descriptor).st_size))

    @property
    def driven(self) -> NDArray[np.bool_]:
        """(n,) whether the motor pulls: torque is enabled and no error has shut it off."""
        driven: NDArray[np.bool_] = (self.torque == 1) & (self.status & _UNLOADED_BY == 0)
        return driven

    flip_replies = _Word("flip_replies")
    swap_replies = _Word("swap_replies")
    requests = _Word("requests")
    collisions = _Word("collisions")
    baud = _Word("baud")

    @property
    def injected(self) -> dict[str, int]:
        """How often each kind of fault in a plan has happened."""
        return {kind: int(self.header[_HEADER.index(kind)]) for kind in _KINDS}

    def count_injected(self, kind: str, count: int = 1) -> None:
        """The bus says that a fault of a plan has happened."""
        self.header[_HEADER.index(kind)] += count


def _initial(ids: Sequence[int]) -> bytearray:
    words = np.zeros(len(_HEADER) + len(ids) * len(_ROWS), np.int32)
    words[0], words[1] = _MAGIC, len(ids)
    rows = words[len(_HEADER) :].reshape(len(_ROWS), len(ids))
    rows[0] = ids
    rows[_ROWS.index("position")] = rows[_ROWS.index("goal")] = 2048
    return bytearray(words.tobytes())
