"""How a run ends: stopped before it began, with a model that hangs, on a disk that is full.

The whole of `run_task` in this process, on an emulated servo bus.
"""

from __future__ import annotations

import errno
import resource
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

from edge import runtime, session
from edge._core import SubtaskMemory
from edge.config import Budgets, Cameras, Loop, RunConfig
from edge.errors import DiskError, StuckError
from edge.planner.session import Session
from edge.policy.backends.onnx import OnnxBackend
from edge.report.directory import report
from edge.run_log import LOG, Record, read_log
from edge.runtime import Run
from edge.session import Outcome, run_task
from edge.status import Status
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


class Seen:
    """A display that keeps what it is shown."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.closed = 0

    def record(self, record: Record, status: Status) -> None:
        self.records.append(record)

    def refresh(self, status: Status) -> None: ...

    def close(self, status: Status) -> None:
        self.closed += 1


def test_a_full_disk_ends_the_run_once_at_rest_with_its_words(bed: Bed) -> None:
    limits, display = resource.getrlimit(resource.RLIMIT_FSIZE), Seen()

    def fill(run: Run) -> None:
        (log,) = bed.runs.glob(f"*/{LOG}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 2000, limits[1]))

    try:
        with pytest.raises(DiskError, match="the log of the run cannot be written") as caught:
            bed.run(fill, display=display)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in caught.value.got
    assert bed.wire.torque()[-6:] == [0] * 6
    kinds = [record["kind"] for record in display.records]
    assert (kinds.count("failed"), kinds.count("error"), kinds[-1], display.closed) == (1, 1, "exit", 1)
    assert "trace" not in kinds
    (directory,) = bed.runs.iterdir()
    assert SubtaskMemory.peek(str(directory / "memory.journal")).ending == "failed"
    assert "the log has no end" in "\n".join(report(directory, picture=False).lines())


def test_a_disk_that_is_full_from_the_start_leaves_the_arm_off(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    make = session.new_directory

    def full(runs: Path) -> Path:
        directory = make(runs)
        (directory / LOG).symlink_to("/dev/full")
        return directory

    monkeypatch.setattr(session, "new_directory", full)
    with pytest.raises(DiskError, match="cannot be written") as caught:
        bed.run(lambda run: None)
    assert "No space left on device" in caught.value.got
    assert bed.wire.torque() == []


def test_motion_that_the_disk_does_not_take_is_told_and_keeps_the_outcome(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(path: Path, *arrays: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(session, "save_motion", save)
    outcome = bed.run(lambda run: run.stop("stopped by edge stop"))
    assert outcome.reason == "stopped by edge stop"
    assert bed.texts("warning") == ["no joints.npz: No space left on device"]
    assert not (outcome.directory / "joints.npz").exists()


def test_a_terminal_that_is_gone_ends_the_run_and_its_task(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_REFRESH_S", 0.0)

    class Gone(Seen):
        def refresh(self, status: Status) -> None:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        bed.run(lambda run: None, display=Gone())
    assert bed.wire.torque()[-6:] == [0] * 6
    (directory,) = bed.runs.iterdir()
    assert SubtaskMemory.peek(str(directory / "memory.journal")).ending == "failed"
    assert bed.records()[-1]["kind"] == "exit"
