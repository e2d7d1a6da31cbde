"""The failure table: each failure is injected, and what the arm is told is read from the wire, byte by byte.

W: `tests/native/test_wire.cpp`, loop and link under a clock that the test moves. D: `tests/native/test_driver.cpp` and
`tests/test_driver.py`, the driver's threads. R: `tests/test_run.py`, a whole `edge run`. Without a letter: here.

| what happens             | what the arm is told             | tests                                                 |
|--------------------------|----------------------------------|-------------------------------------------------------|
| policy late              | the rest of the chunk, then rest | W "a policy that is late", test_a_policy_that_is_late |
| planner late             | its pose, in every cycle         | test_a_planner_that_is_late                           |
| planner writes nothing   | its pose; then off               | test_a_planner_that_writes_nothing_valid              |
| NaN, shape, step, jump   | the old chunk, tick for tick     | W "chunks that are refused"                           |
| one corrupt packet       | the old chunk, tick for tick     | W "… and one corrupt packet", D, R "corrupt …"        |
| no feedback for 3 cycles | rest; then the chunk again       | W "a servo silent for five cycles"                    |
| … for the watchdog time  | rest for good                    | W "a silent servo", D, R "a servo that falls silent"  |
| port gone, and back      | nothing, until started anew      | D "a port that goes …" (both files), R "a cable …"    |
| the machine stalls       | rest, then the chunk again       | W "a host that stands still"                          |
| host process dies        | nothing; the last goal stays     | test_a_host_that_is_killed                            |
| power loss               | on only from where the arm is    | D "start begins at …"; R "a run that was killed …"    |
| camera stale, gone       | rest, until it is back           | test_a_camera_that_is_stale, R "a camera …" (both)    |

The servos have no watchdog: what stops the arm within 20 ms of its host's silence is the microcontroller. The journal
that a power loss leaves is tested in `test_memory.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_arm import ARM, MS, line
from test_cameras import Server
from test_policy import write_graph
from test_run import STANDING, TASK, Bench, bundle_of
from wire import SYNC_READ, Wire

from edge._core import ControlLoop, Driver, LoopConfig
from edge.config import Cameras, RunConfig
from edge.machine import open_machine
from edge.motion import Motion
from edge.run_log import RunLog
from edge.runtime import Ended, Run
from edge.tabletop import API
from firmware_bridge.emulators import BusProcess

DRIFT = 0.01


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained planner, and a policy that always wants the first joint to go on at 0.2 rad/s."""
    root = tmp_path_factory.mktemp("drifting")
    return bundle_of(write_graph(root / "policy.onnx", stands_still=True, drift=DRIFT), root)


class Follower:
    """Servos that stand where they are told to, until it is closed."""

    def __init__(self, bus: BusProcess) -> None:
        self._bus, self._end = bus, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(0.005):
            self._bus.block.position[:] = np.where(self._bus.block.torque, self._bus.block.goal, STANDING)

    def close(self) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture
def moving(bundle: Path, tmp_path: Path) -> Iterator[Bench]:
    """A run whose arm is on its way."""
    bench = Bench(bundle, tmp_path, "--call-seconds", "60", "--no-video")
    follower = Follower(bench.bus)
    try:
        bench.until(lambda: bool(np.ptp(bench.wire.goals()[:, :1]) > 20) if len(bench.wire.goals()) else False)
        yield bench
    finally:
        follower.close()
        bench.close()


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never came to that")


def test_a_policy_that_is_late(tmp_path: Path) -> None:
    with BusProcess(wiretap=tmp_path / "wire") as bus:
        wire = Wire(tmp_path / "wire")
        loop = ControlLoop(ARM, LoopConfig(feedback_timeout_ns=5_000 * MS, watchdog_ns=9_000 * MS, stall_ns=5_000 * MS))
        driver = Driver(loop, bus.port)
        driver.start()
        start = loop.snapshot()["commanded"]
        assert loop.offer(line(time.monotonic_ns(), start, [0.02, 0, 0, 0, 0, 0]))
        wait_for(lambda: loop.snapshot()["hold_cause"] == "out of targets" and loop.snapshot()["at_rest"])
        at_rest = time.monotonic_ns() + 100 * MS
        wait_for(lambda: len(wire.goals(at_rest)) > 50)
        goals, resting = wire.goals(), wire.goals(at_rest)
        assert bus.block.torque.tolist() == [1] * 6
        driver.stop()
    ticks = ARM.to_ticks(start + np.array([16 * 0.02, 0, 0, 0, 0, 0]))
    assert np.all(np.diff(goals[:, 0]) >= 0)
    assert np.all(goals[:, 1:] == goals[0, 1:])
    assert np.all(resting == resting[0])
    assert ticks[0] - 1 <= resting[0, 0] <= ticks[0] + 10  # braking from 0.4 rad/s takes a few ticks more


