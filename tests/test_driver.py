"""The driver on the emulated servo bus: a pty, real bytes, real threads."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from native_arm import ARM, MS, line

from edge._core import FAULT_CAUSES, HOLD_CAUSES, STATES, ControlLoop, Driver, LoopConfig
from edge.errors import ArmError, ConfigError, LinkError
from firmware_bridge.emulators import BusProcess

POSE = (0.2, -0.3, 0.4, 0.1, -0.2, 0.6)
OVERLOAD = 0x20


def goals(bus: BusProcess) -> np.ndarray:
    """Where the servos are told to be, in joint units (6,)."""
    return ARM.from_ticks(bus.block.goal)


def place(bus: BusProcess, pose: object) -> None:
    bus.block.position[:] = ARM.to_ticks(pose)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits for something that has to happen; how long it takes on a busy machine is not the point."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"never: {what}")


@pytest.fixture
def bus() -> Iterator[BusProcess]:
    with BusProcess() as process:
        place(process, POSE)
        yield process


@pytest.fixture
def loop() -> ControlLoop:
    """Patient with a busy machine: these tests are about behaviour, not about how fast an emulator answers."""
    return ControlLoop(ARM, LoopConfig(feedback_timeout_ns=400 * MS, watchdog_ns=1500 * MS))


@pytest.fixture
def driver(bus: BusProcess, loop: ControlLoop) -> Iterator[Driver]:
    made = Driver(loop, bus.port)
    made.start()
    yield made
    made.stop()


def state(loop: ControlLoop) -> str:
    return loop.snapshot()["state"]


def offer_move(loop: ControlLoop, step: float, horizon: int = 16) -> bool:
    now = time.monotonic_ns()
    move = line(now, loop.snapshot()["commanded"], [step, 0, 0, 0, 0, 0], horizon)
    return loop.offer(move).accepted


def test_start_begins_at_the_measured_pose_with_torque_on(driver: Driver, bus: BusProcess, loop: ControlLoop) -> None:
    assert state(loop) == "ready"
    assert bus.block.torque.tolist() == [1] * 6
    assert goals(bus) == pytest.approx(POSE, abs=2e-3)
    snapshot = driver.snapshot()
    assert snapshot["measured"] == pytest.approx(POSE, abs=2e-3)
    assert snapshot["pinch_pose"] == ARM.pinch_pose(snapshot["measured"])
    assert snapshot["connected"]
    assert "SCHED_FIFO" in snapshot["realtime"]


def test_a_chunk_moves_the_goals_of_the_servos(driver: Driver, bus: BusProcess, loop: ControlLoop) -> None:
    assert offer_move(loop, 0.02)
    eventually(lambda: state(loop) == "hold" and loop.snapshot()["at_rest"], "the chunk runs out")
    commanded = loop.snapshot()["commanded"]
    assert commanded[0] == pytest.approx(POSE[0] + 0.32, abs=0.05)
    eventually(lambda: bool(np.all(bus.block.goal == ARM.to_ticks(commanded))), "the goal is the command")
    place(bus, commanded)
    eventually(lambda: bool(np.allclose(loop.snapshot()["measured"], commanded, atol=2e-3)), "positions come back")


def test_stop_comes_to_rest_then_switches_torque_off(bus: BusProcess, loop: ControlLoop) -> None:
    driver = Driver(loop, bus.port, log_every=1)  # braking takes a few steps only
    driver.start()
    offer_move(loop, 0.02, horizon=64)
    eventually(lambda: abs(loop.snapshot()["velocity"][0]) > 0.3, "the arm moves")
    driver.stop()
    assert bus.block.torque.tolist() == [0] * 6
    assert state(loop) == "idle"
    log = driver.drain()
    speed = np.abs(np.diff(log["commanded"][:, 0])) / (np.diff(log["time_ns"]) * 1e-9)
    assert speed[log["state"][1:] == STATES.index("running")].max() > 0.1
    assert speed[log["state"][1:] == STATES.index("hold")][-1] < 0.1
    driver.stop()  # stopping what is stopped is fine
    driver.start()
    assert state(loop) == "ready"
    driver.stop()


def test_torque_can_be_kept(bus: BusProcess, loop: ControlLoop) -> None:
    driver = Driver(loop, bus.port, keep_torque=True)
    driver.start()
    driver.stop()
    assert bus.block.torque.tolist() == [1] * 6


def test_a_driver_that_is_dropped_does_not_drop_the_arm(bus: BusProcess, loop: ControlLoop) -> None:
    driver = Driver(loop, bus.port)
    driver.start()
    offer_move(loop, 0.04)
    eventually(lambda: state(loop) == "running", "the arm moves")
    del driver
    gc.collect()
    assert bus.block.torque.tolist() == [1] * 6
    assert loop.snapshot()["at_rest"]


def test_corrupt_replies_are_counted_and_not_felt(driver: Driver, bus: BusProcess, loop: ControlLoop) -> None:
    offer_move(loop, 0.01)
    bus.block.flip_replies = 20
    eventually(lambda: driver.snapshot()["bus"]["corrupt"] > 0 and bus.block.flip_replies == 0, "corrupt replies")
    cycles = driver.snapshot()["bus"]["ok"]
    eventually(lambda: driver.snapshot()["bus"]["ok"] > cycles + 5, "feedback goes on")
    assert loop.snapshot()["counters"]["faults"] == 0
    assert driver.snapshot()["measured"] == pytest.approx(POSE, abs=2e-3)


def test_positions_with_swapped_bytes_are_not_believed(driver: Driver, bus: BusProcess, loop: ControlLoop) -> None:
    bus.block.swap_replies = 12
    eventually(lambda: driver.snapshot()["bus"]["implausible"] > 0 and bus.block.swap_replies == 0, "swapped bytes")
    cycles = driver.snapshot()["bus"]["ok"]
    eventually(lambda: driver.snapshot()["bus"]["ok"] > cycles + 5, "feedback goes on")
    log = driver.drain()["measured"]
    assert np.all(np.abs(log - POSE) < 0.01)


def test_a_silent_servo_holds_then_faults_and_is_named(driver: Driver, bus: BusProcess, loop: ControlLoop) -> None:
    offer_move(loop, 0.002, horizon=64)
    eventually(lambda: state(loop) == "running", "the arm moves")
    bus.block.silent[3] = 1
    eventually(lambda: state(loop) == "hold", "hold")
    assert loop.snapshot()["hold_cause"] == "feedback late"
    eventually(lambda: state(loop) == "fault", "fault")
    snapshot = driver.snapshot()
    assert snapshot["fault_cause"] == "no feedback within the watchdog time"
    eventually(lambda: len(loop.fault_log()) > 0, "the last seconds are kept")
    steps = loop.fault_log()
    assert FAULT_CAUSES[steps["fault_cause"][-1]] == snapshot["fault_cause"]
    assert [STATES[n] for n in dict.fromkeys(steps["state"].tolist())][-3:] == ["running", "hold", "fault"]
    assert HOLD_CAUSES[steps["hold_cause"][steps["state"] == STATES.index("hold")][-1]] == "feedback late"
    assert steps["feedback_age_ns"].max() > 1500 * MS
    ages = {name: servo["age_ns"] or 0 for name, servo in snapshot["servos"].items()}
    assert max(ages, key=lambda name: ages[name]) == "wrist_flex"
    assert bus.block.torque.tolist() == [1] * 6

    bus.block.silent[3] = 0
    with pytest.raises(ArmError, match="cannot be started"):
        driver.start()
    loop.clear()
    driver.start()
    assert state(loop) == "ready"


def test_error_bits_of_a_servo_are_named(driver: Driver, bus: BusProcess) -> None:
    bus.block.status[5] = OVERLOAD
    eventually(lambda: driver.snapshot()["servos"]["gripper"]["error"] == "overload", "the overload shows")
    assert driver.snapshot()["servos"]["wrist_roll"]["error"] == ""


def test_a_port_that_goes_is_a_fault_and_one_that_comes_back_is_only_listened_to(
    tmp_path: Path, loop: ControlLoop
) -> None:
    port = tmp_path / "arm"
    with BusProcess(link=port) as bus:
        place(bus, POSE)
        driver = Driver(loop, str(port))
        driver.start()
        offer_move(loop, 0.02, horizon=64)
        eventually(lambda: state(loop) == "running", "the arm moves")
    eventually(lambda: state(loop) == "fault", "fault")
    assert driver.snapshot()["fault_cause"] == "link lost"
    assert str(port) in driver.snapshot()["link"]
    assert not driver.snapshot()["connected"]
    with BusProcess(link=port) as bus:
        place(bus, (0, 0, 0, 0, 0, 0.3))
        before = bus.block.goal.copy()
        eventually(lambda: driver.snapshot()["connected"], "the port is opened again")
        cycles = driver.snapshot()["bus"]["ok"]
        eventually(lambda: driver.snapshot()["bus"]["ok"] > cycles + 20, "positions come")
        assert state(loop) == "fault"
        assert bus.block.torque.tolist() == [0] * 6
        assert np.array_equal(bus.block.goal, before)
        loop.clear()
        driver.start()
        assert loop.snapshot()["commanded"] == pytest.approx((0, 0, 0, 0, 0, 0.3), abs=2e-3)
        driver.stop()


def test_a_missing_port_is_named(loop: ControlLoop) -> None:
    with pytest.raises(LinkError, match="/dev/ttyNONE does not exist") as caught:
        Driver(loop, "/dev/ttyNONE").start()
    assert caught.value.fix
    assert state(loop) == "idle"


def test_a_file_is_not_a_port(tmp_path: Path, loop: ControlLoop) -> None:
    path = tmp_path / "file"
    path.write_text("not a tty")
    with pytest.raises(LinkError, match="is not a serial port"):
        Driver(loop, str(path)).start()


def test_a_busy_port_is_named(driver: Driver, bus: BusProcess) -> None:
    other = ControlLoop(ARM)
    with pytest.raises(LinkError, match=f"{bus.port} is busy"):
        Driver(other, bus.port).start()
    script = f"""
