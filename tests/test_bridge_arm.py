"""The driver on an arm behind a microcontroller end to end: host-built firmware on a pty, emulated servos behind it.

The firmware's clock waits for a computer or a servo that a busy machine keeps from its turn, but not for ever. How soon
it stops, in its own time, is judged where the test moves the clock: tests/native/bridge and tests/firmware.
"""

from __future__ import annotations

import gc
import json
import os
import pty
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hil import backends
from native_arm import MS, eventually, line
from wire import GOAL_POSITION, SYNC_WRITE, TORQUE_ENABLE, Wire

from edge._core import BRIDGE_PROTOCOL, Arm, ControllerPort, ControllerState, ControlLoop, Driver, LoopConfig
from edge.arm import SO101, SO101_BRIDGE, BridgeDrive, load_description
from edge.calibration import load_calibration
from edge.config import RunConfig
from edge.doctor import examine
from edge.errors import ArmError, ConfigError, LinkError
from edge.tabletop import API
from firmware_bridge.arm_table import arm_table
from firmware_bridge.emulators import BusProcess
from firmware_bridge.emulators.host_firmware import build_host_firmware

ROOT = Path(__file__).resolve().parents[1]
GRACE_MS = "3000"
ARM = Arm(SO101_BRIDGE)
CONFIG = arm_table(json.loads(SO101.read_text("utf-8"))).config
STOPPED = "the microcontroller has the arm stopped: "


