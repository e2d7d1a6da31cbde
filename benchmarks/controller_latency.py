"""From the loop's command to the goal on the servos' wire: a direct bus, and through the microcontroller.

    python benchmarks/controller_latency.py --seconds 20

`edge run` swings an arm (benchmarks/fault_run.py). When the loop commanded a position is in the run's log; when the
emulated servos heard it is in the wiretap. Both are this machine's monotonic clock. The firmware is the host's build:
its two serial lines, 0.83 ms for a command and 0.31 ms for six goals at 1 Mbps, are ptys here and cost nothing.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.controller_bench import SETTINGS, TASK, Setting
from benchmarks.controller_faults import setting
from benchmarks.fault_bench import ROOT, STANDING, STEP_S
from edge._core import Arm
from edge.arm import SO101, SO101_BRIDGE
from firmware_bridge.emulators import BusProcess, HostFirmware, KinematicServos
from tests.wire import Wire

AHEAD_S, BEHIND_S = 0.005, 0.2
"""Where a goal's command is looked for, before the goal."""
FAST = 0.3
"""rad/s: a slower command is the same encoder tick for too long to tell when it was made."""


@contextmanager
def servos(wire: Path) -> Iterator[BusProcess]:
    """Servos that move."""
    end = threading.Event()
    with BusProcess(position=STANDING, holding=STANDING, wiretap=wire) as bus:
        bodies = KinematicServos(bus.block)

        def move() -> None:
            while not end.wait(STEP_S):
                bodies.step(STEP_S)

        mover = threading.Thread(target=move)
        mover.start()
        try:
            yield bus
        finally:
            end.set()
            mover.join()


def delays_ms(
    commands: tuple[NDArray[np.int64], NDArray[np.float64]], goals: Sequence[tuple[int, float]]
) -> NDArray[np.float64]:
    """How long before each goal the loop was where it says, in milliseconds.

    Args:
        commands: Times (n,) in ns and positions (n,) in ticks of one joint.
        goals: Time in ns and position in ticks; what was not commanded while the joint was fast is left out.
    """
    times, positions = commands
    found = []
    for at, goal in goals:
        first, last = np.searchsorted(times, [at - round(BEHIND_S * 1e9), at + round(AHEAD_S * 1e9)])
        part, when = positions[first:last], times[first:last]
        if len(part) < 3 or np.any(np.diff(part) == 0) or len({*np.sign(np.diff(part)).tolist()}) != 1:
            continue  # it turned
        order = np.argsort(part)
        if part[order[0]] <= goal <= part[order[-1]]:
            found.append((at - np.interp(goal, part[order], when[order])) / 1e6)
    return np.array(found)


def measure(made: Setting, root: Path, seconds: float, grace_ms: int | None) -> NDArray[np.float64]:
    """Delays in milliseconds; `grace_ms` None: on a direct bus."""
    wire, config = Wire(root / "wire"), root / "arm.toml"
    config.write_text(SETTINGS, encoding="utf-8")
    with servos(wire.path) as bus:
        firmware = None if grace_ms is None else HostFirmware(made.program, bus.port, grace_ms)
        port, arm = (bus.port, SO101) if firmware is None else (firmware.port, SO101_BRIDGE)
        command = [sys.executable, str(ROOT / "benchmarks/fault_run.py"), "run", "--bundle", str(made.bundle)]
        command += ["--config", str(config), "--arm", str(arm), "--port", port, "--front", made.camera]
        command += ["--task", TASK, "--no-video", "--runs", str(root / "runs")]
        run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        while run.poll() is None and len(np.unique(wire.goals()[:, 0])) < 20:
            time.sleep(0.1)
        time.sleep(seconds)
        run.send_signal(signal.SIGINT)
        run.communicate()
        if firmware is not None:
            firmware.close()
    (log,) = root.glob("runs/*/joints.npz")
    with np.load(log) as motion:
        times, commanded = motion["time_ns"], motion["commanded"]
    model = Arm(SO101)
    zero, one = model.to_ticks(np.zeros(6))[0], model.to_ticks(np.eye(6)[0])[0]
    per_rad = (one - zero) / 1.0
    positions = zero + per_rad * commanded[:, 0]
    fast = FAST * abs(per_rad)
    speed = np.abs(np.gradient(positions, times / 1e9))
    goals = [(at, float(goal[0])) for at, goal in wire.timed_goals()]
    near = [speed[min(np.searchsorted(times, at), len(times) - 1)] > fast for at, _ in goals]
    return delays_ms((times, positions), [goal for goal, good in zip(goals, near, strict=True) if good])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each (default: 20)")
    parser.add_argument("--grace", type=int, default=400, metavar="MS", help="of the firmware (default: 400)")
    options = parser.parse_args(arguments)
    print("| | p50 ms | p99 ms | worst ms | n |\n|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder, setting(Path(folder)) as made:
        for name, grace_ms in (("direct bus", None), ("microcontroller", options.grace)):
            root = Path(tempfile.mkdtemp(dir=folder))
            found = measure(made, root, options.seconds, grace_ms)
            if not len(found):
                print(f"| {name} | | | | 0 |", flush=True)
                continue
            p50, p99 = np.percentile(found, [50, 99])
            print(f"| {name} | {p50:.1f} | {p99:.1f} | {found.max():.1f} | {len(found)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
