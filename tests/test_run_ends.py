"""How a run ends: stopped before it began, or with a model that hangs.

The whole of `run_task` in this process, on an emulated servo bus.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cameras import Server
from test_policy import write_graph
from test_run import STANDING, TASK, bundle_of
from wire import Wire

from edge import runtime
from edge.config import Budgets, Cameras, Loop, RunConfig
from edge.errors import StuckError
from edge.planner.session import Session
from edge.policy.backends.onnx import OnnxBackend
from edge.run_log import read_log
from edge.runtime import Run
from edge.session import Outcome, run_task
from edge.tabletop import API
from firmware_bridge.emulators import BusProcess


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("untrained")
    return bundle_of(write_graph(root / "policy.onnx", stands_still=True), root)


class Bed:
    """What a run is connected to."""

    def __init__(self, bundle: Path, root: Path) -> None:
        self.wire = Wire(root / "wire")
        self.bus = BusProcess(position=STANDING, holding=STANDING, wiretap=self.wire.path)
        self.cameras = (Server(), Server())
        self.runs = root / "runs"
        self.config = RunConfig(
            bundle=str(bundle),
            port=self.bus.port,
            runs=str(self.runs),
            cameras=Cameras(self.cameras[0].url, self.cameras[1].url),
            budgets=Budgets(call_s=60, plan_attempts=30, plan_s=2),
            loop=Loop(watchdog_ms=2000),
        )

    def run(self, started: Callable[[Run], None], **more: Any) -> Outcome:
        return run_task(self.config, TASK, API, began=time.monotonic(), started=started, **({"video": False} | more))

    def records(self) -> list[dict[str, Any]]:
        (directory,) = self.runs.iterdir()
        return list(read_log(directory))

    def texts(self, kind: str) -> list[str]:
        return [record["text"] for record in self.records() if record["kind"] == kind]

    def close(self) -> None:
        for camera in self.cameras:
            camera.hang_up.set()
            camera.shutdown()
            camera.server_close()
        self.bus.close()


@pytest.fixture
def bed(bundle: Path, tmp_path: Path) -> Iterator[Bed]:
    made = Bed(bundle, tmp_path)
    yield made
    made.close()


def test_a_run_that_is_stopped_before_it_began_leaves_the_arm_off(bed: Bed) -> None:
    outcome = bed.run(lambda run: run.stop("stopped by edge stop"))
    assert (outcome.finished, outcome.reason) == (False, "stopped by edge stop")
    assert bed.wire.torque() == []
    assert bed.texts("failed") == ["stopped by edge stop"]
    assert not bed.texts("call")


@pytest.mark.parametrize(("kind", "name"), [(Session, "encode_image"), (OnnxBackend, "run")])
def test_a_model_that_hangs_is_not_freed_under_its_thread_and_ends_the_process(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str
) -> None:
    work, begun, hung, back = getattr(kind, name), threading.Event(), threading.Event(), threading.Event()
    closed: list[Any] = []

    def hang(model: Any, *arguments: Any) -> Any:
        if begun.is_set():
            hung.set()
            assert back.wait(120)
        return work(model, *arguments)

    def started(run: Run) -> None:
        begun.set()
        threading.Thread(target=lambda: (hung.wait(120), run.stop("stopped by edge stop"))).start()

    close = kind.close
    monkeypatch.setattr(kind, name, hang)
    monkeypatch.setattr(kind, "close", lambda model: (closed.append(model), close(model)))
    monkeypatch.setattr(runtime, "LAST_ANSWER_S", 0.2)
    try:
        with pytest.raises(StuckError, match="does not come back") as caught:
            bed.run(started)
    finally:
        back.set()
    assert "stopped by edge stop" in caught.value.got
    assert closed == []
    assert bed.wire.torque()[-6:] == [0] * 6
    assert bed.texts("failed") == ["stopped by edge stop"]
    assert bed.records()[-1]["kind"] == "exit"
    (directory,) = bed.runs.iterdir()
    assert (directory / "joints.npz").is_file()


@pytest.mark.parametrize(("kind", "name"), [(Session, "encode_image"), (OnnxBackend, "run")])
def test_a_model_that_hangs_ends_the_run_by_itself(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str
) -> None:
    work, begun, back = getattr(kind, name), threading.Event(), threading.Event()

    def hang(model: Any, *arguments: Any) -> Any:
        assert not begun.is_set() or back.wait(120)
        return work(model, *arguments)

    monkeypatch.setattr(kind, name, hang)
    monkeypatch.setattr(runtime, "LAST_ANSWER_S", 0.2)
    monkeypatch.setattr(runtime, "POLICY_GONE_S", 2.0)
    try:
        with pytest.raises(StuckError) as caught:
            bed.run(lambda run: begun.set())
    finally:
        back.set()
    assert "does not come back" in caught.value.got
    assert bed.wire.torque()[-6:] == [0] * 6
