"""`edge doctor` on the emulated arm: what it reads, what it says is wrong, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from wire import Wire

from edge.config import RunConfig
from edge.doctor import examine
from edge.tabletop import API
from firmware_bridge.emulators import BusProcess

READ_ONLY = {1, 2}  # ping and read


@pytest.fixture
def wiretap(tmp_path: Path) -> Path:
    return tmp_path / "heard"


@pytest.fixture
def bus(wiretap: Path) -> Iterator[BusProcess]:
    with BusProcess(wiretap=wiretap) as process:
        yield process


def told(bus: BusProcess, capsys: pytest.CaptureFixture[str], **config: str) -> list[str]:
    """What is said about the arm. Cameras are missing here, so the whole is never well."""
    assert examine(RunConfig(port=bus.port, **config), API) == 2  # type: ignore[arg-type]
    return [line for line in capsys.readouterr().out.splitlines() if "servo" in line or " arm " in line]


def told_whole(bus: BusProcess, capsys: pytest.CaptureFixture[str], **config: str) -> str:
    examine(RunConfig(port=bus.port, **config), API)  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_a_sound_arm_is_summed_up_and_nothing_is_written(
    bus: BusProcess, wiretap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(bus, capsys)
    assert len(lines) == 1
    assert lines[0].startswith("ok     arm       6 servos, firmware 3.10: 12.0 V, 30 °C, round trip ")
    assert "(n = 120, worst " in lines[0]
    assert {frame.code for _, frame in Wire(wiretap).frames()} == READ_ONLY


def test_silent_servos_are_named(bus: BusProcess, capsys: pytest.CaptureFixture[str]) -> None:
    bus.block.silent[[1, 4]] = 1
    text = told_whole(bus, capsys)
    assert "wrong  arm       servos do not answer" in text
    assert "silence from 2 (shoulder_lift), 5 (wrist_roll)" in text


def test_another_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with BusProcess(registers={4: {"model_number": 2825}}) as bus:
        assert "4 is model 2825" in told_whole(bus, capsys)


def test_everything_a_person_should_know_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    registers = {
        1: {"homing_offset": -5},
        2: {"min_voltage": 130},
        3: {"max_temperature": 35},
        4: {"max_position_limit": 2000},
    }
    with BusProcess((1, 2, 3, 4, 5, 6, 9), registers=registers, holding=[2048] * 7) as bus:
        bus.block.status[4] = 0x20
        lines = told(bus, capsys)
    for words in (
        "servo 9 answers too and is not of a so101",
        "servo 2 (shoulder_lift) has 12.0 V, it works with 13.0 to 14.0",
        "servo 3 (elbow_flex) is at 30 °C, it switches off at 35",
        "servo 4 (wrist_flex) stands at 2048, outside 0 to 2000",
        "servo 5 (wrist_roll) reports overload",
        "servo 6 (gripper) holds its pose: torque is on",
        "the servos were calibrated by LeRobot: name its file",
    ):
        assert any(line.startswith("note   ") and words in line for line in lines), words


def test_a_calibration_that_the_servos_do_not_hold_is_told_with_both(
    bus: BusProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    entry = '{{"id": {}, "drive_mode": 0, "homing_offset": {}, "range_min": 0, "range_max": 4095}}'
    rows = (f'"{name}": {entry.format(id, 7 if id == 3 else 0)}' for id, name in enumerate(names, 1))
    (tmp_path / "arm.json").write_text("{" + ", ".join(rows) + "}")
    lines = told(bus, capsys, calibration=str(tmp_path / "arm.json"))
    assert [line for line in lines if line.startswith("note")] == [
        "note   servo 3 (elbow_flex) holds offset 0, 0 to 4095; the file says 7, 0 to 4095: name this arm's file, or "
        "store it in the servos with LeRobot"
    ]


def test_a_port_that_does_not_open_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(RunConfig(port="/dev/ttyNONE"), API) == 2
    assert capsys.readouterr().out.count("/dev/ttyNONE") == 1
