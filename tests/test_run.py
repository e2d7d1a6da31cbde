"""`edge run` as a process on an emulated servo bus and network cameras: how a run ends when something goes wrong in it.

Planner and policy are real files run by the real backends, but untrained: the planner writes some legal call, and the
policy stands still. What they decide is tested elsewhere; here the arm must come to rest and nothing may be lost.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cameras import Server
from test_policy import write_graph
from tiny_planner import convert_tiny
from wire import Wire

from edge.tabletop import API
from export.bundle import build
from firmware_bridge.emulators import BusProcess

TASK = "put the red cube on the blue plate"
PATIENT = "[budgets]\nplan_attempts = 30\n"  # an untrained planner often asks for places it never saw
STANDING = [2048, 1200, 2700, 2700, 2048, 2400]


def bundle_of(policy: Path, root: Path) -> Path:
    """A bundle of this policy and an untrained planner."""
    planner = convert_tiny(root)
    for name, source in (("planner.gguf", planner.model), ("planner-mmproj.gguf", planner.mmproj)):
        (root / "export").mkdir(exist_ok=True)
        source.rename(root / "export" / name)
    return build(API, policy, root / "bundle", planner=root / "export").path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("untrained")
    return bundle_of(write_graph(root / "policy.onnx", stands_still=True), root)


class Bench:
    """A running `edge run` and everything it is connected to."""

    def __init__(self, bundle: Path, root: Path, *more: str, settings: str = PATIENT) -> None:
        self.wire = Wire(root / "wire")
        self.bus = BusProcess(position=STANDING, holding=STANDING, wiretap=self.wire.path)
        self.front, self.wrist = Server(), Server()
        self.root = root / "runs"
        config = root / "arm.toml"
        config.write_text(
            settings + "[cameras]\ngone_s = 2.0\n"
            "[loop]\nwatchdog_ms = 2000\n"  # a busy machine may keep the emulated bus waiting
        )
        self.command = [sys.executable, "-m", "edge.cli", "run", "--bundle", str(bundle), "--config", str(config)]
        self.command += ["--port", self.bus.port, "--front", self.front.url, "--wrist", self.wrist.url]
        self.command += ["--runs", str(self.root)]
        self.launch("--task", TASK, *more)

    def launch(self, *more: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*self.command, *more], stdout=pipe, stderr=pipe, text=True)

    def wait_for(self, *kinds: str) -> None:
        """Until the log has a record of one of these kinds."""
        self.until(lambda: any(record["kind"] in kinds for record in self.records()))

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1800):
            if condition():
                return
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)
        raise AssertionError("it never came to that")

    def records(self) -> list[dict[str, Any]]:
        """Of the newest run."""
        found = sorted(self.root.glob("*/log.jsonl"))
        lines = found[-1].read_text().splitlines() if found else []
        return [json.loads(line) for line in lines]

    def texts(self, kind: str) -> list[str]:
        return [record["text"] for record in self.records() if record["kind"] == kind]

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=240)
        return self.process.returncode, out, err

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        for server in (self.front, self.wrist):
            server.hang_up.set()
            server.shutdown()
            server.server_close()
        self.bus.close()


@pytest.fixture
def start(bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def begin(*more: str) -> Bench:
        benches.append(Bench(bundle, tmp_path, *more))
        return benches[-1]

    yield begin
    for bench in benches:
        bench.close()


def test_a_task_ends_with_its_reason_and_everything_written(start: Callable[..., Bench]) -> None:
    bench = start("--call-seconds", "0.5")
    status, out, err = bench.finish()
    assert status == (0 if bench.texts("finished") else 1), err
    assert "task      " + TASK in out
    assert (bench.texts("finished") + bench.texts("failed"))[0] in out
    (directory,) = bench.root.iterdir()
    assert {"log.jsonl", "joints.npz", "front.mp4", "timeline.png", "memory.journal"} <= {
        path.name for path in directory.iterdir()
    }
    kinds = [record["kind"] for record in bench.records()]
    assert kinds[:2] == ["start", "ready"]
    assert kinds[-1] == "exit"
    assert kinds.count("plan") == kinds.count("call") + kinds.count("refused") + kinds.count("finished")
    assert kinds.count("call") == kinds.count("end") >= 1
    with np.load(directory / "joints.npz") as motion:
        assert len(motion["time_ns"]) > 100
        assert np.ptp(motion["measured"], axis=0).max() < 0.01
    assert (bench.bus.block.torque == 0).all()


def test_servos_stay_on_when_they_are_asked_to(start: Callable[..., Bench]) -> None:
    bench = start("--call-seconds", "0.3", "--no-video", "--keep-torque")
    bench.finish()
    assert (bench.bus.block.torque == 1).all()
    assert not list(bench.root.glob("*/front.mp4"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_brings_the_arm_to_rest_and_ends_the_run(start: Callable[..., Bench], number: signal.Signals) -> None:
    bench = start()
    bench.wait_for("chunk")
    bench.process.send_signal(number)
    status, _, err = bench.finish()
    assert status == 1, err
    assert bench.texts("failed") == [f"stopped by {number.name}"]
    assert (bench.bus.block.torque == 0).all()


def test_a_cable_that_is_pulled_is_an_error_that_says_so(start: Callable[..., Bench]) -> None:
    bench = start()
    bench.wait_for("chunk")
    bench.bus.close()
    status, out, err = bench.finish()
    assert status == 2, err
    assert "the arm stopped" in err
    assert "Traceback" not in err
    (told,) = bench.texts("fault")
    assert told.startswith("link lost; fault.npz has the ")
    assert told in err + out
    (directory,) = bench.root.iterdir()
    with np.load(directory / "fault.npz") as steps:
        assert 100 < len(steps["time_ns"]) <= 2048
        assert steps["joints"].tolist()[0] == "shoulder_pan"
        assert steps["states"][steps["state"][-1]] == "fault"
        assert steps["fault_causes"][steps["fault_cause"][-1]] == "link lost"
        assert not steps["velocity"][-1].any()
        assert np.allclose(steps["measured"], steps["commanded"], atol=0.05)
    report = subprocess.run(
        [sys.executable, "-m", "edge.cli", "report", str(directory)], capture_output=True, text=True, check=True
    )
    assert f"fault     {told}" in report.stdout
    assert bench.texts("error")
    assert bench.records()[-1]["kind"] == "exit"


def test_a_servo_that_falls_silent_is_named(start: Callable[..., Bench]) -> None:
    bench = start()
    bench.wait_for("chunk")
    bench.bus.block.silent[2] = 1
    status, _, err = bench.finish()
    assert status == 2, err
    assert "elbow_flex" in err


def test_corrupt_packets_are_counted_and_the_run_goes_on(start: Callable[..., Bench]) -> None:
    bench = start("--call-seconds", "3", "--no-video")
    bench.wait_for("chunk")
    for _ in range(3):
        bench.bus.block.flip_replies = 1
        time.sleep(0.3)
    bench.until(lambda: any(record.get("corrupt", 0) >= 3 for record in bench.records()))
    assert bench.process.poll() is None
    assert not bench.texts("error")


def test_a_camera_that_falls_silent_holds_the_arm_until_it_is_back(start: Callable[..., Bench]) -> None:
    bench = start("--call-seconds", "60", "--no-video")
    bench.wait_for("chunk")
    bench.front.silent.set()
    bench.wait_for("hold")
    assert "camera 'front' shows nothing new" in bench.texts("hold")[0]
    time.sleep(0.5)
    chunks = sum(record["kind"] == "chunk" for record in bench.records())
    time.sleep(0.5)
    assert sum(record["kind"] == "chunk" for record in bench.records()) == chunks  # no old frame is taken for a new one
    bench.front.silent.clear()
    bench.until(lambda: sum(record["kind"] == "chunk" for record in bench.records()) > chunks)
    assert "something new again" in bench.texts("warning")[-1]


def test_a_camera_that_stays_away_ends_the_run_with_its_name(start: Callable[..., Bench]) -> None:
    bench = start("--no-video")
    bench.wait_for("chunk")
    bench.wrist.silent.set()
    status, _, err = bench.finish()
    assert status == 2, err
    assert "camera 'wrist' shows nothing new" in err


def test_a_run_that_was_killed_goes_on_with_its_task_when_told_to(start: Callable[..., Bench]) -> None:
    bench = start("--call-seconds", "60", "--no-video")
    bench.wait_for("chunk")
    call = bench.texts("call")[-1]
    bench.process.kill()
    bench.process.communicate()
    time.sleep(1.0)  # run directories are named by the second
    bench.launch("--resume", "--no-video")
    bench.until(
        lambda: len(list(bench.root.glob("*/log.jsonl"))) == 2 and any(r["kind"] == "task" for r in bench.records())
    )
    (task,) = (record for record in bench.records() if record["kind"] == "task")
    assert task["text"] == TASK
    assert task["resumed"] == [f"{call} -> timeout"]


def test_without_being_told_to_it_starts_clean_and_says_what_it_found(start: Callable[..., Bench]) -> None:
    bench = start("--call-seconds", "60", "--no-video")
    bench.wait_for("chunk")
    call = bench.texts("call")[-1]
    bench.process.kill()
    bench.process.communicate()
    (directory,) = bench.root.iterdir()
    time.sleep(1.0)
    other = "put the green cube on the red plate"
    bench.launch("--task", other, "--no-video")
    bench.until(
        lambda: len(list(bench.root.glob("*/log.jsonl"))) == 2 and any(r["kind"] == "task" for r in bench.records())
    )
    (task,) = (record for record in bench.records() if record["kind"] == "task")
    assert task["text"] == other
    assert "resumed" not in task
    bench.process.send_signal(signal.SIGINT)
    _, out, _ = bench.finish()
    for words in (f"{directory} was cut short: {TASK}", f"{call} -> cut short", f"edge run --resume {directory}"):
        assert words in out
        assert any(words in line for line in bench.records()[0]["found"])
