"""What becomes of torque on every way out of a run of the SO-101, read from the wire. For CAN: `test_damiao_arm.py`.

Always: the arm comes to rest first, torque goes off after it or not at all, and nothing follows the switching off.
"""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_arm import ARM, MS, eventually, line
from test_cameras import Server
from test_policy import write_graph
from test_run import STANDING, TASK, bundle_of
from wire import SYNC_WRITE, WRITE, Wire

from edge._core import Arm, ControlLoop, Driver, LoopConfig
from edge.arm import SO101
from edge.config import Budgets, Cameras, Loop, RunConfig
from edge.errors import ArmError
from edge.machine import open_machine
from edge.motion import Motion
from edge.run_log import RunLog
from edge.runtime import Run
from edge.tabletop import API
from firmware_bridge.emulators import BusProcess

GOAL, TORQUE = 42, 40
PATIENT = LoopConfig(feedback_timeout_ns=1000 * MS, watchdog_ns=3000 * MS, stall_ns=5000 * MS)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path / "wire")


@pytest.fixture
def bus(wire: Wire) -> Iterator[BusProcess]:
    with BusProcess(position=STANDING, wiretap=wire.path) as process:
        yield process


def moving(bus: BusProcess, loop: ControlLoop, *, keep_torque: bool = False) -> Driver:
    """A driver whose arm is on its way."""
    driver = Driver(loop, bus.port, keep_torque=keep_torque)
    driver.start()
    start = loop.snapshot()["commanded"]
    assert loop.offer(line(time.monotonic_ns(), start, [0.04, 0, 0, 0, 0, 0], 64))
    eventually(lambda: abs(loop.snapshot()["velocity"][0]) > 0.5, "the arm moves")
    return driver


def told(wire: Wire) -> list[str]:
    """Goals and what was written to Torque_Enable, oldest first."""
    names = []
    for _, frame in wire.frames():
        if frame.code == SYNC_WRITE and frame.params[0] == GOAL:
            names.append("goal")
        elif frame.code == WRITE and frame.params[0] == TORQUE:
            names.append("on" if frame.params[1] else "off")
    return names


def check_rest(wire: Wire) -> None:
    """The goals slow down within the limits of the first joint, and the last ones do not move."""
    ticks = wire.goals()[:, 0].astype(float)
    assert np.ptp(ticks) > 5
    assert ticks[-1] == ticks[-2]
    assert np.abs(np.diff(ticks)).max() <= 3.0 * 0.05 * 4096 / (2 * np.pi)  # a few bus cycles that were left out


def test_stop_switches_off_once_the_arm_rests_and_nothing_follows(wire: Wire, bus: BusProcess) -> None:
    driver = moving(bus, ControlLoop(ARM, PATIENT))
    driver.stop()
    check_rest(wire)
    assert told(wire)[-6:] == ["off"] * 6
    assert "off" not in told(wire)[:-6]
    assert driver.snapshot()["torque"] == "off"


def test_torque_that_is_to_be_kept_is_never_switched_off(wire: Wire, bus: BusProcess) -> None:
    driver = moving(bus, ControlLoop(ARM, PATIENT), keep_torque=True)
    driver.stop()
    check_rest(wire)
    assert "off" not in told(wire)
    assert driver.snapshot()["torque"] == "kept on"
    again = moving(bus, ControlLoop(ARM, PATIENT), keep_torque=True)
    again.stop()
    assert "off" not in told(wire)


def test_a_driver_that_an_exception_drops_leaves_torque_on_at_rest(wire: Wire, bus: BusProcess) -> None:
    loop = ControlLoop(ARM, PATIENT)

    def program() -> None:
        driver = moving(bus, loop)
        assert driver.running
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    gc.collect()
    assert loop.snapshot()["at_rest"]
    check_rest(wire)
    assert "off" not in told(wire)


def test_a_driver_that_is_dropped_lets_other_threads_run_while_the_arm_comes_to_rest(bus: BusProcess) -> None:
    loop = ControlLoop(ARM, PATIENT)
    drivers = [moving(bus, loop)]
    turns = 0
    done = threading.Event()

    def other() -> None:
        nonlocal turns
        while not done.wait(0.001):
            turns += 1

    thread = threading.Thread(target=other)
    thread.start()
    eventually(lambda: turns > 0, "the other thread runs")
    before = turns
    drivers.clear()
    during = turns - before
    done.set()
    thread.join()
    assert loop.snapshot()["at_rest"]
    assert during > 3


