"""The driver on a CAN arm end to end: an emulated slcan adapter on a pty, emulated Damiao motors behind it."""

from __future__ import annotations

import gc
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
from native_arm import MS, eventually, line

from edge._core import Arm, ControlLoop, Driver, LoopConfig
from edge.arm import DAMIAO_BENCH, SO101, DamiaoDrive, load_description
from edge.calibration import load_calibration
from edge.errors import ArmError, ConfigError, LinkError
from firmware_bridge import _damiao as damiao
from firmware_bridge.emulators import DamiaoPort, bench_arm
from firmware_bridge.emulators.can_bus import CanFrame
from firmware_bridge.emulators.damiao import MODELS, DamiaoMotor

ROOT = Path(__file__).resolve().parents[1]
ARM = Arm(DAMIAO_BENCH)
PERIOD_NS = 20 * MS
"""Of the bus: the emulator is a thread of this process."""
OVERVOLTAGE = 8


@pytest.fixture
def can() -> Iterator[DamiaoPort]:
    with DamiaoPort() as port:
        yield port


@pytest.fixture
def loop() -> ControlLoop:
    """Patient with a busy machine."""
    return patient(ARM)


def patient(arm: Arm) -> ControlLoop:
    return ControlLoop(arm, LoopConfig(feedback_timeout_ns=1000 * MS, watchdog_ns=3000 * MS, stall_ns=5000 * MS))


def drive(loop: ControlLoop, port: str, **config: Any) -> Driver:
    return Driver(loop, port, bus_period_ns=PERIOD_NS, reply_timeout_ns=100 * MS, **config)


@pytest.fixture
def driver(can: DamiaoPort, loop: ControlLoop) -> Iterator[Driver]:
    made = drive(loop, can.port)
    made.start()
    yield made
    made.stop()


def described(tmp_path: Path, timeout_ms: float) -> Path:
    """The example, with motors that switch themselves off."""
    data = json.loads(DAMIAO_BENCH.read_text(encoding="utf-8"))
    data["damiao"]["timeout_ms"] = timeout_ms
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def state(loop: ControlLoop) -> str:
    return loop.snapshot()["state"]


def offer_move(loop: ControlLoop, step: float, horizon: int = 16) -> bool:
    move = line(time.monotonic_ns(), loop.snapshot()["commanded"], [step, step, 0, 0, step, 0], horizon)
    return loop.offer(move).accepted


def is_order(frame: CanFrame) -> bool:
    return frame.id != damiao.REGISTER_ID and frame.data[:7] == b"\xff" * 7


def is_command(frame: CanFrame) -> bool:
    return frame.id != damiao.REGISTER_ID and not is_order(frame)


def commands(motor: DamiaoMotor) -> list[float]:
    """Where it was told to be, rad, oldest first."""
    frames = [frame for _, frame in motor.heard if is_command(frame)]
    return [damiao.unpack_command(motor.limits, frame.data).position for frame in frames]


def orders(motor: DamiaoMotor) -> list[int]:
    return [frame.data[7] for _, frame in motor.heard if is_order(frame)]


def test_motors_move_to_where_a_chunk_says(driver: Driver, can: DamiaoPort, loop: ControlLoop) -> None:
    assert state(loop) == "ready"
    assert can.motors.statuses == [damiao.ON] * 6
    assert driver.snapshot()["torque"] == "on"
    before = loop.snapshot()["measured"]
    assert before[5] == pytest.approx((0.9 - 0.3) / 1.2, abs=1e-3)  # its motor at 0.9, its zero at 0.3, open at 1.2
    assert offer_move(loop, 0.02)
    eventually(lambda: state(loop) == "hold" and loop.snapshot()["at_rest"], "the chunk runs out")
    goal = loop.snapshot()["commanded"]
    assert goal[0] == pytest.approx(0.32, abs=0.06)
    eventually(lambda: bool(np.allclose(loop.snapshot()["measured"], goal, atol=5e-3)), "the motors are there")
    assert can.look() == pytest.approx([goal[0], goal[1], 0.0, 0.0, -goal[4], 0.9], abs=5e-3)  # one turns against it


