"""`edge doctor` where the set-up is wrong: which port is the arm's, why servos are silent, what it writes when told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from wire import READ, WRITE, Wire

from edge import find_arms
from edge.arm import DAMIAO_BENCH
from edge.cli import main
from edge.config import RunConfig
from edge.doctor import examine, set_up
from edge.errors import ArmError
from edge.ports import connected
from edge.tabletop import API
from firmware_bridge.emulators import BusProcess

PING, ID, LOCK = 1, 5, 55


@pytest.fixture
def wiretap(tmp_path: Path) -> Path:
    return tmp_path / "heard"


@pytest.fixture
def one(wiretap: Path) -> Iterator[BusProcess]:
    """A servo alone, as it comes from the factory."""
    with BusProcess(ids=[1], wiretap=wiretap) as bus:
        yield bus


def writes(wiretap: Path) -> list[tuple[int, int, int]]:
    """Servo, register and value of everything that was written."""
    return [
        (frame.id, frame.params[0], frame.params[1])
        for _, frame in Wire(wiretap).frames()
        if frame.code not in (PING, READ)
    ]


def read(bus: BusProcess, id: int, address: int) -> int:
    from edge._core import ServoBus

    answer = ServoBus(bus.port).read(id, address, 1)
    assert answer is not None
    return answer[1][0]


def told(port: str, capsys: pytest.CaptureFixture[str]) -> str:
    examine(RunConfig(port=port), API)
    return capsys.readouterr().out


# --- which port ------------------------------------------------------------------------------------------------------


def plug(devices: Path, system: Path, tty: str, serial: str) -> None:
    """An adapter in a hub, which has a serial number whatever the adapter has."""
    (devices / tty).touch()
    device = system / "devices/usb1/1-1" / f"1-1.{tty}"
    interface = device / "1:1.0" / tty
    interface.mkdir(parents=True)
    (system / "class/tty" / tty).mkdir(parents=True)
    (system / "class/tty" / tty / "device").symlink_to(interface)
    for at, number in ((device, serial), (device.parent, "0000:00:14.0")):
        (at / "idVendor").write_text("1a86\n")
        if number:
            (at / "serial").write_text(f"{number}\n")


def lead(devices: Path, by: str, name: str, tty: str) -> str:
    folder = devices / "serial" / by
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(f"../../{tty}")
    return str(folder / name)


def test_adapters_are_named_by_what_lasts(tmp_path: Path) -> None:
    devices, system = tmp_path / "dev", tmp_path / "sys"
    devices.mkdir()
    (devices / "ttyS0").touch()
    (devices / "ttyACM0").touch()
    plug(devices, system, "ttyACM1", "42")
    plug(devices, system, "ttyUSB0", "")
    plug(devices, system, "ttyUSB1", "")
    plug(devices, system, "ttyUSB2", "")
    for number in range(3):
        lead(devices, "by-id", f"usb-nameless_adapter_{number}", f"ttyUSB{number}")
    lead(devices, "by-path", "usb-0:3", "ttyACM1")
    expected = [
        str(devices / "ttyACM0"),
        lead(devices, "by-id", "usb-maker_adapter_42", "ttyACM1"),
        lead(devices, "by-path", "usb-0:1", "ttyUSB0"),
        lead(devices, "by-path", "usb-0:2", "ttyUSB1"),
        str(devices / "ttyUSB2"),
    ]
    assert connected(devices, system) == expected


def test_without_a_port_it_is_said_what_is_behind_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wiretap: Path
) -> None:
    nobody, other_end = os.openpty()
    with BusProcess(wiretap=wiretap) as arm, BusProcess(ids=[1, 2, 9]) as some:
        empty = os.ttyname(other_end)
        monkeypatch.setattr(find_arms, "connected", lambda: [arm.port, some.port, empty, "/dev/null"])
        text = told("", capsys)
    os.close(nobody)
    os.close(other_end)
    assert "wrong  port      --port is not given" in text
    assert f"note   {arm.port}: a so101 answers: --port {arm.port}\n" in text
    assert f"note   {some.port}: of a so101 only 1, 2 answer\n" in text
    assert f"note   {empty}: nothing answers as a servo does\n" in text
    assert "note   /dev/null: /dev/null is not a serial port, " in text
    assert writes(wiretap) == []


def test_without_any_port_it_is_said_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_arms, "connected", list)
    assert "note   no serial port found: plug in the arm's adapter" in told("", capsys)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_every_servo_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with BusProcess(registers={4: {"homing_offset": 5, "min_position_limit": 10}}, position=[2000] * 6) as bus:
        lines = told(bus.port, capsys).splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("ok     arm "))
    assert " p50 " in lines[at]
    assert ", p99 " in lines[at]
    assert len(lines[at + 1 : at + 7]) == 6
    assert lines[at + 1].split()[:8] == ["1", "shoulder_pan", "at", "2000", "of", "0", "to", "4095,"]
    assert "4 wrist_flex     at  1995 of 10 to 4095, offset 5; 12.0 V, 30 °C, p50 " in lines[at + 4]


# --- why servos are silent -------------------------------------------------------------------------------------------


def test_a_chain_that_ends_is_told_with_the_cable(capsys: pytest.CaptureFixture[str]) -> None:
    with BusProcess(ids=[1, 2, 3]) as bus:
        assert "the chain ends behind 3: check the cable to 4" in told(bus.port, capsys)


def test_nobody_is_told_with_the_power(capsys: pytest.CaptureFixture[str]) -> None:
    with BusProcess(ids=[]) as bus:
        assert "nobody answers: check the servos' power" in told(bus.port, capsys)


def test_servos_at_another_rate_are_found(capsys: pytest.CaptureFixture[str], wiretap: Path) -> None:
    with BusProcess(registers={id: {"baud_rate": 4} for id in range(1, 7)}, wiretap=wiretap) as bus:
        assert "1, 2, 3, 4, 5, 6 answer at 115200 bit/s: set them to 1 Mbps" in told(bus.port, capsys)
    assert writes(wiretap) == []


def test_two_servos_with_one_id_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    registers = {1: {"return_delay": 0}}
    with BusProcess(ids=[1, 1, 3, 4, 5, 6], registers=registers) as bus:
        text = told(bus.port, capsys)
    assert "silence from 1 (shoulder_pan), 2 (shoulder_lift)" in text


@pytest.mark.parametrize(
    ("silent", "found", "corrupt", "rates", "says"),
    [
        ([2], [1, 3, 4, 5, 6], 3, {}, "two servos with one id"),
        ([2], [1, 3, 4, 5, 6], 0, {}, "check power, the daisy chain and the servo ids"),
        ([5, 6], [1, 2, 3, 4], 0, {}, "behind 4: check the cable to 5"),
        ([1, 2], [], 0, {500_000: [], 115_200: [1]}, "1 answer at 115200 bit/s"),
        ([1, 2], [], 0, {500_000: []}, "nobody answers"),
    ],
)
def test_the_advice_fits_what_was_seen(
    silent: list[int], found: list[int], corrupt: int, rates: dict[int, list[int]], says: str
) -> None:
    assert says in find_arms.why_silent(silent, found, corrupt, rates)


# --- what is written -------------------------------------------------------------------------------------------------


def test_an_id_is_set_said_before_and_read_back(
    one: BusProcess, wiretap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--port", one.port, "--set-id", "4"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == ["will write to servo 1: Lock (55) 0, ID (5) 4, Lock 1", "read back: servo 4, locked"]
    assert writes(wiretap) == [(1, LOCK, 0), (1, ID, 4), (4, LOCK, 1)]
    assert read(one, 4, ID) == 4
    assert main(["doctor", "--port", one.port, "--set-id", "4"]) == 0
    assert capsys.readouterr().out == "servo 4 has this id: nothing to write\n"
    assert len(writes(wiretap)) == 3


@pytest.mark.parametrize(
    ("ids", "got"), [([1, 2], "1, 2"), ([], "nobody answers, or two with the same id do"), ([3, 3], "nobody")]
)
def test_an_id_is_set_only_with_one_servo_on_the_bus(ids: list[int], got: str, wiretap: Path) -> None:
    with BusProcess(ids=ids, wiretap=wiretap) as bus, pytest.raises(ArmError, match="one servo on the bus") as refused:
        set_up(RunConfig(port=bus.port), id=4, lock=False)
    assert got in refused.value.got
    assert writes(wiretap) == []


def test_the_id_of_a_servo_that_holds_its_pose_is_left(wiretap: Path) -> None:
    with BusProcess(ids=[1], holding=[2048], wiretap=wiretap) as bus, pytest.raises(ArmError, match="holds its pose"):
        set_up(RunConfig(port=bus.port), id=4, lock=False)
    assert writes(wiretap) == []


@pytest.mark.parametrize("id", [-1, 254, 300])
def test_what_no_servo_can_be_is_refused(one: BusProcess, wiretap: Path, id: int) -> None:
    with pytest.raises(ArmError, match="cannot be a servo's id"):
        set_up(RunConfig(port=one.port), id=id, lock=False)
    assert writes(wiretap) == []


def test_what_is_open_is_told_and_locked_when_asked(wiretap: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with BusProcess(wiretap=wiretap) as bus:
        from edge._core import ServoBus

        assert ServoBus(bus.port).write(3, LOCK, b"\0")
        assert "servo 3 (elbow_flex) is unlocked" in told(bus.port, capsys)
        assert main(["doctor", "--port", bus.port, "--lock"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "will write to servo 3 (elbow_flex): Lock (55) 1",
            "read back: servo 3 (elbow_flex) is locked",
        ]
        assert "unlocked" not in told(bus.port, capsys)
        bus.block.silent[4] = 1
        with pytest.raises(ArmError, match=r"servo 5 \(wrist_roll\) is not locked"):
            set_up(RunConfig(port=bus.port), id=None, lock=True)
    assert writes(wiretap) == [(3, LOCK, 0), (3, LOCK, 1)]
    assert WRITE in {frame.code for _, frame in Wire(wiretap).frames()}


def test_other_motors_have_nothing_to_set_up() -> None:
    with pytest.raises(ArmError, match="has nothing to set up"):
        set_up(RunConfig(arm=str(DAMIAO_BENCH), port="/dev/null"), id=1, lock=False)