from edge._core import Arm, ControlLoop, Driver
from edge.arm import SO101
Driver(ControlLoop(Arm(SO101)), {bus.port!r}).start()
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "is busy" in told.stderr


def test_silent_servos_are_named_and_nothing_moves(bus: BusProcess, loop: ControlLoop) -> None:
    bus.block.silent[[1, 4]] = 1
    with pytest.raises(ArmError, match=r"silence from 2 \(shoulder_lift\), 5 \(wrist_roll\)"):
        Driver(loop, bus.port).start()
    assert bus.block.torque.tolist() == [0] * 6
    bus.block.silent[:] = 0
    driver = Driver(loop, bus.port)  # the port was closed again
    driver.start()
    driver.stop()


def test_a_loop_in_use_is_stepped_by_nobody_else(driver: Driver, bus: BusProcess, loop: ControlLoop) -> None:
    with pytest.raises(ArmError, match="in use"):
        loop.step(0, None)
    with pytest.raises(ArmError, match="in use"):
        loop.advance(0, 1, np.zeros(6))
    with pytest.raises(ArmError, match="cannot be started"):
        driver.start()


def test_the_log_is_a_timeline(driver: Driver, loop: ControlLoop) -> None:
    offer_move(loop, 0.01, horizon=8)
    parts = [driver.drain()]

    def ends_in_hold() -> bool:
        parts.append(driver.drain())
        return bool(np.concatenate(parts)["state"][-1] == STATES.index("hold"))

    eventually(ends_in_hold, "the chunk runs out")
    log = np.concatenate(parts)
    states = [STATES[s] for s in log["state"]]
    changes = [now for now, before in zip(states[1:], states, strict=False) if now != before]
    assert changes[-2:] == ["running", "hold"]
    assert np.all(np.diff(log["time_ns"]) >= 10 * MS)
    assert log["commanded"].shape == (len(log), 6)
    assert set(log["chunk_id"].tolist()) == {0, 1}
    assert len(driver.drain()) < len(log)