def test_stop_comes_to_rest_then_disables_and_nothing_is_sent_after_it(can: DamiaoPort, loop: ControlLoop) -> None:
    driver = drive(loop, can.port, log_every=1)
    driver.start()
    offer_move(loop, 0.04, horizon=64)
    eventually(lambda: abs(loop.snapshot()["velocity"][0]) > 0.3, "the arm moves")
    driver.stop()
    assert driver.snapshot()["torque"] == "off"
    assert can.motors.statuses == [damiao.OFF] * 6
    log = driver.drain()
    speed = np.abs(np.diff(log["commanded"][:, 0])) / (np.diff(log["time_ns"]) * 1e-9)
    assert speed.max() > 0.1
    for motor in can.motors.motors:
        told = [frame for _, frame in motor.heard]
        last = max(index for index, frame in enumerate(told) if is_order(frame) and frame.data[7] == damiao.DISABLE)
        assert not any(is_command(frame) for frame in told[last:])
    assert commands(can.motors[0])[-1] == pytest.approx(log["commanded"][log["state"] != 0][-1, 0], abs=2e-3)
    heard = [len(motor.heard) for motor in can.motors.motors]
    time.sleep(0.3)
    assert [len(motor.heard) for motor in can.motors.motors] == heard
    assert not can.adapter.is_open


def test_torque_can_be_kept_and_the_next_start_takes_it_over(can: DamiaoPort, loop: ControlLoop) -> None:
    driver = drive(loop, can.port, keep_torque=True)
    driver.start()
    driver.stop()
    assert driver.snapshot()["torque"] == "kept on"
    assert can.motors.statuses == [damiao.ON] * 6
    driver.start()
    assert damiao.DISABLE not in [order for motor in can.motors.motors for order in orders(motor)]
    driver.stop()


def test_a_driver_that_is_dropped_does_not_drop_the_arm(can: DamiaoPort, loop: ControlLoop) -> None:
    driver = drive(loop, can.port)
    driver.start()
    offer_move(loop, 0.04, horizon=64)
    eventually(lambda: state(loop) == "running", "the arm moves")
    del driver
    gc.collect()
    assert loop.snapshot()["at_rest"]
    assert can.motors.statuses == [damiao.ON] * 6
    assert commands(can.motors[0])[-1] == commands(can.motors[0])[-2]


def test_other_limits_are_refused_with_both_values(loop: ControlLoop) -> None:
    settings = bench_arm({4: MODELS["DM4310"]._replace(velocity=45.0)})
    with DamiaoPort(settings) as can:
        with pytest.raises(ArmError, match="are not those of a damiao-bench") as caught:
            drive(loop, can.port).start()
        assert caught.value.expected == "motor 4 (wrist_pitch), DM4310, register 22 VMAX 30 rad/s"
        assert caught.value.got == "motor 4 (wrist_pitch), DM4310, register 22 VMAX 45 rad/s"
        assert can.motors.statuses == [damiao.OFF] * 6
        assert not any(is_command(f) or is_order(f) for motor in can.motors.motors for _, f in motor.heard)


def test_a_missing_motor_is_named(loop: ControlLoop) -> None:
    with DamiaoPort([setting for setting in bench_arm() if setting.id != 3]) as can:
        with pytest.raises(ArmError, match="motors do not answer") as caught:
            drive(loop, can.port).start()
        assert caught.value.got == "silence from 3 (elbow)"


def test_one_lost_frame_does_no_harm(driver: Driver, can: DamiaoPort, loop: ControlLoop) -> None:
    offer_move(loop, 0.01)
    can.motors[2].drop_answers = 1
    eventually(lambda: can.motors[2].drop_answers == 0, "a frame is lost")
    cycles = driver.snapshot()["bus"]["ok"]
    eventually(lambda: driver.snapshot()["bus"]["ok"] > cycles + 5, "feedback goes on")
    assert driver.snapshot()["bus"]["timeout"] >= 1
    assert loop.snapshot()["counters"]["holds_feedback"] == 0
    assert loop.snapshot()["counters"]["faults"] == 0


