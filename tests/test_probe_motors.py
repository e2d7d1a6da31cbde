"""`edge doctor` on emulated Damiao motors: what it reads, what it says is wrong, and that it changes nothing."""

from __future__ import annotations

import pytest

from edge.arm import DAMIAO_BENCH
from edge.config import RunConfig
from edge.doctor import examine
from edge.tabletop import API
from firmware_bridge import _damiao as damiao
from firmware_bridge.emulators import DamiaoPort, bench_arm
from firmware_bridge.emulators.damiao import MODELS

READ, REFRESH = 0x33, 0xCC


def told(port: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is said about port and arm. Cameras are missing here, and the bundle is another arm's."""
    assert examine(RunConfig(arm=str(DAMIAO_BENCH), port=port), API) == 2
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if "motor" in line or " arm " in line or " port " in line]


def test_sound_motors_are_summed_up_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with DamiaoPort() as can:
        lines = told(can.port, capsys)
        assert lines[0] == f"ok     port      {can.port}"
        assert lines[1].startswith("ok     arm       6 motors: 32 °C, round trip ")
        assert "(n = 120, worst " in lines[1]
        assert len(lines) == 2
        for motor in can.motors.motors:
            assert {frame.id for _, frame in motor.heard} == {damiao.REGISTER_ID}
            assert {frame.data[2] for _, frame in motor.heard} == {READ, REFRESH}


def test_everything_a_person_should_know_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    with DamiaoPort(bench_arm({2: MODELS["DM4340"]._replace(velocity=10.0)})) as can:
        can.motors[0].on = True
        can.motors[2].trip(9)
        can.motors[3].trip(damiao.LOST_COMMANDS)
        can.motors[4].position = -3.0
        can.motors[5].store(damiao.CONTROL_MODE, (2).to_bytes(4, "little"))
        lines = told(can.port, capsys)
    for words in (
        "motor 1 (base_yaw) holds its pose: torque is on",
        "motor 2 (shoulder), DM4340, register 22 (VMAX) is 10, the description says 8: a run refuses this",
        "motor 3 (elbow) reports undervoltage: remove the cause",
        "motor 4 (wrist_pitch) switched itself off for want of commands: the next start clears that",
        "motor 5 (wrist_roll) stands at 3.00 rad, outside -2.9 to 2.9",
        "motor 6 (gripper) is in control mode 2: a run needs 1 (MIT)",
    ):
        assert any(line.startswith("note   ") and words in line for line in lines), words


def test_silent_motors_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with DamiaoPort([setting for setting in bench_arm() if setting.id not in (1, 5)]) as can:
        examine(RunConfig(arm=str(DAMIAO_BENCH), port=can.port), API)
    text = capsys.readouterr().out
    assert "wrong  arm       motors do not answer" in text
    assert "silence from 1 (base_yaw), 5 (wrist_roll)" in text


def test_an_interface_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    examine(RunConfig(arm=str(DAMIAO_BENCH), port="can99"), API)
    assert "wrong  port      CAN interface can99 does not exist" in capsys.readouterr().out
