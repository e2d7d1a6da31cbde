"""The Unix socket of the service: who may open the file may give commands.

One thread serves every client and never waits for one. What a client can cost is bounded: the length of a request, the
number of clients, how often the thread comes round, how much may lie unread before a client is dropped. Who comes new
always gets in, whoever fills the other places: it may want to say stop.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import stat
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge.errors import BusyError, EdgeError, ServiceError
from edge.service.messages import LONGEST, Request, decode, encode, failure

CLIENTS = 16
"""At once. One more takes the place of the one that has been silent longest, of those that follow nothing."""
FOLLOWERS = 12
"""Clients that may follow at once. They are not hung up on, so they must leave places for the others."""
IDLE_S = 10.0
"""A client that asks nothing and follows nothing for so long is dropped."""
BREATH_S = 0.01
"""Rest after each round: a client that asks without end gets a hundred answers a second, and the robot the rest."""
UNREAD = 1 << 18
"""Bytes that may lie unread for a client."""
MODE = 0o660

Handler = Callable[[Request], tuple[Mapping[str, Any], int]]
"""Answers a request, at once: the reply, and the number of the task that the client follows from now on, 0 for none.

May raise EdgeError, which becomes the reply.
"""


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received, self.unsent = bytearray(), bytearray()
        self.following = 0
        """Number of the task; 0: none."""
        self.heard = time.monotonic()
        self.ending = False
        """To be dropped once all is sent."""


class CommandServer:
    """Listens on a socket; `with` starts and stops the thread.

    Args:
        path: Of the socket. Its directory must be there.
        handler: Answers; called on the server's thread.

    Raises:
        ServiceError: Another service listens there, or the socket cannot be made.
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self.path, self._handler = path, handler
        self._listener = _listen(path)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._clients: dict[socket.socket, _Client] = {}
        self._lock = threading.Lock()
        self._news: list[tuple[bytes, int, bool]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="commands", daemon=True)

    def publish(self, news: Mapping[str, Any], task: int, *, last: bool = False) -> None:
        """Sends something to every client that follows a task; from any thread, without waiting.

        Args:
            news: What happened.
            task: Its number: the next one may have begun, and whoever follows that hears nothing of this.
            last: Nothing more comes of it.
        """
        with self._lock:
            self._news.append((encode(news), task, last))
        self._ring()

    def __enter__(self) -> CommandServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._ring()
        self._thread.join()
        self._spread()
        for client in list(self._clients.values()):
            self._flush(client)  # what was said last, as far as it goes
            self._drop(client)
        self._selector.close()
        for end in (self._listener, self._woken, self._wake):
            end.close()
        self.path.unlink(missing_ok=True)

    # --- the server's thread ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closing:
            more = [client for client in self._clients.values() if b"\n" in client.received]
            ready = [key.fileobj for key, _ in self._selector.select(0.0 if more else 1.0)]
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            for client in list(self._clients.values()):
                if client in more or client.connection in ready:
                    self._attend(client)
            if self._listener in ready:  # last: who hung up has made room
                self._accept()
            self._spread()
            now = time.monotonic()
            for client in list(self._clients.values()):
                if not client.following and now - client.heard > IDLE_S:
                    self._drop(client)
            time.sleep(BREATH_S)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # gone again, or no descriptor left: it may come back
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            if len(self._clients) >= CLIENTS:
                self._make_room()
            self._clients[connection] = _Client(connection)
            self._selector.register(connection, selectors.EVENT_READ)

    def _make_room(self) -> None:
        silent = min((client for client in self._clients.values() if not client.following), key=lambda one: one.heard)
        problem = BusyError("too many clients", expected=f"{CLIENTS} at most", fix="try again in a moment")
        self._send(silent, encode(failure(problem)))
        self._drop(silent)

    def _attend(self, client: _Client) -> None:
        """Sends what lies there, and takes at most one request."""
        if client.unsent:
            self._flush(client)
        if client.ending or client.connection not in self._clients:
            return
        if b"\n" not in client.received and not self._receive(client):
            return
        line, newline, rest = client.received.partition(b"\n")
        if newline:
            client.received, client.heard = rest, time.monotonic()
            self._answer(client, bytes(line))
        elif len(client.received) > LONGEST:
            client.ending = True
            self._answer(client, bytes(client.received))

    def _receive(self, client: _Client) -> bool:
        """Whether anything came."""
        try:
            data = client.connection.recv(LONGEST + 1 - len(client.received))
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        client.received += data
        if not data:
            self._drop(client)
        return bool(data)

    def _answer(self, client: _Client, line: bytes) -> None:
        try:
            request = decode(line)
            if request.follow and not client.following:
                self._check_followers()
            reply, follows = self._handler(request)
        except EdgeError as problem:
            reply, follows = failure(problem), 0
        except Exception:  # a mistake of ours must not leave a robot that nobody can stop
            traceback.print_exc()
            mistake = ServiceError("the service made a mistake", fix="see `journalctl -u edgearm`, and report it")
            reply, follows = failure(mistake), 0
        client.following = follows or client.following
        self._send(client, encode(reply))

    def _check_followers(self) -> None:
        if sum(client.following > 0 for client in self._clients.values()) >= FOLLOWERS:
            fix = "without --follow, or with --no-wait; or try again in a moment"
            raise BusyError("too many clients follow what happens", expected=f"{FOLLOWERS} at most", fix=fix)

    def _spread(self) -> None:
        with self._lock:
            news, self._news = self._news, []
        for line, task, last in news:
            for client in [client for client in self._clients.values() if client.following == task]:
                if last:
                    client.following, client.heard = 0, time.monotonic()
                self._send(client, line)

    def _send(self, client: _Client, data: bytes) -> None:
        client.unsent += data
        if len(client.unsent) > UNREAD:  # it does not read: it is not waited for
            self._drop(client)
            return
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        try:
            sent = client.connection.send(client.unsent) if client.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(client)
            return
        del client.unsent[:sent]
        if client.unsent:
            self._selector.modify(client.connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        elif client.ending:
            self._drop(client)
        else:
            self._selector.modify(client.connection, selectors.EVENT_READ)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection, None) is not None:
            self._selector.unregister(client.connection)
            client.connection.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake up anyway
            self._wake.send(b"!")


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _remove_left(path)
        mask = os.umask(0o777 & ~MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(CLIENTS)
    except OSError as problem:
        listener.close()
        fix = "name another one: --socket FILE, in a directory that this user may write"
        raise ServiceError(f"cannot listen on {path}", got=str(problem.strerror or problem), fix=fix) from problem
    except EdgeError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _remove_left(path: Path) -> None:
    """Removes the socket of a service that is no more."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ServiceError(f"{path} is there and is no socket", expected="a socket or nothing", fix="remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    fix = "`edge status` asks it; stop it first: systemctl stop edgearm"
    raise ServiceError(f"a service listens on {path} already", expected="none", got="an answer", fix=fix)