def test_a_silent_motor_holds_then_faults_and_is_named(driver: Driver, can: DamiaoPort, loop: ControlLoop) -> None:
    offer_move(loop, 0.002, horizon=64)
    eventually(lambda: state(loop) == "running", "the arm moves")
    can.motors[3].silent = True
    eventually(lambda: state(loop) == "hold", "hold")
    assert loop.snapshot()["hold_cause"] == "feedback late"
    eventually(lambda: state(loop) == "fault", "fault")
    seen = driver.snapshot()
    assert seen["fault_cause"] == "no feedback within the watchdog time"
    ages = {name: servo["age_ns"] or 0 for name, servo in seen["servos"].items()}
    assert max(ages, key=lambda name: ages[name]) == "wrist_pitch"
    assert can.motors.statuses == [damiao.ON] * 6  # nobody is dropped
    driver.stop()
    assert driver.snapshot()["torque"] == "not off: a motor did not switch torque off, silence"


def test_a_fault_of_a_motor_is_named(driver: Driver, can: DamiaoPort, loop: ControlLoop) -> None:
    can.motors[1].trip(OVERVOLTAGE)
    eventually(lambda: driver.snapshot()["servos"]["shoulder"]["error"] == "overvoltage", "the fault shows")
    assert driver.snapshot()["servos"]["elbow"]["error"] == ""
    eventually(lambda: state(loop) == "fault", "it is not believed")
    loop.clear()
    eventually(lambda: state(loop) == "idle", "idle")
    with pytest.raises(ArmError, match="has a fault") as caught:
        driver.start()
    assert caught.value.got == "motor 2 (shoulder) reports overvoltage"
    assert can.motors[0].on  # what held itself up still does


def test_positions_out_of_reach_are_not_believed(driver: Driver, can: DamiaoPort, loop: ControlLoop) -> None:
    can.motors[0].wrong_positions = 2
    eventually(lambda: driver.snapshot()["bus"]["implausible"] > 0, "it is noticed")
    eventually(lambda: can.motors[0].wrong_positions == 0, "it is over")
    cycles = driver.snapshot()["bus"]["ok"]
    eventually(lambda: driver.snapshot()["bus"]["ok"] > cycles + 3, "feedback goes on")
    assert np.all(np.abs(driver.drain()["measured"][:, 0]) < 0.01)


def test_an_adapter_that_goes_and_comes_back_is_only_listened_to(tmp_path: Path, loop: ControlLoop) -> None:
    with DamiaoPort(link=tmp_path / "arm") as can:
        driver = drive(loop, str(tmp_path / "arm"))
        driver.start()
        offer_move(loop, 0.02, horizon=64)
        eventually(lambda: state(loop) == "running", "the arm moves")
        can.unplug()
        eventually(lambda: state(loop) == "fault", "fault")
        assert driver.snapshot()["fault_cause"] == "link lost"
        assert can.motors.statuses == [damiao.ON] * 6  # timeout_ms 0: they hold their last goal
        told = [len(commands(motor)) for motor in can.motors.motors]
        can.plug_in()
        eventually(lambda: driver.snapshot()["connected"], "the adapter is opened again")
        cycles = driver.snapshot()["bus"]["ok"]
        eventually(lambda: driver.snapshot()["bus"]["ok"] > cycles + 5, "positions come")
        assert [len(commands(motor)) for motor in can.motors.motors] == told
        loop.clear()
        driver.start()
        assert state(loop) == "ready"
        driver.stop()
        assert can.motors.statuses == [damiao.OFF] * 6