def test_every_step_is_in_the_histograms_of_lateness_and_cost(
    driver: Driver, bus: BusProcess, loop: ControlLoop
) -> None:
    offer_move(loop, 0.01, horizon=8)
    eventually(lambda: loop.snapshot()["counters"]["steps"] > 500, "steps")
    driver.stop()
    seen, steps = driver.snapshot(), loop.snapshot()["counters"]["steps"]
    for told, longest in (
        (driver.lateness(), seen["lateness_max_ns"]),
        (driver.step_times(), seen["step_max_ns"]),
    ):
        assert told["count"].sum() == steps
        assert np.all(told["count"] > 0)
        assert np.all(np.diff(told["longest_ns"].astype(np.int64)) > 0)
        assert longest <= told["longest_ns"][-1] <= longest * (1 + 1 / 128)
    assert 0 < seen["step_mean_ns"] <= seen["step_max_ns"]


def test_a_loop_without_the_right_to_real_time_runs_and_says_what_to_grant(bus: BusProcess) -> None:
    """As nobody, with no real-time priority allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root can give its rights away")
    script = f"""
import os, resource, time
from edge._core import Arm, ControlLoop, Driver, LoopConfig
from edge.arm import SO101
loop = ControlLoop(Arm(SO101), LoopConfig(feedback_timeout_ns=400_000_000, watchdog_ns=1_500_000_000))
driver = Driver(loop, {bus.port!r})
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
os.chmod({bus.port!r}, 0o666)
os.setuid(65534)
driver.start()
print(driver.snapshot()["realtime"], loop.snapshot()["state"])
driver.stop()
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.stdout.strip().endswith("ready"), ran.stderr
    for right in ("LimitRTPRIO=80", "CAP_SYS_NICE", "LimitMEMLOCK=infinity", "CAP_IPC_LOCK", "cpu_dma_latency"):
        assert right in ran.stdout


