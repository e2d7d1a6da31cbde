"""What is behind the serial ports of a machine, for a person who does not know which one is the arm. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edge.arm import ArmDescription, FeetechDrive
from edge.errors import EdgeError
from edge.ports import check_port, connected
from edge.probe import Bus

BAUD = 1_000_000
OTHER_BAUDS = (115_200, 500_000, 57_600)
"""Rates at which a servo may have been left, the likeliest first."""

_BRIEF_NS = 10_000_000


def answering(bus: Bus, ids: Iterable[int], timeout_ns: int = _BRIEF_NS) -> list[int]:
    """Which of these servos answer."""
    return [id for id in ids if bus.ping(id, timeout_ns) is not None]


def look_behind(arm: ArmDescription, drive: FeetechDrive, open_bus: Callable[[str], Bus]) -> list[str]:
    """A line for every serial port of this machine: whether the arm is there.

    Args:
        arm: The arm that is looked for.
        drive: Its servos.
        open_bus: Opens a port at 1 Mbps.
    """
    return [f"{port}: {_behind(port, arm, open_bus)}" for port in connected()] or [
        "no serial port found: plug in the arm's adapter"
    ]


def _behind(port: str, arm: ArmDescription, open_bus: Callable[[str], Bus]) -> str:
    ids = [joint.servo_id for joint in arm.joints]
    try:
        check_port(port)
        found = answering(open_bus(port), ids)
    except EdgeError as problem:
        return f"{problem.what}, {problem.got}"
    if found == ids:
        return f"a {arm.name} answers: --port {port}"
    if found:
        return f"of a {arm.name} only {_listed(found)} answer"
    return "nothing answers as a servo does"


def why_silent(silent: Sequence[int], found: Sequence[int], corrupt: int, at_other_rates: dict[int, list[int]]) -> str:
    """What to do about servos that do not answer.

    Args:
        silent: Their ids.
        found: Ids that do answer, of the arm or not.
        corrupt: Answers with a wrong sum.
        at_other_rates: Ids that answer at another rate, by that rate.
    """
    for baud, ids in at_other_rates.items():
        if ids:
            return f"{_listed(ids)} answer at {baud} bit/s: set them to 1 Mbps with the maker's tool"
    if corrupt:
        return "answers are damaged, as two servos with one id make them: connect one at a time, `edge doctor --set-id`"
    if not found:
        return "nobody answers: check the servos' power (the adapter's own is not enough) and the first cable"
    if min(silent) > max(found):
        return f"the chain ends behind {max(found)}: check the cable to {min(silent)}"
    return "check power, the daisy chain and the servo ids"


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids))
