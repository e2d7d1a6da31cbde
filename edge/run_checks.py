"""What ends a run from within, in words: an arm that stopped, a model that gives nothing, one that never ends."""

from __future__ import annotations

from collections.abc import Iterable

from edge.errors import EdgeError, LinkError, StuckError
from edge.machine import Machine
from edge.workers import Worker


def check_fault(machine: Machine) -> None:
    """Looks at the control loop.

    Raises:
        LinkError: It has a fault; names what the controller, the link or the servos say.
    """
    if machine.loop.snapshot()["state"] != "fault":
        return
    seen = machine.driver.snapshot()
    silent = {name: servo["age_ns"] for name, servo in seen["servos"].items() if _old(servo["age_ns"])}
    got = [seen["controller"]] if seen["controller"] else []
    got += [seen["link"]] if seen["link"] else [f"{name} answered {_age(age)}" for name, age in silent.items()]
    got += [f"{name}: {servo['error']}" for name, servo in seen["servos"].items() if servo["error"]]
    raise LinkError(
        f"the arm stopped: {seen['fault_cause']}",
        expected="an answer of every servo in each bus cycle",
        got="; ".join(got) or f"last feedback {_age(seen['feedback_age_ns'])}",
        fix="check power and cable of the arm, then run again: nothing is resumed by itself",
    )


def check_back(kind: type[EdgeError], name: str, silent_ns: int, allowed_s: float) -> None:
    """Compares how long a model has given nothing with what it may.

    Raises:
        EdgeError: (as `kind`) It is too long.
    """
    if silent_ns / 1e9 > allowed_s:
        raise kind(
            f"the {name} does not come back",
            expected=f"an answer within {allowed_s:g} s",
            got=f"nothing for {silent_ns / 1e9:.1f} s",
            fix="check what it runs on (driver, memory, temperature), then run again",
        )


def check_ended(threads: Iterable[Worker], allowed_s: float, reason: str) -> None:
    """Looks whether the threads of a run that is over have ended.

    Args:
        threads: They are named after the models that they use.
        allowed_s: How long was waited for them.
        reason: Why the run ended.

    Raises:
        StuckError: One has not.
    """
    stuck = " and ".join(thread.name for thread in threads if thread.is_alive())
    if stuck:
        raise StuckError(
            f"the {stuck} does not come back, and this process can do no other task",
            expected=f"an answer within {allowed_s:g} s after the run's end",
            got=f"none; the run ended with: {reason}",
            fix="check what it runs on (driver, memory, temperature), then run again; a service is started again",
        )


def _old(age_ns: int | None) -> bool:
    """Whether a servo's last answer is from many bus cycles ago."""
    return age_ns is None or age_ns > 50_000_000


def _age(age_ns: int | None) -> str:
    return "never" if age_ns is None else f"{age_ns / 1e6:.0f} ms ago"