def test_a_planner_that_is_late(bundle: Path, tmp_path: Path) -> None:
    """It is asked between two calls: the arm rests, stays on, and every servo is asked where it is in each cycle."""
    bus = BusProcess(position=STANDING, holding=STANDING, wiretap=tmp_path / "wire")
    wire, cameras = Wire(tmp_path / "wire"), (Server(), Server())
    config = RunConfig(
        bundle=str(bundle), port=bus.port, runs=str(tmp_path), cameras=Cameras(cameras[0].url, cameras[1].url)
    )
    asked, answer = threading.Event(), threading.Event()

    class Late:
        """The planner of the bundle, that answers when it may."""

        def __init__(self, planner: Any) -> None:
            self._planner = planner

        def next_call(self, *question: Any) -> Any:
            asked.set()
            assert answer.wait(120)
            return self._planner.next_call(*question)

    ended: list[Ended] = []
    directory = tmp_path / "run"
    with RunLog(directory) as log, open_machine(config, API, directory) as machine:
        run = Run(replace(machine, planner=Late(machine.planner)), API, config, log, Motion(machine.driver.drain))
        thread = threading.Thread(target=lambda: ended.append(run.execute(TASK, lambda: None)))
        thread.start()
        assert asked.wait(60)
        since = time.monotonic_ns()
        wait_for(lambda: len(wire.goals(since)) > 200)
        assert np.all(wire.goals() == STANDING)
        assert sum(frame.code == SYNC_READ for time_ns, frame in wire.frames() if time_ns > since) > 190
        assert bus.block.torque.tolist() == [1] * 6
        run.stop("seen enough")
        answer.set()
        thread.join(60)
    assert ended
    assert wire.torque()[-6:] == [0] * 6
    for camera in cameras:
        camera.hang_up.set()
        camera.shutdown()
        camera.server_close()
    bus.close()


def test_a_planner_that_writes_nothing_valid(bundle: Path, tmp_path: Path) -> None:
    bench = Bench(bundle, tmp_path, "--no-video", settings="[budgets]\nplan_s = 0.001\nplan_attempts = 1\n")
    status, _, err = bench.finish()
    goals, torque = bench.wire.goals(), bench.wire.torque()
    bench.close()
    assert status == 1, err
    refused = [record["text"] for record in bench.records() if record["kind"] == "refused"]
    assert len(refused) == 2  # asked once more, then the task is given up
    assert bench.texts("failed")
    assert len(goals) > 0
    assert np.all(goals == STANDING)
    assert torque == [1] * 6 + [0] * 6


def test_a_host_that_is_killed(moving: Bench) -> None:
    moving.process.kill()
    moving.process.communicate()
    time.sleep(0.1)  # what was in the line is carried
    last, _ = moving.wire.frames()[-1]
    told = moving.wire.goals()
    time.sleep(0.5)
    assert moving.wire.frames()[-1][0] == last  # nobody speaks for it
    assert moving.bus.block.torque.tolist() == [1] * 6
    assert moving.bus.block.goal.tolist() == told[-1].tolist()
    # One cycle's way ahead of the goal before it, and the arm does not go beyond the last.
    assert np.all(np.abs(told[-1] - told[-2]) <= 4)


def test_a_camera_that_is_stale(moving: Bench) -> None:
    def held() -> list[dict[str, Any]]:
        return [
            record for record in moving.records() if record["kind"] == "hold" and "camera 'front'" in record["text"]
        ]

    moving.front.silent.set()
    moving.until(lambda: bool(held()))
    since = held()[-1]["time_ns"] + 500 * MS  # braking, and what a busy machine has under way
    moving.until(lambda: len(moving.wire.goals(since)) > 100)
    resting = moving.wire.goals(since)
    assert np.all(resting == resting[0])
    moving.front.silent.clear()
    moving.until(lambda: bool(np.ptp(moving.wire.goals(since)[:, 0]) > 20))
