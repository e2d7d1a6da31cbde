"""Faults of processes, ports and clocks with `edge run` behind the microcontroller: rows of process_faults.py."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.controller_bench import EXPIRED, RUNNING, ControllerBench, ControllerRow, Setting, VoidError
from benchmarks.fault_bench import ROOT, STANDING, Judge
from benchmarks.fault_policy import still_bundle
from edge.arm import load_description
from firmware_bridge.emulators import build_host_firmware

STOP, FEEDBACK, DRIVE, TRACKING, RESET = 0x01, 0x08, 0x10, 0x40, 0x100
OVERLOAD = 0x20
FAR_OUT = 220
"""Ticks from the middle of the swing: it goes 260."""
TRIES = 5
"""Of one injection on a machine too busy for the arm to run."""


def run_killed(bench: ControllerBench) -> None:
    bench.run.kill()
    bench.run.wait()
    bench.stops(EXPIRED)
    bench.quiet()
    bench.promised(bool(np.all(bench.bus.block.torque == 1)))
    bench.starts_again()


def run_stopped(bench: ControllerBench) -> None:
    """Longer than the microcontroller waits; what it commands when it goes on counts for nothing."""
    bench.run.send_signal(signal.SIGSTOP)
    bench.stops(EXPIRED)
    since = time.monotonic_ns()
    bench.quiet()
    bench.run.send_signal(signal.SIGCONT)
    bench.ends("the arm stopped", "no command in time")
    bench.count_told(since)


def policy_hangs(bench: ControllerBench) -> None:
    bench.order("hang")
    bench.until(lambda: _rests(bench), "the arm rests")
    bench.promised(bench.state.arm == RUNNING)
    bench.order("go")
    bench.until(lambda: not _rests(bench), "the arm swings again")


def policy_ends(bench: ControllerBench) -> None:
    bench.order("raise")
    bench.until(lambda: bench.run.poll() is not None, "edge run ends")
    bench.until(lambda: not np.any(bench.bus.block.torque), "torque is off")
    goals = bench.wire.goals()
    bench.promised(bool(np.all(np.abs(goals[-1] - goals[-2]) <= 1)))  # it had come to rest
    bench.quiet()


def descriptor_lost(bench: ControllerBench) -> None:
    bench.order("lose")
    bench.stops(EXPIRED)
    since = time.monotonic_ns()
    bench.ends("link lost")
    bench.count_told(since)


def adapter_unplugged(bench: ControllerBench) -> None:
    bench.adapter.unplug()
    bench.stops(EXPIRED)
    since = time.monotonic_ns()
    bench.adapter.plug_in()
    bench.ends("link lost")
    bench.quiet()
    bench.count_told(since)
    bench.starts_again()


def adapter_hangs(bench: ControllerBench) -> None:
    """It carries nothing, and then everything that has waited."""
    bench.adapter.hangs = True
    bench.stops(EXPIRED)
    since = time.monotonic_ns()
    bench.adapter.hangs = False
    bench.ends("the arm stopped")
    bench.quiet()
    bench.count_told(since)


def controller_reset(bench: ControllerBench) -> None:
    since = time.monotonic_ns()
    bench.firmware.press(b"H")
    bench.until(lambda: bench.state.faults & RESET, "its watchdog restarts it")
    after = bench.adapter.states[-1][0]
    bench.promised(bench.state.session == 0)
    bench.ends("the arm stopped")
    bench.quiet()
    bench.count_told(after)
    bench.promised(bool(np.all(bench.bus.block.torque == 1)) and since < after)
    bench.starts_again()


def controller_dead(bench: ControllerBench) -> None:
    """Its power is gone; the servos have theirs."""
    bench.firmware.kill()
    time.sleep(0.1)
    since = time.monotonic_ns()
    bench.ends("the arm stopped", "the microcontroller is silent")
    bench.count_told(since)
    bench.promised(bool(np.all(bench.bus.block.torque == 1)))


def emergency_stop(bench: ControllerBench) -> None:
    bench.firmware.press(b"S")
    bench.stops(STOP)
    since = time.monotonic_ns()
    bench.quiet()
    bench.ends("emergency stop")
    bench.count_told(since)
    bench.firmware.press(b"R")
    bench.quiet()
    bench.starts_again()


def servo_silent(bench: ControllerBench) -> None:
    bench.bus.block.silent[2] = 1
    bench.stops(FEEDBACK)
    since = time.monotonic_ns()
    bench.ends("elbow_flex")
    bench.count_told(since)


def servo_overloaded(bench: ControllerBench) -> None:
    bench.bus.block.status[2] = OVERLOAD
    bench.stops(DRIVE)
    since = time.monotonic_ns()
    bench.ends("the arm stopped")
    bench.count_told(since)


def feedback_stale(bench: ControllerBench) -> None:
    """Every servo goes on saying where it was, at one end of the swing: half a radian from the other."""
    bench.until(lambda: bench.bus.block.position[0] > STANDING[0] + FAR_OUT, "the arm is at one end")
    bench.frozen = True
    bench.stops(TRACKING)
    since = time.monotonic_ns()
    bench.ends("the arm stopped")
    bench.count_told(since)


def clock_set(bench: ControllerBench) -> None:
    since = time.monotonic_ns()
    bench.until(lambda: len(bench.wire.goals(since)) > 300, "goals are said")
    bench.promised(bench.state.arm == RUNNING and not bench.state.faults)


def other_configuration(bench: ControllerBench) -> None:
    bench.run.send_signal(signal.SIGINT)
    bench.until(lambda: bench.run.poll() is not None, "edge run ends")
    rows = {
        joint.name: {"id": joint.servo_id, "drive_mode": 0, "homing_offset": 0, "range_min": 700, "range_max": 3300}
        for joint in load_description().joints
    }
    file = Path(bench.wire.path).with_name("calibration.json")
    file.write_text(json.dumps(rows), encoding="utf-8")
    bench.quiet()
    since = time.monotonic_ns()
    bench.launch("--calibration", str(file))
    bench.ends("was built for another arm or calibration")
    bench.quiet()
    bench.count_told(since)


def _rests(bench: ControllerBench) -> bool:
    goals = bench.wire.goals()[-50:]
    return bool(np.all(goals == goals[0]))


FAULTS: dict[str, tuple[Callable[[ControllerBench], None], str]] = {
    "run killed": (run_killed, "brake, rest, torque on; armed only by the next run, from where it is"),
    "run stopped, and goes on": (run_stopped, "the same; what it says afterwards is refused, and it ends"),
    "policy hangs": (policy_hangs, "its chunk, rest, still armed; and the next chunk that comes"),
    "policy's thread ends": (policy_ends, "rest, then torque off; the run ends"),
    "port's descriptor lost": (descriptor_lost, "brake, rest; the run ends: link lost"),
    "adapter unplugged, plugged in": (adapter_unplugged, "the same; armed only by the next run"),
    "adapter hangs, hands all on": (adapter_hangs, "brake, rest; nothing of what had waited counts"),
    "microcontroller hangs, is reset": (controller_reset, "the last goal; nothing is told after the reset"),
    "microcontroller dead": (controller_dead, "the last goal; the run ends"),
    "emergency stop": (emergency_stop, "brake, rest; armed only by the next run"),
    "silent servo": (servo_silent, "brake, rest; the run ends and names it"),
    "overload status": (servo_overloaded, "brake, rest; the run ends"),
    "feedback frozen": (feedback_stale, "brake, rest: too far from the goal; the run ends"),
    "wall clock set by 2 h, 4 a second": (clock_set, "nothing changes"),
    "wrong calibration": (other_configuration, "refused with both hashes; nothing is told"),
}
RESTARTS = {"run killed", "adapter unplugged, plugged in", "microcontroller hangs, is reset", "emergency stop"}


@contextmanager
def setting(root: Path) -> Iterator[Setting]:
    """Firmware, bundle and camera for any number of rows."""
    sys.path.insert(0, str(ROOT / "tests"))
    from tests.test_cameras import Server

    camera = Server()
    try:
        yield Setting(build_host_firmware(root), still_bundle(root), camera.url)
    finally:
        camera.hang_up.set()
        camera.shutdown()
        camera.server_close()


def inject(fault: str, repeat: int, root: Path, made: Setting, clock: Path) -> ControllerRow:
    """One row: so many times, each on an arm of its own."""
    work, promise = FAULTS[fault]
    row, judge = ControllerRow(fault, promise, restarts=fault in RESTARTS), Judge()
    environment = {"LD_PRELOAD": str(clock)} if work is clock_set else None
    tries = 0
    while row.injections < repeat:
        bench = ControllerBench(Path(tempfile.mkdtemp(dir=root)), row, made, environment)
        try:
            bench.launch()
            bench.moving()
        except VoidError as problem:
            tries += 1
            row.void += 1
            if tries == TRIES:
                raise TimeoutError(f"{fault}: the arm does not come to run: {problem}") from None
            continue
        else:
            tries = 0
            row.injections += 1
            try:
                work(bench)
            except TimeoutError as problem:
                row.other += 1
                print(f"{problem}; {bench.state}", file=sys.stderr)
        finally:
            bench.close()
        judge.count(bench.wire, row)
    return row
