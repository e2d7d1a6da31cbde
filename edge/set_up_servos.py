"""The little of a servo's memory that `edge doctor` writes when it is told to: said before, and read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge.arm import ArmDescription
from edge.errors import ArmError
from edge.find_arms import answering
from edge.probe import Bus

_ID, _TORQUE, _LOCK = 5, 40, 55
_LAST_ID = 253
_BRIEF_NS = 20_000_000


class WritingBus(Bus, Protocol):
    """A servo bus that can be written, too; False where nobody acknowledged."""

    def write(self, id: int, address: int, data: bytes, timeout_ns: int = ...) -> bool: ...


Say = Callable[[str], None]


def set_id(bus: WritingBus, id: int, say: Say) -> None:
    """Give the only servo on a bus another id.

    Args:
        bus: With exactly one servo connected: two that answer to one id cannot be told apart, nor set apart.
        id: What it is to be, 0 to 253.
        say: Is told what will be written, before it is.

    Raises:
        ArmError: Another id, not exactly one servo, one that holds its pose, or one that did not do it.
    """
    if not 0 <= id <= _LAST_ID:
        raise ArmError(f"{id} cannot be a servo's id", expected=f"0 to {_LAST_ID}", got=str(id))
    found = answering(bus, range(_LAST_ID + 1), _BRIEF_NS)
    if len(found) != 1:
        raise ArmError(
            "an id can only be set with one servo on the bus",
            expected="exactly one servo that answers",
            got=", ".join(map(str, found)) or "nobody answers, or two with the same id do",
            fix="connect the adapter to that servo alone",
        )
    old = found[0]
    torque = bus.read(old, _TORQUE, 1)
    if torque is None or torque[1] != b"\0":
        raise ArmError(
            f"servo {old} holds its pose", expected="torque off", got="torque on", fix="switch its power off and on"
        )
    if old == id:
        say(f"servo {old} has this id: nothing to write")
        return
    say(f"will write to servo {old}: Lock ({_LOCK}) 0, ID ({_ID}) {id}, Lock 1")
    bus.write(old, _LOCK, b"\0")
    bus.write(old, _ID, bytes((id,)))  # acknowledged by the one name or the other
    bus.write(id, _LOCK, b"\1")
    stored, lock = bus.read(id, _ID, 1), bus.read(id, _LOCK, 1)
    if stored is None or stored[1] != bytes((id,)) or lock is None or lock[1] != b"\1" or bus.ping(old) is not None:
        raise ArmError(
            f"servo {old} did not become servo {id}",
            expected=f"id {id} and the lock, read back",
            got=f"id {None if stored is None else stored[1][0]}, lock {None if lock is None else lock[1][0]}",
            fix="check its cable and power, then look again with `edge doctor`",
        )
    say(f"read back: servo {id}, locked")


def lock(bus: WritingBus, arm: ArmDescription, say: Say) -> None:
    """Lock what the servos of an arm have stored, where it is open.

    Raises:
        ArmError: A servo does not answer, or stays open.
    """
    for joint in arm.joints:
        who = f"servo {joint.servo_id} ({joint.name})"
        seen = bus.read(joint.servo_id, _LOCK, 1)
        if seen is not None and seen[1] == b"\1":
            continue
        if seen is not None:
            say(f"will write to {who}: Lock ({_LOCK}) 1")
            bus.write(joint.servo_id, _LOCK, b"\1")
            seen = bus.read(joint.servo_id, _LOCK, 1)
        if seen is None or seen[1] != b"\1":
            raise ArmError(
                f"{who} is not locked",
                expected="Lock 1, read back",
                got="silence" if seen is None else str(seen[1][0]),
                fix="check its cable and power",
            )
        say(f"read back: {who} is locked")
