"""The service and its clients, with a stand-in for the run: which task whose client hears of, and what ends it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge.config import RunConfig
from edge.config import Service as Settings
from edge.display import PlainLines
from edge.errors import EdgeError, StuckError
from edge.service import service as service_module
from edge.service.client import Client
from edge.service.messages import Request
from edge.service.notify import Notifier
from edge.service.service import Service
from edge.session import Outcome
from edge.status import Status
from edge.tabletop import API

RED, GREEN = "put the red cube on the blue plate", "put the green cube on the blue plate"


class Run:
    """Goes on until it is told to stop."""

    def __init__(self) -> None:
        self.reason = ""
        self.stopped = threading.Event()

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.stopped.set()


class Bench:
    """A service that serves on a thread of this process; what its runs do is the test's."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.socket = root, root / "socket"
        self.work: Callable[[str, Service], Outcome] = self.until_stopped
        self.runs: list[Run] = []
        self.problem: BaseException | None = None
        config = RunConfig(runs=str(root / "runs"), service=Settings(socket=str(self.socket)))
        monkeypatch.setattr(service_module, "run_task", self._run_task)
        models = SimpleNamespace(bundle=SimpleNamespace(path=root), policy=SimpleNamespace(backend_name="none"))
        self.service = Service(config, API, cast(Any, models), {}, Notifier(), PlainLines(sys.stdout))
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Bench:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.service.end()
        self.thread.join(60)

    def until_stopped(self, task: str, service: Service) -> Outcome:
        run = Run()
        self.runs.append(run)
        service._started(cast(Any, run))
        service.record({"kind": "task", "text": task, "time_ns": 0}, Status(task=task, began_ns=0))
        assert run.stopped.wait(60)
        return Outcome(False, run.reason, self.root)

    def _run_task(self, config: RunConfig, task: str, api: object, **more: Any) -> Outcome:
        return self.work(task, more["display"])

    def _serve(self) -> None:
        try:
            self.service.serve()
        except EdgeError as problem:
            self.problem = problem


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with Bench(tmp_path, monkeypatch) as made:
        yield made


def test_a_service_that_ends_stops_the_run_that_is_there(bench: Bench) -> None:
    with Client(bench.socket) as client:
        client.ask(Request("task", text=RED, follow=True))
        news = client.follow()
        assert RED in next(news)["line"]
        bench.service.end()
        assert next(news)["ended"]["reason"] == "the service ends"
    bench.thread.join(60)
    assert not bench.thread.is_alive()


def test_after_a_model_that_hangs_the_service_ends_with_the_error_and_does_nothing_more(bench: Bench) -> None:
    def hang(task: str, service: Service) -> Outcome:
        bench.work = bench.until_stopped
        raise StuckError("the planner does not come back", got="stopped by edge stop")

    bench.work = hang
    with Client(bench.socket) as client:
        client.ask(Request("task", text=RED, follow=True))
        (news,) = client.follow()
    assert "does not come back" in news["ended"]["reason"]
    bench.thread.join(60)
    assert isinstance(bench.problem, StuckError)
    assert not bench.runs
    assert not bench.socket.exists()


def test_a_task_accepted_as_the_one_before_it_ends_is_followed_to_its_own_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the service is idle again and the followers of the one before have not heard its end yet."""
    publish, late = bench.service._server.publish, Client(bench.socket)

    def tell(news: Any, *more: Any, **words: Any) -> None:
        if "ended" in news and len(bench.runs) == 1:
            late.ask(Request("task", text=GREEN, follow=True))
        publish(news, *more, **words)

    monkeypatch.setattr(bench.service._server, "publish", tell)
    with late, Client(bench.socket) as first, Client(bench.socket) as watcher:
        first.ask(Request("task", text=RED, follow=True))
        assert RED in next(first.follow())["line"]
        watcher.ask(Request("status", follow=True))
        watcher.ask(Request("stop"))
        for follower in (first, watcher):
            assert [news["ended"]["reason"] for news in follower.follow()] == ["stopped by edge stop"]
        news = late.follow()
        assert GREEN in next(news)["line"]
        bench.service.end()
        assert next(news)["ended"]["reason"] == "the service ends"
