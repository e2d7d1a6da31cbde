"""The other end of the service's socket."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.errors import ServiceError
from edge.service.messages import Request, raise_failure

_ANSWER_S = 5


class Client:
    """A connection to the service.

    Args:
        path: Of its socket.

    Raises:
        ServiceError: Nobody listens there, or this user may not open it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The kernel's time limit: with Python's own, a service whose queue is full would be an error at once.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _ANSWER_S, 0))
        try:
            self._socket.connect(str(path))
        except OSError as problem:
            self._socket.close()
            fix = "systemctl start edgearm, or `edge serve`; a socket elsewhere: --socket FILE"
            if isinstance(problem, PermissionError):
                fix = "add yourself to the group of the socket (ls -l shows it), then log in again"
            if isinstance(problem, BlockingIOError):
                fix = "others keep it busy; `systemctl restart edgearm` hangs up on everybody"
            got = str(problem.strerror or problem)
            raise ServiceError("no service answers", expected=f"one at {path}", got=got, fix=fix) from problem
        self._socket.settimeout(_ANSWER_S)
        self._lines = self._socket.makefile("rb")

    def ask(self, request: Request) -> dict[str, Any]:
        """Sends a command and waits for the reply.

        Raises:
            ServiceError: The service refused it, or did not answer.
        """
        try:
            with contextlib.suppress(BrokenPipeError):  # its last words, why it hung up, still lie there to be read
                self._socket.sendall(request.line())
            reply = self._read()
        except OSError as problem:
            got = str(problem.strerror or problem)
            raise ServiceError("the service does not answer", got=got, fix="see `journalctl -u edgearm`") from problem
        raise_failure(reply)
        return reply

    def follow(self) -> Iterator[dict[str, Any]]:
        """What happens, until the task has ended.

        Raises:
            ServiceError: The service went away before.
        """
        self._socket.settimeout(None)
        while True:
            try:
                news = self._read()
            except OSError as problem:
                raise ServiceError("the service went away", got=str(problem.strerror or problem)) from problem
            yield news
            if "ended" in news:
                return

    def close(self) -> None:
        """Hangs up; a task goes on without us."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            fix = "see `journalctl -u edgearm`"
            raise ServiceError("the service hung up", expected="an answer", got="the end of the connection", fix=fix)
        reply: dict[str, Any] = json.loads(line)
        return reply
