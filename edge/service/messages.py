"""What is said over the service's socket: one JSON object a line, small, and read strictly."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.errors import BusyError, EdgeError, ServiceError
from edge.records import read

VERSION = 1
LONGEST = 4096
"""Bytes of a request, its end of line included. Replies are not limited."""
COMMANDS = ("task", "resume", "status", "stop", "clear")
CLEAR = "see that the arm is free and powered, then: edge clear"
"""What to do about a fault."""


@dataclass(frozen=True)
class Request:
    """A command.

    Attributes:
        command: One of `COMMANDS`.
        text: Of `task`: what the person wants, in words.
        run: Of `resume`: a run directory; empty for the newest.
        follow: Of `task`, `resume` and `status`: also send what happens until the task has ended.
        version: Of this protocol.
    """

    command: str
    text: str = ""
    run: str = ""
    follow: bool = False
    version: int = VERSION

    def line(self) -> bytes:
        """As it is sent."""
        return encode(dataclasses.asdict(self))


def decode(line: bytes) -> Request:
    """Reads a request.

    Raises:
        ServiceError: It is none; every kind of wrong bytes ends here.
    """
    if len(line) > LONGEST:
        raise ServiceError("the request is too long", expected=f"{LONGEST} bytes at most", got="more")
    try:
        data = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        expected = 'a line such as {"command":"status"}'
        raise ServiceError("the request is not JSON", expected=expected, got=str(problem)) from problem
    if isinstance(data, Mapping) and data.get("version", VERSION) != VERSION:
        fix = "use the `edge` command of the version that runs"
        raise ServiceError(
            "the request is of another version", expected=str(VERSION), got=repr(data["version"])[:40], fix=fix
        )
    request = read(Request, data, "the request", ServiceError)
    if request.command not in COMMANDS:
        raise ServiceError("unknown command", expected=", ".join(COMMANDS), got=request.command[:40])
    if not (request.text + request.run).isprintable():  # nor half a surrogate pair, which no log can hold
        raise ServiceError("the request holds characters that are no text", expected="one line of text", got="others")
    return request


def encode(data: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps(data, separators=(",", ":"), default=str).encode() + b"\n"


def failure(problem: EdgeError) -> dict[str, Any]:
    """A typed error as a reply."""
    return {
        "ok": False,
        "error": type(problem).__name__,
        "what": problem.what,
        "expected": problem.expected,
        "got": problem.got,
        "fix": problem.fix,
    }


def raise_failure(reply: Mapping[str, Any]) -> None:
    """Raises what a reply says went wrong, if it does.

    Raises:
        BusyError: There is no place for another client.
        ServiceError: Anything else, with the words of the service.
    """
    if not reply.get("ok", False):
        words = {key: str(reply.get(key, "")) for key in ("expected", "got", "fix")}
        error = BusyError if reply.get("error") == BusyError.__name__ else ServiceError
        raise error(str(reply.get("what", "the service sent no reason")), **words)