def test_motors_with_a_timeout_go_off_without_a_host_and_only_a_start_brings_them_back(tmp_path: Path) -> None:
    """Off by the motors' own clock, when the bus between adapter and motors is cut."""
    arm = Arm(described(tmp_path, 1000))
    loop = patient(arm)
    with DamiaoPort() as can:
        with pytest.raises(ConfigError, match="torque cannot be kept"):
            drive(loop, can.port, keep_torque=True)
        driver = drive(loop, can.port)
        driver.start()
        assert [motor.registers[damiao.TIMEOUT] for motor in can.motors.motors] == [(20_000).to_bytes(4, "little")] * 6
        for motor in can.motors.motors:
            motor.bit_rate = 0
        eventually(lambda: state(loop) == "fault", "fault")
        can.look()
        assert can.motors.statuses == [damiao.LOST_COMMANDS] * 6
        for motor in can.motors.motors:
            motor.bit_rate = 1_000_000
        eventually(
            lambda: driver.snapshot()["servos"]["elbow"]["error"] == "no command in time, switched off", "it shows"
        )
        assert can.motors.statuses == [damiao.LOST_COMMANDS] * 6
        loop.clear()
        eventually(lambda: state(loop) == "idle", "idle")
        driver.start()
        assert can.motors.statuses == [damiao.ON] * 6
        driver.stop()


def test_a_port_that_is_no_adapter_is_named(loop: ControlLoop) -> None:
    with pytest.raises(LinkError, match="/dev/ttyNONE does not exist"):
        drive(loop, "/dev/ttyNONE").start()
    with pytest.raises(LinkError) as caught:
        drive(loop, "can99").start()
    assert caught.value.fix


def test_a_rate_that_can_cannot_carry_is_refused_with_the_bound(loop: ControlLoop) -> None:
    with pytest.raises(ConfigError, match="the link cannot carry this bus rate") as caught:
        Driver(loop, "can0", bus_period_ns=1_619_999)
    assert "1620000" in caught.value.expected
    assert "12 CAN frames" in caught.value.expected


def test_the_emulator_starts_from_the_command_line(tmp_path: Path, loop: ControlLoop) -> None:
    link = tmp_path / "arm"
    command = [sys.executable, "-m", "firmware_bridge.emulators", "damiao", "--link", str(link), "--missing", "6"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "Damiao motors 1 (answers as 17)" in process.stdout.readline()
        with pytest.raises(ArmError) as caught:
            drive(loop, str(link)).start()
        assert caught.value.got == "silence from 6 (gripper)"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data["joints"][0]["motor"].update(model="DM9999"), "damiao.models: DM4340, DM4310"),
        (lambda data: data["joints"][0]["motor"].update(master_id=2), "no motor listens to"),
        (lambda data: data["joints"][0]["motor"].update(master_id=0x102), "no motor listens to"),
        (lambda data: data["joints"][0]["motor"].update(id=2), "servo_id"),
        (lambda data: data["joints"][0]["motor"].update(kp=501), "0 to 500"),
        (lambda data: data["joints"][0]["motor"].update(kd=0), "limp or swings"),
        (lambda data: data["joints"][0]["motor"].update(zero=12.0), "12.5"),
        (lambda data: data["damiao"].update(timeout_ms=20), "at least 50"),
    ],
)
def test_a_description_that_cannot_be_is_refused(tmp_path: Path, change: Callable[[Any], None], words: str) -> None:
    data = json.loads(DAMIAO_BENCH.read_text(encoding="utf-8"))
    change(data)
    (tmp_path / "arm.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ArmError) as caught:
        load_description(tmp_path / "arm.json")
    assert words in str(caught.value)


def test_the_example_says_what_it_is() -> None:
    assert "nobody has built" in json.loads(DAMIAO_BENCH.read_text(encoding="utf-8"))["source"]
    arm = load_description(DAMIAO_BENCH)
    assert isinstance(arm.drive, DamiaoDrive)
    assert len(arm.drive.motors) == len(load_description(SO101).joints)
    with pytest.raises(ArmError, match="has no calibration file"):
        load_calibration("any.json", arm)
