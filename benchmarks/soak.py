"""Hours of tasks through `edge serve` on an emulated arm while things go wrong: does it last?

    python benchmarks/soak.py --out build/soak                two hours
    python benchmarks/soak.py --minutes 10                    a first look

Tasks come one after the other, as a person gives them (`edge task`), in random words, on a table that is set anew for
each. All the time a share of the bus's frames is damaged, dropped or doubled. Now and then something more happens
during a task: the cameras stand still, the bus is silent, somebody says stop, clients flood the socket, the arm faults
and is cleared. The simulator judges each task by where things are.

Written down every few seconds: the service's resident memory, descriptors and threads, the loop's lateness, the longest
time for which the watchdog was not fed. Memory growth is the slope of a straight line through the medians of every two
minutes after a quarter of the time, the first hour at most.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.soak_bench import Disturbance, ServiceBench
from benchmarks.soak_report import Done, Soak, draw, table
from learning.phrasings import phrase
from learning.sim.device import DeviceSpec, SimDevice
from learning.sim.scene import sample_scene
from learning.tasks import Task

NAMES = ("red cube", "green cube", "blue plate", "yellow plate")
FAULTS = ("flip=0.001", "drop=0.002", "duplicate=0.001", "truncate=0.001")
"""Of every frame on the bus, both ways; a second of tasks is about 3500 frames."""
DISTURBED = 0.4
"""Share of the tasks during which something more happens."""


def sample_task(rng: np.random.Generator) -> Task:
    """A task with the objects of the table, in random words."""
    kind = str(rng.choice(["put", "put", "stack", "swap"]))
    cubes = [name for name in NAMES if name.endswith("cube")]
    first = int(rng.integers(2))
    second = str(rng.choice(NAMES[2:])) if kind == "put" else cubes[1 - first]
    objects = (cubes[first], second)
    return Task(kind, objects, phrase(kind, objects, rng))


def soak(minutes: float, seed: int, faults: tuple[str, ...], disturbed: float, runs: Path | None) -> Soak:
    """Runs it; progress goes to stderr."""
    rng = np.random.default_rng(seed)
    result = Soak(minutes, seed, faults)
    with (
        SimDevice(DeviceSpec(sample_scene(rng, NAMES))) as machine,
        ServiceBench(machine, faults, seed, runs) as bench,
    ):
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            task = sample_task(rng)
            chance = rng.random()
            disturbance = Disturbance(rng.choice([d.value for d in Disturbance])) if chance < disturbed else None
            machine.begin(task, sample_scene(rng, NAMES).items)
            began = bench.seconds()
            reason = bench.do(task.text, disturbance, delay_s=float(rng.uniform(1.0, 6.0)))
            done = Done(began, bench.seconds(), task.kind, machine.judge(), reason, disturbance and disturbance.value)
            result.done.append(done)
            left = max(0.0, (end - time.monotonic()) / 60)
            verdict = f"{'done' if done.success else 'missed':<6} {done.disturbance or '':<8}"
            print(f"{left:6.1f} min left  {verdict} {task.text}: {reason.splitlines()[0]}", file=sys.stderr, flush=True)
        result.samples = bench.samples
        result.frames_hit = bench.frames_hit()
        result.unfed_s = bench.unfed_s
        result.restarts = bench.restarts
        result.faults_cleared = bench.faults_cleared
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0, metavar="M", help="(default: 120)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of tasks, tables and faults (default: 0)")
    parser.add_argument(
        "--fault", action="append", metavar="FAULT", help=f"on the bus; replaces {' '.join(FAULTS)} (repeatable)"
    )
    parser.add_argument(
        "--disturbed", type=float, default=DISTURBED, metavar="SHARE", help=f"of the tasks (default: {DISTURBED})"
    )
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep the run directories here")
    parser.add_argument("--out", type=Path, metavar="STEM", help="also write STEM.json and the picture STEM.svg")
    options = parser.parse_args()
    faults = FAULTS if options.fault is None else tuple(options.fault)
    result = soak(options.minutes, options.seed, faults, options.disturbed, options.runs)
    print("\n".join(table(result)))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_name(options.out.name + ".json").write_text(json.dumps(result.as_json(), indent=1) + "\n")
        draw(result, options.out.with_name(options.out.name + ".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
