"""A run whose policy, machine or clock fails, judged by what the servos are told. See `test_process_faults.py`."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cameras import Server
from test_failures import Follower
from test_policy import write_graph
from test_run import STANDING, TASK, Bench, bundle_of
from wire import SYNC_WRITE, WRITE, Wire

from benchmarks.process_faults import OVERLOAD, build_clock
from edge import runtime
from edge.config import Budgets, Cameras, Loop, RunConfig
from edge.errors import PolicyError
from edge.machine import open_machine
from edge.motion import Motion
from edge.run_log import RunLog
from edge.runtime import Ended, Run
from edge.tabletop import API
from firmware_bridge.emulators import BusProcess

DRIFT = 0.01
MS = 1_000_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained planner, and a policy that always wants the first joint to go on at 0.2 rad/s."""
    root = tmp_path_factory.mktemp("drifting")
    return bundle_of(write_graph(root / "policy.onnx", stands_still=True, drift=DRIFT), root)


class Changed:
    """A policy of which one answer is changed once the arm is on its way."""

    def __init__(self, policy: Any, wire: Wire, change: Callable[[Any], Any]) -> None:
        self._policy, self._wire, self._change = policy, wire, change
        self.changed = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def infer(self, *question: Any) -> Any:
        chunk = self._policy.infer(*question)
        if not self.changed.is_set() and len(np.unique(self._wire.goals()[:, 0])) < 20:
            return chunk
        self.changed.set()
        return self._change(chunk)


class Machine:
    """A run in this process, whose policy is changed."""

    def __init__(self, bundle: Path, root: Path, change: Callable[[Any], Any]) -> None:
        self.wire = Wire(root / "wire")
        self.bus = BusProcess(position=STANDING, holding=STANDING, wiretap=self.wire.path)
        self.cameras = (Server(), Server())
        self.problem: BaseException | None = None
        self.ended: Ended | None = None
        config = RunConfig(
            bundle=str(bundle),
            port=self.bus.port,
            runs=str(root),
            cameras=Cameras(self.cameras[0].url, self.cameras[1].url),
            budgets=Budgets(call_s=60, plan_attempts=30, plan_s=2),
            loop=Loop(watchdog_ms=2000),
        )
        self._log = RunLog(root / "run")
        self._machine = open_machine(config, API, root / "run")
        self.policy = Changed(self._machine.policy, self.wire, change)
        self.run = Run(
            replace(self._machine, policy=self.policy), API, config, self._log, Motion(self._machine.driver.drain)
        )
        self.path = root / "run" / "log.jsonl"
        self.thread = threading.Thread(target=self._execute)
        self.thread.start()

    def _execute(self) -> None:
        try:
            self.ended = self.run.execute(TASK, self._follow)
        except Exception as problem:
            self.problem = problem

    def _follow(self) -> None:
        self.bus.block.position[:] = np.where(self.bus.block.torque, self.bus.block.goal, STANDING)

    @property
    def snapshot(self) -> Any:
        return self._machine.driver.snapshot()

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(6000):
            if condition():
                return
            time.sleep(0.01)
        pytest.fail(f"it never came to that: {self.problem}")

    def close(self) -> None:
        self.run.stop("seen enough")
        self.thread.join(60)
        self._machine.close()
        self._log.close()
        for camera in self.cameras:
            camera.hang_up.set()
            camera.shutdown()
            camera.server_close()
        self.bus.close()


@contextmanager
def machine(bundle: Path, root: Path, change: Callable[[Any], Any]) -> Iterator[Machine]:
    made = Machine(bundle, root, change)
    try:
        yield made
    finally:
        made.close()


def told(wire: Wire) -> list[str]:
    """Goals and what was written to Torque_Enable, oldest first."""
    return [
        "goal" if frame.code == SYNC_WRITE else "on" if frame.params[1] else "off"
        for _, frame in wire.frames()
        if (frame.code == SYNC_WRITE and frame.params[0] == 42) or (frame.code == WRITE and frame.params[0] == 40)
    ]


def comes_to_rest(machine: Machine) -> None:
    """With torque on: the same goals, over and over."""
    machine.until(lambda: machine.snapshot["hold_cause"] == "out of targets" and machine.snapshot["at_rest"])
    since = time.monotonic_ns() + 100 * MS
    machine.until(lambda: len(machine.wire.goals(since)) > 50)
    resting = machine.wire.goals(since)
    assert np.all(resting == resting[0])
    assert "off" not in told(machine.wire)


