"""What the servos hear when the computer in front of the microcontroller is killed, or stopped and goes on later.

The 20 ms after which the firmware brakes are counted in its own time (tests/firmware/test_stop.c); here it is a process
like the others on a busy machine, and only what is said is judged.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from wire import GOAL_POSITION, SYNC_READ, SYNC_WRITE, TORQUE_ENABLE, Wire

from edge.arm import SO101
from firmware_bridge.arm_table import arm_table
from firmware_bridge.emulators.host_firmware import build_host_firmware
from hil import backends
from hil.computer import BUSY, EXPIRED, NOT_ARMED, STOPPED, Computer

HERE = Path(__file__).resolve().parent
REST_FRAMES = 30


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")


def told(wire: Wire) -> list[tuple[int, int]]:
    """When, and which register: everything about torque and motion that was said to the servos."""
    return [
        (time_ns, frame.params[0])
        for time_ns, frame in wire.frames()
        if frame.code == SYNC_WRITE and frame.params[0] >= TORQUE_ENABLE
    ]


def asked(wire: Wire, since_ns: int) -> int:
    """How often the servos were asked where they are."""
    return sum(frame.code == SYNC_READ and time_ns > since_ns for time_ns, frame in wire.frames())


def quiet(wire: Wire) -> None:
    """For many ticks the servos are asked, and told nothing."""
    since = time.monotonic_ns()
    until(lambda: asked(wire, since) > 100)
    assert [register for time_ns, register in told(wire) if time_ns > since] == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_arm_brakes_stays_on_and_hears_nothing_more(how: signal.Signals, tmp_path: Path) -> None:
    table = arm_table(json.loads(SO101.read_text("utf-8")))
    wire = Wire(tmp_path / "wire")
    program = build_host_firmware(tmp_path)
    with backends.emulated_servos(wire.path) as servos, backends.host(program, servos) as (_, port):
        licence = tmp_path / "may arm"
        licence.touch()
        worker = subprocess.Popen([sys.executable, str(HERE / "swinging_computer.py"), port, licence])
        try:
            until(lambda: len(np.unique(wire.goals()[:, 0])) > 20)
            licence.unlink()
            worker.send_signal(how)
            # Braking ends: from then on the servos are only asked.
            until(lambda: asked(wire, told(wire)[-1][0]) > REST_FRAMES)
            quiet(wire)
            goals = wire.goals()
            most = [joint.travel // 2 + 1 for joint in table.joints]
            assert np.all(np.abs(np.diff(goals[-50:], axis=0)) <= most)
            assert np.all(np.abs(goals[-1] - goals[-2]) <= 1)  # slowly to its end
            assert np.all(servos.block.torque == 1)
            if how == signal.SIGSTOP:
                worker.send_signal(signal.SIGCONT)
                quiet(wire)  # whatever it goes on to command
                assert worker.poll() is None
        finally:
            worker.kill()
            worker.wait()
        after = Computer(port, table)
        state = after.next_state()
        assert state.arm == STOPPED
        assert state.faults & EXPIRED
        assert state.faults & ~BUSY == 0
        after.hello()
        after.wait(lambda state: state.refusal == NOT_ARMED, lambda: after.command(list(after.state.positions)))
        quiet(wire)
        here = servos.block.position.copy()
        before = len(wire.goals())
        after.arm(lambda: len(wire.goals()) > before)
        assert np.all(np.abs(wire.goals()[before] - here) <= 2)  # from where it is
        after.close()
        assert GOAL_POSITION in {register for _, register in told(wire)}
