"""`python -m learning.demo`: `edge run` on an emulated machine, through port and cameras, and the simulator's verdict.

`edge run` is a process of its own that knows nothing of the simulation; the judge looks only at where things are. With
--microcontroller the firmware, built for this machine, stands between it and the servos.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.arm import SO101_BRIDGE
from edge.errors import EdgeError
from edge.report.directory import report
from edge.run_log import LOG, RunLog
from firmware_bridge.emulators import HostFirmware, build_host_firmware
from learning.arguments import check_least
from learning.asked import read_task, scene_for
from learning.cyclictest import Cyclictest
from learning.intervals import wilson
from learning.sim.device import DeviceSpec, SimDevice

TASKS = ("put the red cube on the blue plate", "swap the red cube and the green cube")
SETTLE_S = 0.5
GRACE_MS = 400

Microcontroller = tuple[Path, int]
"""The firmware's program, and its grace in milliseconds."""


@dataclass(frozen=True)
class Trial:
    """One run and what came of it. `run` is its directory, None if it left none."""

    task: str
    seed: int
    status: int
    done: bool
    slipped_s: float
    run: Path | None


def try_task(
    text: str, seed: int, runs: Path, options: Sequence[str] = (), firmware: Microcontroller | None = None
) -> Trial:
    """Sets the table for a task, lets `edge run` do it, and asks the judge.

    Args:
        text: What the person wants, in words.
        seed: Of the scene.
        runs: Where the run directory goes.
        options: More options of `edge run`.
        firmware: What to put between `edge run` and the servos; None: a direct bus.

    Raises:
        TaskError: The judge cannot tell what the task is.
        OSError: The emulated machine did not come up.
    """
    task = read_task(text)
    before = _directories(runs)
    with ExitStack() as stack:
        machine = stack.enter_context(SimDevice(DeviceSpec(scene_for(task, np.random.default_rng(seed)), task)))
        port, arm = machine.port, []
        if firmware is not None:
            program, grace_ms = firmware
            port, arm = stack.enter_context(HostFirmware(program, port, grace_ms)).port, ["--arm", str(SO101_BRIDGE)]
        command = [sys.executable, "-m", "edge.cli", "run", "--task", text, "--port", port, "--runs", str(runs), *arm]
        command += [f"--{name}={address}" for name, address in machine.cameras.items()]
        if task.kind == "pick":  # "hold the red cube" is done while it is held
            command.append("--keep-torque")
        status = subprocess.run([*command, *options], check=False).returncode
        time.sleep(SETTLE_S)
        done, seen = machine.judge(), machine.state()
    made = sorted(_directories(runs) - before)
    trial = Trial(text, seed, status, done, seen["slipped_s"], made[-1] if made else None)
    if trial.run is not None:
        with RunLog(trial.run) as log:
            log.write("verdict", text="done" if done else "not done", by="simulator", seed=seed, objects=seen["items"])
    return trial


def main(argv: Sequence[str] | None = None) -> int:
    """Does the tasks; exit status 0 only if the simulator says that every one of them was done."""
    parser = argparse.ArgumentParser(prog="python -m learning.demo", description=__doc__)
    parser.add_argument("--task", metavar="TEXT", help=f"one task instead of the two: {'; '.join(TASKS)}")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the scene (default: 1)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="do each task on N seeds from --seed on")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="run directories (default: runs)"
    )
    parser.add_argument(
        "--cyclictest", action="store_true", help="measure the machine's own latency beside it (rt-tests)"
    )
    parser.add_argument("--bundle", metavar="DIR", help="what to run (default: models/reference)")
    parser.add_argument("--config", metavar="FILE", help="configuration of `edge run`")
    parser.add_argument(
        "--microcontroller",
        type=int,
        nargs="?",
        const=GRACE_MS,
        metavar="GRACE_MS",
        help="the firmware, built for this machine, drives the servos; its clock waits so long for processes that a "
        f"busy machine keeps from their turn (default: {GRACE_MS}; 0: it is the machine's clock)",
    )
    arguments = parser.parse_args(argv)
    check_least(parser, arguments, seed=0, repeat=1)
    given = (("--bundle", arguments.bundle), ("--config", arguments.config))
    options = [word for name, value in given if value for word in (name, value)]
    try:
        beside = Cyclictest() if arguments.cyclictest else None
        with beside or nullcontext(), tempfile.TemporaryDirectory() as folder:
            grace_ms: int | None = arguments.microcontroller
            firmware = None if grace_ms is None else (build_host_firmware(Path(folder)), grace_ms)
            trials = list(_trials(arguments, options, firmware))
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print()
    for line in verdict(trials):
        print(line)
    if beside is not None and (own := beside.latency) is not None:
        print(f"cyclictest beside it: {own.p99:.0f} µs (p99), {own.worst:.0f} µs (once), n = {own.n}")
    return 0 if all(trial.done and trial.status == 0 for trial in trials) else 1


def _trials(arguments: argparse.Namespace, options: Sequence[str], firmware: Microcontroller | None) -> Iterator[Trial]:
    for text in [arguments.task] if arguments.task else TASKS:
        for seed in range(arguments.seed, arguments.seed + arguments.repeat):
            print(f"\n— {text} (seed {seed})", flush=True)
            trial = try_task(text, seed, arguments.runs, options, firmware)
            print(f"simulator {'done' if trial.done else 'NOT done'}", flush=True)
            yield trial


def verdict(trials: Sequence[Trial]) -> list[str]:
    """What the simulator judged, run by run, and the rates where there are several."""
    rows = []
    for trial in trials:
        judged = "done    " if trial.done else "NOT done"
        rows.append(f"{judged}  {trial.task} (seed {trial.seed}, edge run: {trial.status})  {trial.run or ''}")
    if len(trials) > 2:
        for text in dict.fromkeys(trial.task for trial in trials):
            mine = [trial.done for trial in trials if trial.task == text]
            low, high = wilson(sum(mine), len(mine))
            rows.append(f"{sum(mine)}/{len(mine)} done ({low:.2f}–{high:.2f})  {text}")
        late = [_late_us(trial.run) for trial in trials if trial.run is not None]
        if late:
            p99, worst = (max(figures) for figures in zip(*late, strict=True))
            rows.append(f"control loop late at most {p99:.0f} µs (p99 of a run), {worst:.0f} µs (once)")
        rows.append(f"simulated time lost to load: {sum(trial.slipped_s for trial in trials):.2f} s")
    return rows


def _late_us(run: Path) -> tuple[float, float]:
    loop = report(run, picture=False).loop
    return loop.get("late_us", float("nan")), loop.get("late_max_us", float("nan"))


def _directories(runs: Path) -> set[Path]:
    return {path.parent for path in runs.glob(f"*/{LOG}")}


if __name__ == "__main__":
    sys.exit(main())
