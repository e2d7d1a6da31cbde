"""What a service on this machine says of itself, for `edge doctor`: it holds the cameras, and at times the arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import ServiceError
from edge.probe_machine import Finding
from edge.service.client import Client
from edge.service.messages import CLEAR, Request


@dataclass(frozen=True)
class ServiceSeen:
    """A service, as far as it can be seen.

    Attributes:
        finding: What to tell the person; None if there is no service.
        acting: It uses the arm's port at this moment.
        camera_age_ms: How old the newest frame of each of its cameras is, by name.
    """

    finding: Finding | None = None
    acting: bool = False
    camera_age_ms: Mapping[str, float] = field(default_factory=dict)


def look(socket: Path) -> ServiceSeen:
    """Asks the service that listens on a socket; changes nothing."""
    try:
        with Client(socket) as client:
            told = client.ask(Request("status"))
    except ServiceError as problem:
        cause = problem.__cause__
        if isinstance(cause, FileNotFoundError):
            return ServiceSeen()
        # Whoever may not ask it cannot say whether it runs.
        level = "note" if isinstance(cause, PermissionError) else "wrong"
        return ServiceSeen(Finding(level, "service", f"{problem.what}: {problem.got}", problem.fix))
    state, ages = str(told["state"]), dict(told["camera_age_ms"])
    if told["fault"]:
        return ServiceSeen(Finding("wrong", "service", f"fault: {told['fault'].splitlines()[0]}", CLEAR), False, ages)
    text = f"{state}, up {told['up_s'] / 3600:.1f} h, {told['bundle']}, policy on {told['backend']}"
    return ServiceSeen(Finding("ok", "service", text), state != "idle", ages)
