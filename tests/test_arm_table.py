"""The firmware's table of the arm is the arm description's, and says the same as the core and the C code do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge import arm
from edge._core import Arm
from edge.arm import NORMALISED, SO101, SO101_BRIDGE, load_description
from edge.errors import ArmError
from firmware_bridge._safety import REJECTED, Joint, limits_from
from firmware_bridge.arm_table import TICK_US, TICKS_US, ArmTable, arm_table

ROOT = Path(__file__).parents[1]
FIRMWARE = ROOT / "firmware_bridge/firmware"
DESCRIPTION = json.loads(SO101.read_text("utf-8"))
UNIT = 2**32


@pytest.fixture(scope="module")
def table() -> ArmTable:
    return arm_table(DESCRIPTION)


def test_the_firmware_has_the_table_of_the_description(table: ArmTable) -> None:
    assert (FIRMWARE / "so101_table.c").read_text("utf-8") == table.source("so101_table")


def test_a_microcontroller_s_description_gives_the_same_table() -> None:
    command = [sys.executable, "-m", "firmware_bridge.arm_table", str(SO101_BRIDGE)]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == (FIRMWARE / "so101_table.c").read_text("utf-8")
    core = Arm(str(SO101_BRIDGE))
    assert core.bridge_config == arm_table(DESCRIPTION).config
    assert Arm(str(SO101)).bridge_config is None


def test_a_tick_is_taken_from_the_description_and_has_room_for_what_is_done_in_it(tmp_path: Path) -> None:
    assert TICKS_US == arm.TICKS_US
    path = tmp_path / "arm.json"
    for tick_us in (*TICKS_US, 2500):
        described = {**DESCRIPTION, "bridge": {"tick_us": tick_us}}
        path.write_text(json.dumps(described))
        assert arm_table(described).tick_us == tick_us
        assert arm_table(described).config == Arm(str(path)).bridge_config
    for tick_us in (TICKS_US[0] - 1, TICKS_US[1] + 1, 0, 65536):
        described = {**DESCRIPTION, "bridge": {"tick_us": tick_us}}
        path.write_text(json.dumps(described))
        with pytest.raises(ValueError, match="2000 to 5000: less holds no cycle of the servo bus"):
            arm_table(described)
        with pytest.raises(ArmError, match=r"bridge\.tick_us") as refused:
            load_description(path)
        assert "no cycle of the servo bus" in refused.value.expected
    command = [sys.executable, "-m", "firmware_bridge.arm_table", str(path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (2, "")
    assert "expected 2000 to 5000" in said.stderr


def test_both_ends_hash_alike(table: ArmTable, tmp_path: Path) -> None:
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdio.h>\n#include "arm_table.h"\n'
        'int main(void) { printf("%lu\\n", (unsigned long)arm_config(&so101_table)); return 0; }\n'
    )
    bridge = ROOT / "firmware_bridge"
    include = [f"-I{bridge / part}" for part in ("firmware", "codec", "safety")]
    sources = [FIRMWARE / "arm_table.c", FIRMWARE / "so101_table.c", bridge / "codec/crc32.c"]
    subprocess.run(["cc", "-std=c99", *include, main, *sources, "-o", tmp_path / "hash"], check=True)
    assert int(subprocess.check_output([tmp_path / "hash"])) == table.config


def test_it_is_the_arm_that_the_core_drives(table: ArmTable) -> None:
    """Servo ids, limits and where a servo's tick is, by the code of the direct link."""
    core = Arm(str(SO101))
    for i, (joint, described) in enumerate(zip(table.joints, load_description().joints, strict=True)):
        assert joint.servo_id == described.servo_id
        lower, upper = (0.0, 1.0) if described.name == NORMALISED else (described.lower, described.upper)
        assert lower <= joint.limits.lower / UNIT < lower + 1e-9
        assert upper - 1e-9 < joint.limits.upper / UNIT <= upper
        speed = joint.limits.max_velocity / UNIT / (TICK_US * 1e-6)
        span = described.upper - described.lower if described.name == NORMALISED else 1.0
        assert speed == pytest.approx(described.max_velocity / span, rel=1e-6)
        for encoder in (0, 1000, 2048, 4095):
            pose = [2048] * 6
            pose[i] = encoder
            assert joint.position(encoder) / UNIT == pytest.approx(core.from_ticks(pose)[i], abs=1e-9)
            assert joint.encoder(joint.position(encoder)) == encoder


def test_a_calibration_moves_zero_and_narrows_the_limits() -> None:
    calibration = {
        joint["name"]: {"homing_offset": 0, "range_min": 1500, "range_max": 2700, "drive_mode": 0}
        for joint in DESCRIPTION["joints"]
    }
    calibration[NORMALISED]["drive_mode"] = 1
    table = arm_table(DESCRIPTION, calibration)
    pan, gripper = table.joints[0], table.joints[-1]
    assert pan.position(2100) == 0
    assert (pan.encoder(pan.limits.lower), pan.encoder(pan.limits.upper)) == (1500, 2700)
    assert (gripper.position(2700), gripper.encoder(UNIT)) == (0, 1500)
    assert table.config != arm_table(DESCRIPTION).config


def test_limits_that_no_limiter_can_keep_are_named() -> None:
    with pytest.raises(ValueError, match="max_velocity"):
        limits_from(-1.0, 1.0, 1e9, 1.0, 1.0, 0.004)
    with pytest.raises(ValueError, match="upper - lower"):
        limits_from(0.0, 0.001, 3.0, 39.0, 7800.0, 0.004)


def test_the_limiter_from_python_is_the_firmware_s(table: ArmTable) -> None:
    limits = table.joints[0].limits
    joint = Joint(limits, 0)
    for _ in range(300):
        before = joint.velocity
        assert joint.step(limits.upper, 0) & REJECTED == 0
        assert abs(joint.velocity) <= limits.max_velocity
        assert abs(joint.velocity - before) <= limits.max_acceleration
    assert (joint.position, joint.velocity, joint.acceleration) == (limits.upper, 0, 0)
    assert joint.step(2**41, 0) & REJECTED != 0
    joint.step(limits.lower, 0)
    for _ in range(300):
        joint.brake()
    assert joint.velocity == 0
