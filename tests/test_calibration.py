"""LeRobot calibration files: read as they are, mapped to joint units, and compared with what the servos hold."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from native_arm import ARM, MS, line

from edge._core import Arm, ControlLoop, Driver, LoopConfig
from edge.arm import SO101, load_description
from edge.calibration import load_calibration
from edge.config import load
from edge.errors import ArmError, LinkError
from firmware_bridge.emulators import BusProcess

TURN_RAD = 2 * math.pi / 4096
FILE = {
    "shoulder_pan": {"id": 1, "drive_mode": 0, "homing_offset": -125, "range_min": 801, "range_max": 3301},
    "shoulder_lift": {"id": 2, "drive_mode": 0, "homing_offset": 1004, "range_min": 910, "range_max": 3200},
    "elbow_flex": {"id": 3, "drive_mode": 0, "homing_offset": 0, "range_min": 890, "range_max": 3081},
    "wrist_flex": {"id": 4, "drive_mode": 0, "homing_offset": -2047, "range_min": 1000, "range_max": 3000},
    "wrist_roll": {"id": 5, "drive_mode": 0, "homing_offset": 17, "range_min": 0, "range_max": 4095},
    "gripper": {"id": 6, "drive_mode": 0, "homing_offset": 300, "range_min": 2020, "range_max": 3420},
}


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "my_arm.json", FILE)


def test_zero_is_half_way_between_the_ends_and_the_gripper_runs_between_its_own(file: Path) -> None:
    arm = Arm(SO101, file)
    assert arm.to_ticks(np.zeros(6)).tolist() == [2051, 2055, 1986, 2000, 2048, 2020]
    assert arm.from_ticks(np.array([2151, 2055, 1986, 2000, 2048, 2720])) == pytest.approx(
        [100 * TURN_RAD, 0, 0.5 * TURN_RAD, 0, 0.5 * TURN_RAD, 0.5]
    )
    assert arm.to_ticks([0, 0, 0, 0, 0, 1]).tolist()[5] == 3420


def test_every_tick_of_the_range_maps_there_and_back(file: Path) -> None:
    arm = Arm(SO101, file)
    lower = [entry["range_min"] for entry in FILE.values()]
    upper = [entry["range_max"] for entry in FILE.values()]
    for tick in range(4096):
        ticks = np.clip(tick, lower, upper)
        assert arm.to_ticks(arm.from_ticks(ticks)).tolist() == ticks.tolist()


def test_a_joint_keeps_within_its_calibrated_range(file: Path) -> None:
    arm = Arm(SO101, file)
    assert arm.upper[3] == pytest.approx(1000 * TURN_RAD)  # narrower than the description
    assert arm.lower[4] == ARM.lower[4]  # the description is narrower
    assert (arm.lower[5], arm.upper[5]) == (0, 1)
    assert arm.to_ticks([0, 0, 0, 3.0, 0, -1]).tolist()[3:] == [3000, 2048, 2020]


def test_a_reversed_gripper_closes_towards_the_other_end(tmp_path: Path) -> None:
    data = {**FILE, "gripper": {**FILE["gripper"], "drive_mode": 1}}
    arm = Arm(SO101, write(tmp_path / "arm.json", data))
    assert arm.to_ticks([0, 0, 0, 0, 0, 0.25]).tolist()[5] == 3420 - 350


def test_without_a_file_half_a_turn_is_zero() -> None:
    assert ARM.to_ticks([0, 0, 0, 0, 0, 0.5]).tolist()[:5] == [2048] * 5


@pytest.mark.parametrize(
    ("joint", "change", "names"),
    [
        ("elbow_flex", {"id": 4}, "elbow_flex.id"),
        ("elbow_flex", {"drive_mode": 1}, "elbow_flex.drive_mode"),
        ("gripper", {"drive_mode": 2}, "gripper.drive_mode"),
        ("gripper", {"homing_offset": 2048}, "gripper.homing_offset"),
        ("wrist_roll", {"range_max": 4096}, "wrist_roll.range_max"),
        ("wrist_roll", {"range_min": -1}, "wrist_roll.range_min"),
        ("wrist_roll", {"range_min": 4095}, "wrist_roll.range_min"),
        ("wrist_flex", {"range_min": "1000"}, "wrist_flex: range_min"),
        ("wrist_flex", {"range": 1}, "wrist_flex"),
    ],
)
def test_an_entry_that_no_servo_can_have_is_refused_by_joint_and_field(
    tmp_path: Path, joint: str, change: dict[str, object], names: str
) -> None:
    path = write(tmp_path / "arm.json", {**FILE, joint: {**FILE[joint], **change}})
    with pytest.raises(ArmError) as refused:
        load_calibration(path, load_description())
    assert names in str(refused.value)


def test_a_joint_that_was_hardly_moved_was_not_calibrated(tmp_path: Path) -> None:
    def file(last: int) -> Path:
        return write(tmp_path / "arm.json", {**FILE, "gripper": {**FILE["gripper"], "range_max": last}})

    with pytest.raises(ArmError, match="gripper has no range") as refused:
        Arm(SO101, file(2020 + 63))
    assert refused.value.fix == "move the joint through its whole range when calibrating"
    assert Arm(SO101, file(2020 + 64)).to_ticks([0, 0, 0, 0, 0, 1]).tolist()[5] == 2084


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"elbow_flex": {}}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "arm.json"
    path.write_text(text)
    with pytest.raises(ArmError, match=r"calibration .*arm\.json"):
        Arm(SO101, path)
    with pytest.raises(ArmError, match="cannot be read"):
        Arm(SO101, tmp_path / "none.json")


def test_a_path_in_a_configuration_file_is_relative_to_that_file(tmp_path: Path) -> None:
    path = tmp_path / "arm.toml"
    path.write_text('calibration = "my_arm.json"')
    assert load(path).calibration == str(tmp_path / "my_arm.json")
    path.write_text("")
    assert load(path).calibration == ""


@pytest.fixture
def bus() -> Iterator[BusProcess]:
    """An arm whose servos hold what is in `FILE`, at its middle; positions are the encoder's, before the offset."""
    registers = {
        entry["id"]: {
            "homing_offset": entry["homing_offset"],
            "min_position_limit": entry["range_min"],
            "max_position_limit": entry["range_max"],
        }
        for entry in FILE.values()
    }
    encoder = [(e["range_min"] + e["range_max"]) // 2 + e["homing_offset"] for e in FILE.values()]
    with BusProcess(position=encoder, registers=registers) as process:
        yield process


def test_an_arm_that_holds_the_calibration_moves_by_it(bus: BusProcess, file: Path) -> None:
    loop = ControlLoop(Arm(SO101, file), LoopConfig(feedback_timeout_ns=400 * MS, watchdog_ns=1500 * MS))
    driver = Driver(loop, bus.port)
    driver.start()
    start = loop.snapshot()["commanded"]
    assert start == pytest.approx([0, 0, 0, 0, 0, 0.5], abs=2 * TURN_RAD)
    assert loop.offer(line(time.monotonic_ns(), start, [0.02, 0, 0, 0, 0, 0.01], 8))
    offsets = [entry["homing_offset"] for entry in FILE.values()]
    for _ in range(1000):  # how long it takes on a busy machine is not the point
        time.sleep(0.01)
        seen = loop.snapshot()
        told = (bus.block.goal - offsets).tolist()
        if seen["state"] == "hold" and seen["at_rest"] and told == loop.arm.to_ticks(seen["commanded"]).tolist():
            break
    else:
        pytest.fail(f"{seen} and the servos were told {told}")
    driver.stop()
    assert told[0] > 2051
    assert told[5] > 2720


def test_an_arm_that_holds_another_calibration_is_refused_and_stays_off(bus: BusProcess, tmp_path: Path) -> None:
    other = {**FILE, "wrist_flex": {**FILE["wrist_flex"], "homing_offset": -2046}}
    loop = ControlLoop(Arm(SO101, write(tmp_path / "other.json", other)))
    with pytest.raises(ArmError) as refused:
        Driver(loop, bus.port).start()
    assert "wrist_flex offset -2046, 1000 to 3000" in str(refused.value)
    assert "wrist_flex offset -2047, 1000 to 3000" in str(refused.value)
    assert "shoulder_pan" not in str(refused.value)
    assert bus.block.torque.tolist() == [0] * 6


def test_a_joint_outside_its_range_is_refused_before_anything_is_switched_on(bus: BusProcess, file: Path) -> None:
    """Not one that is a little over the end: gears have play."""
    bus.block.position[3] = 3000 - 2047 + 150  # wrist_flex
    goals = bus.block.goal.tolist()
    driver = Driver(ControlLoop(Arm(SO101, file), LoopConfig(watchdog_ns=1500 * MS)), bus.port)
    with pytest.raises(ArmError, match="outside its range") as refused:
        driver.start()
    assert (refused.value.expected, refused.value.got) == ("wrist_flex at 1000 to 3000 ticks", "wrist_flex at 3150")
    assert refused.value.fix == "move it inside by hand, then start again"
    assert bus.block.torque.tolist() == [0] * 6
    assert bus.block.goal.tolist() == goals
    bus.block.position[3] = 3000 - 2047 + 30
    driver.start()
    driver.stop()


def test_a_servo_that_falls_silent_meanwhile_is_named(bus: BusProcess, file: Path) -> None:
    bus.block.silent[2] = 1
    with pytest.raises((ArmError, LinkError), match="servo"):
        Driver(ControlLoop(Arm(SO101, file)), bus.port).start()