@dataclass
class Machine:
    """A microcontroller and its servos."""

    port: str
    servos: BusProcess
    wire: Wire
    process: subprocess.Popen[bytes]

    def press(self, button: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(button)
        self.process.stdin.flush()

    def told(self) -> list[tuple[int, bytes]]:
        """Register and bytes of everything about torque and motion that the servos were told."""
        frames = [frame for _, frame in self.wire.frames() if frame.code == SYNC_WRITE]
        return [(frame.params[0], frame.params) for frame in frames if frame.params[0] >= TORQUE_ENABLE]

    def quiet(self) -> None:
        """Nothing is told to the servos, once what is said three times has been."""
        time.sleep(0.4)
        before = len(self.told())
        time.sleep(0.4)
        assert len(self.told()) == before

    @property
    def torque(self) -> list[int]:
        return [int(on) for on in self.servos.block.torque]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_host_firmware(tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def machine(program: Path, tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as stack:
        servos = stack.enter_context(backends.emulated_servos(tmp_path / "wire"))
        command: list[str | Path] = [program, "--bus", servos.port, "--grace", GRACE_MS]
        process, port = stack.enter_context(backends.started(command, r"^(/dev/\S+)"))
        yield Machine(port, servos, Wire(tmp_path / "wire"), process)


@pytest.fixture
def loop() -> ControlLoop:
    return patient(ARM)


def patient(arm: Arm) -> ControlLoop:
    return ControlLoop(arm, LoopConfig(feedback_timeout_ns=1000 * MS, watchdog_ns=1500 * MS, stall_ns=5000 * MS))


def drive(loop: ControlLoop, port: str, **config: Any) -> Driver:
    return Driver(loop, port, reply_timeout_ns=500 * MS, **config)


def state(loop: ControlLoop) -> str:
    return loop.snapshot()["state"]


def offer_move(loop: ControlLoop, step: float, horizon: int = 16) -> None:
    move = line(time.monotonic_ns(), loop.snapshot()["commanded"], [step, step, 0, 0, step, 0], horizon)
    assert loop.offer(move).accepted


def move_off(loop: ControlLoop) -> None:
    offer_move(loop, 0.03, horizon=64)
    eventually(lambda: abs(loop.snapshot()["velocity"][0]) > 0.2, "the arm moves")


def test_the_arm_moves_to_where_a_chunk_says_and_is_released_at_rest(machine: Machine, loop: ControlLoop) -> None:
    pose = machine.servos.block.position.copy()
    driver = drive(loop, machine.port)
    driver.start()
    assert (state(loop), driver.snapshot()["torque"], machine.torque) == ("ready", "on", [1] * 6)
    assert np.all(np.abs(machine.servos.block.position - pose) <= 2)
    assert loop.snapshot()["measured"] == pytest.approx(ARM.from_ticks(pose), abs=0.01)
    offer_move(loop, 0.02)
    eventually(lambda: state(loop) == "hold" and loop.snapshot()["at_rest"], "the chunk runs out")
    goal = ARM.to_ticks(loop.snapshot()["commanded"])
    assert goal[0] > pose[0] + 150
    eventually(lambda: bool(np.all(np.abs(machine.servos.block.position - goal) <= 2)), "the servos are there")
    eventually(lambda: bool(np.all(np.abs(ARM.to_ticks(loop.snapshot()["measured"]) - goal) <= 2)), "it shows")
    seen = driver.snapshot()
    assert seen["controller"] == ""
    assert [servo["error"] for servo in seen["servos"].values()] == [""] * 6
    assert loop.snapshot()["counters"]["holds_feedback"] == 0
    driver.stop()
    assert (driver.snapshot()["torque"], machine.torque) == ("off", [0] * 6)
    machine.quiet()


def test_stop_in_motion_comes_to_rest_before_torque_goes_off(machine: Machine, loop: ControlLoop) -> None:
    driver = drive(loop, machine.port)
    driver.start()
    move_off(loop)
    driver.stop()
    assert machine.torque == [0] * 6
    told = machine.told()
    off = next(i for i, (register, params) in enumerate(told) if register == TORQUE_ENABLE and params[3] == 0)
    goals = [params for register, params in told[:off] if register == GOAL_POSITION]
    assert goals[-1] == goals[-2]
    assert all(register == TORQUE_ENABLE for register, _ in told[off:])


def test_torque_can_be_kept_and_a_dropped_driver_keeps_it(machine: Machine, loop: ControlLoop) -> None:
    driver = drive(loop, machine.port, keep_torque=True)
    driver.start()
    driver.stop()
    assert (driver.snapshot()["torque"], machine.torque) == ("kept on", [1] * 6)
    machine.quiet()
    seen = ControllerPort(machine.port).state()
    assert seen is not None
    assert (seen.arm, seen.faults) == ("stopped", "emergency stop or a stop message")  # on purpose, not by silence
    again = drive(loop, machine.port)
    again.start()
    move_off(loop)
    del again
    gc.collect()
    assert loop.snapshot()["at_rest"]
    assert machine.torque == [1] * 6
    machine.quiet()


_RUN = """
import sys, time
sys.path.insert(0, sys.argv[2])
from edge._core import Arm
from edge.arm import SO101_BRIDGE
from test_bridge_arm import drive, move_off, patient
loop = patient(Arm(SO101_BRIDGE))
driver = drive(loop, sys.argv[1])
driver.start()
move_off(loop)
print("moving", flush=True)
time.sleep(60)
"""


def test_a_process_that_is_killed_leaves_the_arm_stopped_and_holding(machine: Machine, loop: ControlLoop) -> None:
    command = [sys.executable, "-c", _RUN, machine.port, str(ROOT / "tests")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "moving\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def at_rest() -> bool:
        seen = ControllerPort(machine.port).state()
        return seen is not None and (seen.arm, seen.faults) == ("stopped", "no command in time")

    eventually(at_rest, "it stops by itself")
    assert machine.torque == [1] * 6
    machine.quiet()
    before = len(machine.told())
    driver = drive(loop, machine.port)
    driver.start()  # the explicit act
    assert state(loop) == "ready"
    assert len(machine.told()) > before
    driver.stop()


def test_the_emergency_stop_ends_in_a_fault_with_its_name(machine: Machine, loop: ControlLoop) -> None:
    driver = drive(loop, machine.port)
    driver.start()
    move_off(loop)
    machine.press(b"S")
    eventually(lambda: state(loop) == "hold", "hold")
    eventually(lambda: state(loop) == "fault", "fault")
    assert driver.snapshot()["controller"] == STOPPED + "emergency stop or a stop message"
    loop.clear()
    eventually(lambda: state(loop) == "idle", "idle")
    with pytest.raises(ArmError, match="does not arm the arm") as caught:
        driver.start()
    assert "the cause is still there" in caught.value.got
    assert "emergency stop" in caught.value.fix
    machine.press(b"R")
    machine.quiet()
    assert machine.torque == [1] * 6
    driver.start()
    assert (state(loop), driver.snapshot()["controller"]) == ("ready", "")
    driver.stop()
    assert machine.torque == [0] * 6


def test_a_microcontroller_that_restarts_arms_nothing_by_itself(machine: Machine, loop: ControlLoop) -> None:
    driver = drive(loop, machine.port)
    driver.start()
    machine.press(b"H")
    eventually(lambda: driver.snapshot()["controller"] == "the microcontroller is silent", "silence shows")
    eventually(lambda: state(loop) == "fault", "fault")
    words = "the microcontroller was reset: the session is gone: restarted by its own watchdog"
    eventually(lambda: driver.snapshot()["controller"] == words, "the restart shows")
    machine.quiet()
    assert machine.torque == [1] * 6
    loop.clear()
    eventually(lambda: state(loop) == "idle", "idle")
    machine.quiet()
    driver.start()
    assert state(loop) == "ready"
    driver.stop()
    assert (driver.snapshot()["torque"], machine.torque) == ("off", [0] * 6)


def test_a_microcontroller_that_is_unplugged_is_a_lost_link(machine: Machine, loop: ControlLoop) -> None:
    driver = drive(loop, machine.port)
    driver.start()
    assert machine.process.stdin is not None
    machine.process.stdin.close()  # ends it
    machine.process.wait()
    eventually(lambda: state(loop) == "fault", "fault")
    assert driver.snapshot()["fault_cause"] == "link lost"
    driver.stop()
    assert machine.torque == [1] * 6
    assert driver.snapshot()["torque"].startswith("not off: ")


def calibrated(tmp_path: Path) -> Path:
    rows = {
        joint.name: {"id": joint.servo_id, "drive_mode": 0, "homing_offset": 0, "range_min": 700, "range_max": 3300}
        for joint in load_description(SO101_BRIDGE).joints
    }
    (tmp_path / "calibration.json").write_text(json.dumps(rows))
    return tmp_path / "calibration.json"


def test_another_configuration_is_refused_with_both(machine: Machine, tmp_path: Path) -> None:
    other = Arm(SO101_BRIDGE, calibrated(tmp_path))
    rows = json.loads(calibrated(tmp_path).read_text())
    assert other.bridge_config == arm_table(json.loads(SO101.read_text("utf-8")), rows).config
    assert ARM.bridge_config == CONFIG != other.bridge_config
    with pytest.raises(ArmError, match="was built for another arm or calibration") as caught:
        drive(patient(other), machine.port).start()
    assert caught.value.expected == f"configuration {other.bridge_config:08x}"
    assert caught.value.got == f"configuration {CONFIG:08x}"
    assert machine.told() == []


def silent_port() -> tuple[int, int, str]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, slave, os.ttyname(slave)


def test_a_port_without_a_microcontroller_is_named(loop: ControlLoop) -> None:
    master, slave, port = silent_port()
    try:
        with pytest.raises(ArmError, match="does not answer") as caught:
            drive(loop, port).start()
        assert "description of their own" in caught.value.fix
    finally:
        os.close(master)
        os.close(slave)
    with pytest.raises(LinkError, match="/dev/ttyNONE does not exist"):
        drive(loop, "/dev/ttyNONE").start()


def test_rates_that_the_microcontroller_cannot_use_are_refused_with_the_bound(loop: ControlLoop) -> None:
    with pytest.raises(ConfigError, match="cannot carry this bus rate") as caught:
        Driver(loop, "/dev/null", bus_period_ns=2 * MS)
    assert "4000000" in caught.value.expected
    with pytest.raises(ConfigError, match="would stop between two bus cycles") as caught:
        Driver(loop, "/dev/null", bus_period_ns=20 * MS)
    assert "10000000" in caught.value.expected


def seen_by(port: str) -> ControllerState:
    state = ControllerPort(port).state()
    assert state is not None
    return state


def told(port: str, capsys: pytest.CaptureFixture[str], **config: str) -> list[str]:
    """What the doctor says about the arm. Cameras are missing here, so the whole is never well."""
    assert examine(RunConfig(port=port, **config), API) == 2  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[1] == "arm")
    return lines[first:]


def test_the_doctor_looks_and_changes_nothing(machine: Machine, tmp_path: Path, capsys: Any) -> None:
    assert ControllerPort(machine.port).state() is not None
    lines = told(machine.port, capsys, arm=str(SO101_BRIDGE))
    words = (
        f"ok     arm       microcontroller, protocol {BRIDGE_PROTOCOL:08x}, configuration {CONFIG:08x}, tick 4 ms, idle"
    )
    assert lines[0].startswith(words)
    assert "(n = 20, worst " in lines[0]
    assert not any(line.startswith("note   the micro") for line in lines)
    machine.press(b"S")
    machine.servos.block.silent[2] = 1
    eventually(lambda: seen_by(machine.port).stale == 4, "it is missed")
    lines = told(machine.port, capsys, arm=str(SO101_BRIDGE))
    assert any("has the arm stopped since: emergency stop or a stop message" in line for line in lines)
    assert any("not measured by the microcontroller: elbow_flex" in line for line in lines)
    lines = told(machine.port, capsys, arm=str(SO101_BRIDGE), calibration=str(calibrated(tmp_path)))
    assert lines[0] == "wrong  arm       the microcontroller was built for another arm or calibration"
    lines = told(machine.port, capsys)  # as servos on a direct bus
    assert lines[0] == "wrong  arm       servos do not answer"
    assert any(f"a microcontroller answers there: describe its arm, --arm {SO101_BRIDGE}" in line for line in lines)
    seen = ControllerPort(machine.port).state()
    assert seen is not None
    assert seen.session == 0
    assert machine.told() == []


def test_the_doctor_names_a_firmware_of_another_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    master, slave, port = silent_port()
    process = subprocess.Popen([sys.executable, "-c", _OTHER, str(master)], pass_fds=[master], cwd=ROOT)
    try:
        lines = told(port, capsys, arm=str(SO101_BRIDGE))
        assert lines[0] == "wrong  arm       the microcontroller speaks another protocol"
        assert lines[1:3] == [
            f"                   expected: protocol {BRIDGE_PROTOCOL:08x}",
            "                   got: protocol 9abcdef0",
        ]
        with pytest.raises(ArmError, match="speaks another protocol") as caught:
            drive(patient(ARM), port).start()
        assert caught.value.got == "protocol 9abcdef0"
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


_OTHER = """
import os, sys, time, select
from firmware_bridge._bridge import Hello, HelloReply, Parser, State, encode, serial_frame
master, parser, tick = int(sys.argv[1]), Parser(), 0
while True:
    tick += 4000
    os.write(master, serial_frame(encode(State(1, 0, 0, 0, tick, 0, 0, 0, 0, 0, (0,) * 6))))
    if select.select([master], [], [], 0.02)[0]:
        for message in parser.feed(os.read(master, 4096)):
            if isinstance(message, Hello):
                reply = HelloReply(6, 4000, 0, 7, protocol=0x9ABCDEF0, refusal=1)
                os.write(master, serial_frame(encode(reply)))
"""


def test_a_description_may_leave_the_rest_to_another(tmp_path: Path) -> None:
    arm, plain = load_description(SO101_BRIDGE), load_description(SO101)
    assert isinstance(arm.drive, BridgeDrive)
    assert (arm.name, arm.joints, arm.frames, arm.ready) == (plain.name, plain.joints, plain.frames, plain.ready)
    assert (arm.drive.servos, arm.drive.tick_us) == (plain.drive, 4000)
    assert len(load_calibration(calibrated(tmp_path), arm)) == 6
    (tmp_path / "a.json").write_text(json.dumps({"extends": str(SO101), "bridge": {"tick_us": 1999}}))
    with pytest.raises(ArmError, match=r"bridge\.tick_us"):
        load_description(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps({"extends": "a.json"}))
    with pytest.raises(ArmError, match="extends") as caught:
        load_description(tmp_path / "b.json")
    assert caught.value.expected == "a description that extends none"
    assert Arm(SO101).bridge_config is None