def test_neither_loop_nor_bus_waits_for_the_interpreter(driver: Driver, bus: BusProcess, loop: ControlLoop) -> None:
    """This thread sleeps in C with the interpreter's lock held: a thread that took it even once would stand still."""
    sleep_with_the_lock = ctypes.PyDLL(None).usleep
    steps, requests = loop.snapshot()["counters"]["steps"], bus.block.requests
    for _ in range(5):
        sleep_with_the_lock(100_000)
    assert loop.snapshot()["counters"]["steps"] - steps > 50
    assert bus.block.requests - requests > 10


def test_the_loop_keeps_to_its_core(bus: BusProcess, loop: ControlLoop) -> None:
    core = min(os.sched_getaffinity(0))
    driver = Driver(loop, bus.port, cpu=core)
    before = set(os.listdir("/proc/self/task"))
    driver.start()
    threads = {int(thread) for thread in set(os.listdir("/proc/self/task")) - before}
    assert {core} in [os.sched_getaffinity(thread) for thread in threads]
    assert f"on core {core};" in driver.snapshot()["realtime"]
    driver.stop()


def test_cores_are_kept_awake_while_it_runs(bus: BusProcess, loop: ControlLoop) -> None:
    def held() -> bool:
        return any(
            os.path.realpath(f"/proc/self/fd/{n}") == "/dev/cpu_dma_latency" for n in os.listdir("/proc/self/fd")
        )

    driver = Driver(loop, bus.port)
    driver.start()
    told = driver.snapshot()["realtime"]
    assert ("cores kept awake" in told) == held()
    assert held() or "udev rule" in told
    driver.stop()
    assert not held()


def test_a_rate_that_the_link_cannot_carry_is_refused_with_the_bound(loop: ControlLoop) -> None:
    Driver(loop, "/dev/null", bus_period_ns=880_000)
    with pytest.raises(ConfigError, match="the link cannot carry this bus rate") as caught:
        Driver(loop, "/dev/null", bus_period_ns=879_999)
    assert "880000" in caught.value.expected
    assert "879999" in caught.value.got


@pytest.mark.parametrize(
    "wrong",
    [
        {"bus_period_ns": 0},
        {"reply_timeout_ns": 0},
        {"priority": 0},
        {"priority": 100},
        {"log_every": 0},
        {"cpu": -2},
        {"cpu": 100_000},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(loop: ControlLoop, wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="driver configuration"):
        Driver(loop, "/dev/null", **wrong)  # type: ignore[arg-type]