def test_a_policy_that_hangs_lets_the_arm_rest_and_a_stop_still_ends_the_run(bundle: Path, tmp_path: Path) -> None:
    back = threading.Event()

    def hang(chunk: Any) -> Any:
        back.wait(120)
        return chunk

    with machine(bundle, tmp_path, hang) as run:
        run.until(run.policy.changed.is_set)
        comes_to_rest(run)
        run.run.stop("stopped by SIGINT")
        run.until(lambda: told(run.wire)[-6:] == ["off"] * 6)
        assert run.thread.is_alive() or run.ended is not None  # the policy is still away
        heard = len(told(run.wire))
        back.set()  # what it gives now is from before the stop
        run.thread.join(60)
        assert run.ended == Ended(False, "stopped by SIGINT")
        assert len(told(run.wire)) == heard


def test_a_policy_that_does_not_come_back_ends_the_run(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = threading.Event()

    def hang(chunk: Any) -> Any:
        monkeypatch.setattr(runtime, "POLICY_GONE_S", 3.0)
        back.wait(120)
        return chunk

    with machine(bundle, tmp_path, hang) as run:
        run.until(run.policy.changed.is_set)
        comes_to_rest(run)
        run.until(lambda: told(run.wire)[-6:] == ["off"] * 6)
        back.set()
        run.thread.join(60)
        assert isinstance(run.problem, PolicyError)
        assert run.problem.fix


def test_a_policy_that_gives_nan_moves_nothing(bundle: Path, tmp_path: Path) -> None:
    def spoil(chunk: Any) -> Any:
        joints = np.array(chunk.joints)
        joints[5, 1] = math.nan
        return replace(chunk, joints=joints)

    with machine(bundle, tmp_path, spoil) as run:
        run.until(run.policy.changed.is_set)
        comes_to_rest(run)  # at the end of the last chunk that was whole
        refused = [
            line for line in run.path.read_text().splitlines() if "chunk refused: not finite: joints[5, 1]" in line
        ]
        assert len(refused) == 1  # said once, though it goes on


@pytest.fixture
def moving(bundle: Path, tmp_path: Path) -> Iterator[Bench]:
    """A run whose arm is on its way."""
    bench = Bench(bundle, tmp_path, "--call-seconds", "60", "--no-video")
    follower = Follower(bench.bus)
    try:
        bench.until(lambda: len(np.unique(bench.wire.goals()[:, 0])) > 20)
        yield bench
    finally:
        follower.close()
        bench.close()


def goes_on(bench: Bench) -> None:
    since = time.monotonic_ns()
    bench.until(lambda: len(np.unique(bench.wire.goals(since)[:, 0])) > 20)


def test_a_run_that_is_stopped_and_goes_on_jumps_nowhere(moving: Bench) -> None:
    moving.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)  # what is in the line is carried
    since = time.monotonic_ns()
    before = moving.wire.goals()
    time.sleep(0.8)
    assert [frame for time_ns, frame in moving.wire.frames() if time_ns > since] == []
    assert moving.bus.block.torque.tolist() == [1] * 6
    moving.process.send_signal(signal.SIGCONT)
    goes_on(moving)
    goals = moving.wire.goals()[len(before) - 1 :]
    # A step after a gap goes no farther than ten periods; 0.2 rad/s, or the joint's 3 rad/s when it catches up.
    assert np.abs(np.diff(goals, axis=0)).max() <= 3.0 * 0.05 * 4096 / (2 * math.pi)
    assert not moving.texts("error")


def test_an_overload_is_told_while_the_run_goes_on(moving: Bench) -> None:
    moving.bus.block.status[4] = OVERLOAD
    moving.until(lambda: any("wrist_roll reports overload" in text for text in moving.texts("warning")))
    goes_on(moving)
    assert sum("reports overload" in text for text in moving.texts("warning")) == 1


def test_a_wall_clock_that_is_set_changes_no_motion(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour ahead, an hour behind, four times a second, for everything that the run does."""
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(build_clock(tmp_path)))
        bench = Bench(bundle, tmp_path, "--call-seconds", "60", "--no-video")
    follower = Follower(bench.bus)
    try:
        bench.until(lambda: len(np.unique(bench.wire.goals()[:, 0])) > 20)
        (directory,) = bench.root.iterdir()
        named = time.mktime(time.strptime(directory.name[:17], "%Y-%m-%d-%H%M%S"))
        assert abs(time.time() - named) > 1800  # it asks the clock that is set
        for _ in range(3):
            goes_on(bench)
        bench.process.send_signal(signal.SIGINT)
        status, _, err = bench.finish()
        assert status == 1, err
        assert bench.texts("failed") == ["stopped by SIGINT"]
        assert not bench.texts("error")
        assert not bench.texts("fault")
        goals = bench.wire.goals()
        assert np.abs(np.diff(goals, axis=0)).max() <= 3.0 * 0.05 * 4096 / (2 * math.pi)
        assert bench.wire.torque()[-6:] == [0] * 6
    finally:
        follower.close()
        bench.close()
