"""The service's socket and what is said over it: strict, bounded, and of no consequence to anybody else."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.config import Budgets, Cameras, RunConfig
from edge.errors import BusyError, ServiceError, TaskError
from edge.runtime import POLICY_GONE_S
from edge.service import server as server_module
from edge.service.client import Client
from edge.service.health import Limits, Phase, Signs, unsound
from edge.service.messages import COMMANDS, LONGEST, Request, decode
from edge.service.notify import Notifier
from edge.service.server import CLIENTS, FOLLOWERS, UNREAD, CommandServer

# --- messages ---------------------------------------------------------------------------------------------------------


@given(
    st.builds(
        Request,
        st.sampled_from(COMMANDS),
        text=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=200),
        follow=st.booleans(),
    )
)
def test_what_is_sent_is_what_is_read(request_: Request) -> None:
    assert decode(request_.line().rstrip(b"\n")) == request_


@given(st.one_of(st.binary(max_size=2 * LONGEST), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda data: json.dumps(data).encode()
)))  # fmt: skip
@example(b"[" * 4000)
@example(b'{"command":' * 300)
@example(b'{"command":"status","command":"task"}')
@example(b"1" * 4090)
@example(b"\xff\xfe")
def test_whatever_else_comes_is_a_typed_error(data: bytes) -> None:
    with contextlib.suppress(ServiceError):
        assert decode(data).command in COMMANDS


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"command":"exec"}', "unknown command"),
        (b'{"comand":"status"}', "did you mean 'command'"),
        (b'{"command":"status","version":2}', "another version"),
        (b'{"command":"task","text":7}', "wrong type"),
        (b'{"command":"task","text":"a\\nb"}', "no text"),
        (b'{"command":"task","text":"\\ud800"}', "no text"),
        (b'{"command":"task","text":"' + b"a" * LONGEST + b'"}', "too long"),
        (b"", "not JSON"),
        (b"[]", "not a table"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(line: bytes, what: str) -> None:
    with pytest.raises(ServiceError, match=what):
        decode(line)


# --- server -----------------------------------------------------------------------------------------------------------


def answer(request: Request) -> tuple[Mapping[str, Any], int]:
    if request.text == "wrong":
        raise TaskError("no such thing", expected="cube", got="ball", fix="say cube")
    if request.text == "mistake":
        raise ZeroDivisionError
    return {"ok": True, "accepted": request.text}, (2 if request.text == "second" else 1) if request.follow else 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CommandServer]:
    with CommandServer(tmp_path / "socket", answer) as running:
        yield running


def raw(server: CommandServer) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30.0)
    connection.connect(str(server.path))
    return connection


def test_a_command_is_answered_and_a_refusal_keeps_its_words(server: CommandServer) -> None:
    with Client(server.path) as client:
        assert client.ask(Request("task", text="red")) == {"ok": True, "accepted": "red"}
        with pytest.raises(ServiceError) as caught:
            client.ask(Request("task", text="wrong"))
        assert (caught.value.what, caught.value.fix) == ("no such thing", "say cube")
        assert client.ask(Request("task", text="green"))["accepted"] == "green"


def test_a_mistake_of_ours_is_an_answer_too(server: CommandServer, capfd: pytest.CaptureFixture[str]) -> None:
    with Client(server.path) as client, pytest.raises(ServiceError, match="made a mistake"):
        client.ask(Request("task", text="mistake"))
    assert "ZeroDivisionError" in capfd.readouterr().err
    with Client(server.path) as client:
        assert client.ask(Request("status"))["ok"]


def test_followers_get_what_is_published_until_the_last(server: CommandServer) -> None:
    with Client(server.path) as follower, Client(server.path) as other:
        follower.ask(Request("task", text="red", follow=True))
        other.ask(Request("task", text="red"))
        server.publish({"line": "one"}, 1)
        server.publish({"ended": {}}, 1, last=True)
        server.publish({"line": "after its end"}, 1)
        assert list(follower.follow()) == [{"line": "one"}, {"ended": {}}]
        assert follower.ask(Request("status")) == {"ok": True, "accepted": ""}
        assert other.ask(Request("status")) == {"ok": True, "accepted": ""}


def test_a_follower_hears_of_its_own_task_alone(server: CommandServer) -> None:
    with Client(server.path) as first, Client(server.path) as second:
        first.ask(Request("task", text="first", follow=True))
        second.ask(Request("task", text="second", follow=True))
        server.publish({"line": "one"}, 1)
        server.publish({"ended": "first"}, 1, last=True)
        server.publish({"line": "two"}, 2)
        server.publish({"ended": "second"}, 2, last=True)
        assert list(first.follow()) == [{"line": "one"}, {"ended": "first"}]
        assert list(second.follow()) == [{"line": "two"}, {"ended": "second"}]


def test_many_requests_in_one_packet_and_one_in_many(server: CommandServer) -> None:
    line = Request("task", text="red").line()
    with raw(server) as connection, connection.makefile("rb") as lines:
        connection.sendall(line * 5)
        assert [json.loads(lines.readline())["accepted"] for _ in range(5)] == ["red"] * 5
        for i in range(len(line)):
            connection.sendall(line[i : i + 1])
        assert json.loads(lines.readline())["accepted"] == "red"


def test_a_line_without_end_is_refused_and_hung_up_on(server: CommandServer) -> None:
    with raw(server) as connection, connection.makefile("rb") as lines:
        connection.sendall(b"x" * (LONGEST + 1))
        assert json.loads(lines.readline())["what"] == "the request is too long"
        assert lines.readline() == b""


def test_one_client_too_many_takes_the_place_of_the_one_that_was_silent_longest(server: CommandServer) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.path)) for _ in range(CLIENTS)]
        for client in clients:
            client.ask(Request("status"))
        clients[0].ask(Request("status"))
        with Client(server.path) as newest:
            assert newest.ask(Request("stop"))["ok"]
            with pytest.raises(BusyError, match="too many clients"):
                clients[1].ask(Request("status"))
            for client in [clients[0], *clients[2:]]:
                assert client.ask(Request("status"))["ok"]


def test_followers_leave_room_for_those_who_may_want_to_say_stop(server: CommandServer) -> None:
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(Client(server.path)) for _ in range(FOLLOWERS)]
        for follower in followers:
            follower.ask(Request("task", follow=True))
        one_more = stack.enter_context(Client(server.path))
        with pytest.raises(BusyError, match="follow"):
            one_more.ask(Request("task", text="not accepted either", follow=True))
        assert one_more.ask(Request("task", text="red"))["accepted"] == "red"
        followers[0].ask(Request("status", follow=True))  # it has its place
        silent = [stack.enter_context(Client(server.path)) for _ in range(2 * CLIENTS)]
        with Client(server.path) as client:
            assert client.ask(Request("stop"))["ok"]
        server.publish({"ended": {}}, 1, last=True)
        for follower in followers:
            assert list(follower.follow()) == [{"ended": {}}]
        with pytest.raises(BusyError):
            silent[0].ask(Request("status"))


def test_who_comes_new_gets_in_while_others_fill_every_place(server: CommandServer) -> None:
    """More connections than places and queue together, and each is replaced as soon as it is hung up on."""
    over = threading.Event()

    def fill() -> None:
        held: list[socket.socket] = []
        while not over.is_set():
            with contextlib.suppress(OSError):
                held.append(raw(server))
                held[-1].sendall(Request("status", follow=True).line())
            if len(held) > 2 * CLIENTS:
                held.pop(0).close()
        for connection in held:
            connection.close()

    threads = [threading.Thread(target=fill, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            with Client(server.path) as client:
                assert client.ask(Request("stop"))["ok"]
    finally:
        over.set()
    for thread in threads:
        thread.join(60)


def test_who_says_nothing_is_dropped(server: CommandServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "IDLE_S", 0.2)
    with raw(server) as silent, Client(server.path) as follower:
        follower.ask(Request("task", follow=True))
        assert silent.recv(1) == b""
        server.publish({"ended": {}}, 1, last=True)
        assert list(follower.follow()) == [{"ended": {}}]


def test_who_does_not_read_is_dropped(server: CommandServer) -> None:
    with Client(server.path) as follower, Client(server.path) as reader:
        follower.ask(Request("task", follow=True))
        for _ in range(2 * UNREAD // 4096 + 100):
            server.publish({"line": "x" * 4096}, 1)
        deadline = time.monotonic() + 60
        while server._clients and time.monotonic() < deadline:
            assert reader.ask(Request("status"))["ok"]
            if len(server._clients) == 1:
                break
        assert len(server._clients) == 1


def test_the_socket_is_for_its_group_and_nobody_else(server: CommandServer) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


def test_a_second_service_is_refused_and_a_dead_one_is_replaced(server: CommandServer, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="listens on"):
        CommandServer(server.path, answer)
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    with CommandServer(left, answer), Client(left) as client:
        assert client.ask(Request("status"))["ok"]
    assert not left.exists()
    left.write_text("a file of somebody's")
    with pytest.raises(ServiceError, match="no socket"):
        CommandServer(left, answer)
    assert left.read_text() == "a file of somebody's"
    with pytest.raises(ServiceError, match="cannot listen"):
        CommandServer(tmp_path / "nowhere/socket", answer)


def test_without_a_service_the_client_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no service answers") as caught:
        Client(tmp_path / "socket")
    assert "systemctl start" in caught.value.fix


def test_clients_that_behave_badly_change_nothing_for_one_that_does_not(server: CommandServer) -> None:
    """Garbage, half lines, hang-ups and floods from eight threads; an honest client is answered throughout."""
    over = threading.Event()

    def behave_badly(seed: int) -> None:
        choose = random.Random(seed)
        while not over.is_set():
            with contextlib.suppress(OSError), raw(server) as connection:
                connection.settimeout(0.2)
                for _ in range(choose.randrange(1, 5)):
                    kind = choose.randrange(4)
                    if kind == 0:
                        connection.sendall(choose.randbytes(choose.randrange(1, 9000)))
                    elif kind == 1:
                        connection.sendall(Request("status", follow=True).line() * choose.randrange(1, 200))
                    elif kind == 2:
                        connection.sendall(Request("task", text="wrong").line()[: choose.randrange(1, 40)])
                    else:
                        connection.recv(choose.randrange(1, 4096))

    threads = [threading.Thread(target=behave_badly, args=(seed,), daemon=True) for seed in range(8)]
    with Client(server.path) as honest:
        honest.ask(Request("status"))
        for thread in threads:
            thread.start()
        for i in range(100):
            assert honest.ask(Request("task", text=f"task {i}"))["accepted"] == f"task {i}"
            server.publish({"line": "news"}, 1)
        over.set()
        for thread in threads:
            thread.join(30)
    before = len(os.listdir("/proc/self/fd"))
    assert before < 100


# --- what the service manager is told ---------------------------------------------------------------------------------


def test_the_service_manager_is_told_over_its_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        notifier = Notifier.from_environment(environment | {"WATCHDOG_PID": str(os.getpid())})
        assert notifier.watchdog_s == 3.0
        notifier.ready("idle\nREADY=0")
        notifier.status("one")
        notifier.feed_watchdog()
        notifier.stopping()
        told = [manager.recv(4096).decode() for _ in range(4)]
    assert told == ["READY=1\nSTATUS=idle READY=0", "STATUS=one", "WATCHDOG=1", "STOPPING=1"]
    notifier.status("nobody listens any more")
    assert Notifier.from_environment(environment | {"WATCHDOG_PID": "1"}).watchdog_s is None
    assert Notifier.from_environment({"WATCHDOG_USEC": "3000000"}).watchdog_s is None


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"edgearm-test-{os.getpid()}"
        manager.bind("\0" + name)
        manager.settimeout(5)
        Notifier("@" + name).feed_watchdog()
        assert manager.recv(100) == b"WATCHDOG=1"


# --- when the watchdog is fed -----------------------------------------------------------------------------------------

SIGNS = {"steps": "the control loop", "camera": "a camera", "policy": "the policy"}


AGE = st.none() | st.floats(0, 100)


@given(st.sampled_from(Phase), st.floats(0, 100), AGE, AGE, AGE)
def test_one_sign_that_is_too_old_is_enough_and_named(
    phase: Phase, main: float, steps: float | None, camera: float | None, policy: float | None
) -> None:
    now, limits = 1000.0, Limits()
    ages = {"steps": steps, "camera": camera, "policy": policy}
    times = {name: None if age is None else now - age for name, age in ages.items()}
    told = unsound(Signs(phase, now - main, **times), now, limits)
    longest = {Phase.CLOSING: limits.closing, Phase.RUNNING: limits.running}.get(phase, limits.idle)
    late = {"the main thread"} if now - (now - main) > longest else set()
    if phase is Phase.RUNNING:
        late |= {
            SIGNS[name] for name, since in times.items() if since is not None and now - since > getattr(limits, name)
        }
    assert {row.partition(" gave")[0] for row in told.split("; ") if row} == late


def test_the_watchdog_waits_longer_than_a_run_allows_itself() -> None:
    config = RunConfig(cameras=Cameras(gone_s=40.0), budgets=Budgets(plan_s=20.0, plan_attempts=2))
    limits = Limits.of(config)
    assert limits.camera > 40
    assert limits.policy > 60
    assert limits.running > 21
    once = Limits.of(RunConfig(budgets=Budgets(plan_s=10.0, plan_attempts=0)))
    assert once.policy > 10 + POLICY_GONE_S