def test_a_fault_leaves_torque_on_until_stop(wire: Wire, bus: BusProcess) -> None:
    loop = ControlLoop(ARM, PATIENT)
    driver = moving(bus, loop)
    bus.block.silent[4] = 1
    eventually(lambda: loop.snapshot()["state"] == "fault" and loop.snapshot()["at_rest"], "fault")
    assert "off" not in told(wire)
    driver.stop()
    assert driver.snapshot()["torque"] == "not off: a motor did not switch torque off, silence"
    check_rest(wire)
    assert bus.block.torque.tolist() == [0] * 6  # it heard all the same


def test_an_arm_that_does_not_come_to_rest_is_not_switched_off(wire: Wire, bus: BusProcess, tmp_path: Path) -> None:
    """One that brakes for longer than the driver waits."""
    data = json.loads(SO101.read_text(encoding="utf-8"))
    data["joints"][0] |= {"max_velocity": 0.5, "max_acceleration": 0.1, "max_jerk": 20.0}
    (tmp_path / "arm.json").write_text(json.dumps(data), encoding="utf-8")
    loop = ControlLoop(Arm(tmp_path / "arm.json"), PATIENT)
    driver = Driver(loop, bus.port)
    driver.start()
    start = loop.snapshot()["commanded"]
    assert loop.offer(replace(line(time.monotonic_ns(), start, [0.05, 0, 0, 0, 0, 0], 64), period_ns=100 * MS))
    eventually(lambda: abs(loop.snapshot()["velocity"][0]) > 0.42, "the arm moves")
    driver.stop()
    assert driver.snapshot()["torque"] == "not off: the arm did not come to rest"
    assert "off" not in told(wire)


def test_a_link_that_was_lost_leaves_torque_on_even_when_it_is_back(wire: Wire, tmp_path: Path) -> None:
    port = tmp_path / "arm"
    loop = ControlLoop(ARM, PATIENT)
    with BusProcess(link=port, position=STANDING) as bus:
        driver = moving(bus, loop)
    eventually(lambda: loop.snapshot()["fault_cause"] == "link lost", "fault")
    assert driver.snapshot()["torque"] == "not off: the link was lost"
    with BusProcess(link=port, position=STANDING, wiretap=wire.path) as bus:
        bus.block.torque[:] = 1  # the adapter went and came back; the servos did not
        eventually(lambda: driver.snapshot()["connected"], "the port is opened again")
        driver.stop()
        assert driver.snapshot()["torque"] == (
            "not off: the link was lost, a port that came back and is only listened to"
        )
        assert told(wire) == []
        driver.start()  # the explicit act
        driver.stop()
        assert driver.snapshot()["torque"] == "off"
        assert told(wire)[-6:] == ["off"] * 6


def test_a_start_that_fails_leaves_on_what_was_on(wire: Wire, bus: BusProcess) -> None:
    bus.block.torque[:] = 1
    bus.block.silent[2] = 1
    driver = Driver(ControlLoop(ARM, PATIENT), bus.port)
    with pytest.raises(ArmError, match="do not answer"):
        driver.start()
    assert told(wire) == []
    assert driver.snapshot()["torque"] == "as found"


def test_a_program_error_in_a_run_comes_to_rest_then_off(wire: Wire, tmp_path: Path) -> None:
    """An exception in the policy's thread, in full motion."""
    bundle = bundle_of(write_graph(tmp_path / "policy.onnx", stands_still=True, drift=0.02), tmp_path)
    bus = BusProcess(position=STANDING, holding=STANDING, wiretap=wire.path)
    cameras = (Server(), Server())
    config = RunConfig(
        bundle=str(bundle),
        port=bus.port,
        runs=str(tmp_path),
        cameras=Cameras(cameras[0].url, cameras[1].url),
        budgets=Budgets(call_s=60, plan_attempts=30),
        loop=Loop(watchdog_ms=2000),
    )
    broken = threading.Event()

    class Broken:
        """A policy with a bug that shows after a while."""

        def __init__(self, policy: Any) -> None:
            self._policy = policy

        def __getattr__(self, name: str) -> Any:
            if broken.is_set():
                raise ZeroDivisionError
            return getattr(self._policy, name)

    with RunLog(tmp_path / "run") as log, open_machine(config, API, tmp_path / "run") as machine:
        run = Run(replace(machine, policy=Broken(machine.policy)), API, config, log, Motion(machine.driver.drain))

        def watch() -> None:
            bus.block.position[:] = np.where(bus.block.torque, bus.block.goal, STANDING)
            goals = wire.goals()
            if len(goals) and np.ptp(goals[:, 0]) > 20:
                broken.set()

        with pytest.raises(ZeroDivisionError):
            run.execute(TASK, watch)
        assert machine.driver.snapshot()["torque"] == "off"
    check_rest(wire)
    assert told(wire)[-6:] == ["off"] * 6
    assert "off" not in told(wire)[:-6]
    for camera in cameras:
        camera.hang_up.set()
        camera.shutdown()
        camera.server_close()
    bus.close()
