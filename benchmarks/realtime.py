"""How late the control loop wakes, beside `cyclictest` and beside the same loop written in Python.

    python benchmarks/realtime.py --out build/realtime       10 minutes a phase, two loads: 1 h 40 min
    python benchmarks/realtime.py --python-minutes 2         the Python loops for less long: 1 h 10 min
    python benchmarks/realtime.py --minutes 0.2 --load idle  a first look

For each load, one after the other on the same core at the same priority: cyclictest, the driver's real-time thread,
cyclictest again, a careful Python loop, and a plain one (benchmarks/python_loop.py). All wake every millisecond and
note how late they are. The two cyclictests show how much the machine changes by itself; read the ratios against that.
They take turns in rounds, so that what the machine does in an hour falls on all of them alike.

What else runs is the same in every phase: an arm on an emulated servo bus is driven throughout, and follows chunks of
a scripted motion. Its bus, its bus thread and this program keep off the measured core. The phase only decides which
core the driver's own real-time thread is on: the measured one in its phase, else another one. Load `inference` adds
the reference bundle's planner and policy, without a pause, one process pinned to each core, the measured one included.

A machine that does other things measures those: see the columns "core busy" and "stolen" (by other virtual machines).
Needs Debian's rt-tests, the right to SCHED_FIFO, and two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.realtime_report import CAREFUL, FIRST, LOOP, PLAIN, SECOND, Core, Phase, as_json, draw, table
from benchmarks.scripted import PERIOD_NS, REPLAN_EVERY, Swing
from edge import _core
from edge.arm import SO101, load_description
from edge.errors import ArmError, ConfigError, EdgeError, LinkError
from firmware_bridge.emulators import BusProcess, KinematicServos
from learning.cyclictest import Cyclictest, Histogram

HERE = Path(__file__).resolve().parent
LOADS = {"idle": ("idle",), "inference": ("inference",), "both": ("idle", "inference")}
_SERVOS_S = 0.01
_PATIENCE_S = 180.0


class Rig:
    """An arm on its emulated bus that is driven all the time. Its processes and threads inherit this one's cores."""

    def __init__(self, priority: int, seed: int) -> None:
        self._arm, self._priority = _core.Arm(SO101), priority
        ready = np.array(load_description().ready)
        self._swing = Swing(seed, ready)
        self._bus = BusProcess(position=self._arm.to_ticks(ready).tolist())
        self._servos = KinematicServos(self._bus.block)

    @contextmanager
    def drive(self, cpu: int) -> Iterator[Driven]:
        """The arm is switched on and its loop runs on a core while the `with` block does."""
        loop = _core.ControlLoop(self._arm)
        driver = _core.Driver(loop, self._bus.port, priority=self._priority, cpu=cpu)
        _switch_on(driver)
        try:
            yield Driven(loop, driver, self._swing, self._servos)
        finally:
            driver.stop()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()


def _switch_on(driver: _core.Driver) -> None:
    """A pty's bytes go through a worker thread of the kernel, which a busy machine has been seen to keep waiting for
    50 s. The emulated bus is asked again for three minutes.
    """
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            driver.start()
            return
        except (ArmError, LinkError):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.25)


class Driven:
    """An arm that is on: somebody has to offer it chunks, and to move its servos."""

    def __init__(self, loop: _core.ControlLoop, driver: _core.Driver, swing: Swing, servos: KinematicServos) -> None:
        self._loop, self._driver, self._swing, self._servos = loop, driver, swing, servos
        self._restarts = 0

    def until(self, over: Callable[[], bool]) -> None:
        """Follows the motion."""
        stepped, offered = time.monotonic(), -math.inf
        while not over():
            time.sleep(_SERVOS_S)
            now = time.monotonic()
            self._servos.step(now - stepped)
            stepped = now
            if now - offered >= REPLAN_EVERY * PERIOD_NS * 1e-9:
                offered = now
                self._loop.offer(self._swing.chunk(time.monotonic_ns()))
                if self._loop.snapshot()["state"] == "fault":  # a loop that stands still would prove nothing
                    self._restarts += 1
                    self._loop.clear()
                    _switch_on(self._driver)

    def told(self) -> tuple[Histogram, Histogram, dict[str, int | str]]:
        """How late the loop woke in µs, what its steps took in ns, and what else it counted."""
        late, took, seen = self._driver.lateness(), self._driver.step_times(), self._driver.snapshot()
        counters = seen["counters"]
        more = {
            "deadlines missed": seen["deadline_misses"],
            "page faults": seen["page_faults"],
            "chunks taken": counters["chunks_taken"],
            "chunks refused": counters["chunks_refused"],
            "holds": sum(count for name, count in counters.items() if name.startswith("holds")),
            "restarts after a fault": self._restarts,
            "rights": seen["realtime"],
        }
        return counted(late, 1000, seen["lateness_max_ns"]), counted(took, 1, seen["step_max_ns"]), more


def counted(buckets: NDArray[np.void], unit_ns: int, longest_ns: int) -> Histogram:
    """The driver's buckets in whole units, rounded down as `cyclictest` does."""
    counts: dict[int, int] = {}
    for upper_ns, count in buckets.tolist():
        value = min(upper_ns, longest_ns) // unit_ns
        counts[value] = counts.get(value, 0) + count
    return Histogram(counts, longest_ns // unit_ns)


def busy(cpu: int) -> Callable[[], Core]:
    """Call the result to know what a core did since."""

    def ticks() -> np.ndarray:
        row = next(row for row in Path("/proc/stat").read_text().splitlines() if row.startswith(f"cpu{cpu} "))
        return np.array(row.split()[1:9], np.float64)  # user nice system idle iowait irq softirq steal

    before = ticks()

    def since() -> Core:
        spent = ticks() - before
        total = spent.sum()
        return Core(total, total - spent[3] - spent[4] - spent[7], spent[7])

    return since


@contextmanager
def inference(bundle: Path, cpus: Sequence[int]) -> Iterator[Callable[[], dict[str, int]]]:
    """Planner and policy on every core; gives a function that says how much they have done so far."""
    with ExitStack() as stack:
        workers = []
        for cpu in cpus:
            command = [sys.executable, str(HERE / "inference_load.py"), str(bundle), "--cpu", str(cpu)]
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(worker.wait)
            assert worker.stdin is not None
            stack.callback(worker.stdin.close)
            workers.append(worker)

        def done() -> dict[str, int]:
            answers = []
            for worker in workers:
                assert worker.stdin is not None
                assert worker.stdout is not None
                print(file=worker.stdin, flush=True)
                answer = worker.stdout.readline().split()
                if len(answer) != 2:
                    raise ConfigError("the inference load ended", got=f"status {worker.wait()}", fix="see its messages")
                answers.append([int(word) for word in answer])
            calls, chunks = np.sum(answers, axis=0).tolist()
            return {"planner calls": calls, "policy chunks": chunks}

        done()  # loaded, and working
        yield done


def measure(name: str, rig: Rig, cpu: int, others: Sequence[int], options: argparse.Namespace) -> Phase:
    """One phase: what `name` says on the measured core, the rig's loop elsewhere unless it is the loop's phase."""
    minutes = options.python_minutes if name in (CAREFUL, PLAIN) else options.minutes
    seconds = minutes * 60 / options.rounds
    with rig.drive(cpu if name == LOOP else others[-1]) as arm:
        core = busy(cpu)
        if name == LOOP:
            arm.until(after(seconds))
            latency, step, more = arm.told()
            return Phase(name, latency, core(), step, more)
        if name in (FIRST, SECOND):
            with Cyclictest(priority=options.priority, cpu=cpu) as test:
                arm.until(after(seconds))
            assert test.latency is not None
            return Phase(name, test.latency, core())
        command = [sys.executable, str(HERE / "python_loop.py"), f"--seconds={seconds}", f"--cpu={cpu}"]
        command += [f"--priority={options.priority}", f"--seed={options.seed}", *(["--plain"] if name == PLAIN else [])]
        with tempfile.TemporaryFile("w+") as answer, subprocess.Popen(command, stdout=answer) as python:
            arm.until(lambda: python.poll() is not None)
            if python.returncode != 0:
                raise ConfigError("the Python loop ended", got=f"status {python.returncode}", fix="see its messages")
            answer.seek(0)
            told = json.load(answer)
        latency = Histogram(dict(told["late_us"]), told["late_worst_us"])
        step = Histogram(dict(told["step_ns"]), told["step_worst_ns"])
        return Phase(name, latency, core(), step, {"refused": "; ".join(told["refused"])})


def after(seconds: float) -> Callable[[], bool]:
    """Whether so much time has passed since."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def measure_load(load: str, rig: Rig, cpu: int, others: Sequence[int], options: argparse.Namespace) -> list[Phase]:
    """All phases under one load."""
    phases: dict[str, Phase] = {}
    with ExitStack() as stack:
        done = stack.enter_context(inference(options.bundle, [cpu, *others])) if load == "inference" else dict[str, int]
        for turn, name in itertools.product(range(options.rounds), (FIRST, LOOP, SECOND, CAREFUL, PLAIN)):
            print(f"load {load}, round {turn + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
            before = done()
            phase = measure(name, rig, cpu, others, options)
            beside = {what: count - before[what] for what, count in done().items()}
            p999 = phase.latency.percentile(0.999)
            phase = replace(phase, more={**phase.more, **beside}, p999_us=(p999,))
            phases[name] = phases[name] + phase if name in phases else phase
    return list(phases.values())


def main(argv: Sequence[str] | None = None) -> int:
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="of each phase (default: 10)")
    parser.add_argument(
        "--python-minutes", type=float, metavar="M", help="of each phase that is a Python loop (default: as --minutes)"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="in which they take turns (default: 5)")
    parser.add_argument("--cpu", type=int, default=cores[-1], metavar="N", help="the measured core (default: the last)")
    parser.add_argument("--priority", type=int, default=80, metavar="P", help="SCHED_FIFO, 1 to 99 (default: 80)")
    parser.add_argument("--load", choices=LOADS, default="both", help="(default: both, one after the other)")
    parser.add_argument("--out", type=Path, metavar="STEM", help="also write STEM.json and the picture STEM.svg")
    parser.add_argument("--bundle", type=Path, default=HERE.parent / "models/reference", metavar="DIR", help="the load")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the motion (default: 0)")
    options = parser.parse_args(argv)
    if options.python_minutes is None:
        options.python_minutes = options.minutes
    cpu = options.cpu
    others = [core for core in cores if core != cpu]
    machine = {
        "kernel": f"{platform.release()} {platform.version()}",
        "processor": platform.machine(),
        "cores": len(cores),
        "python": platform.python_version(),
        "load average before": [round(load, 2) for load in os.getloadavg()],
        "begun": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    loads = {}
    try:
        if not others:
            got = f"--cpu {cpu} of {cores}"
            raise ConfigError("nothing is left for the rest", expected="a core beside the measured one", got=got)
        os.sched_setaffinity(0, others)
        with Rig(options.priority, options.seed) as rig:
            for load in LOADS[options.load]:
                loads[load] = measure_load(load, rig, cpu, others, options)
                print("\n".join(table(load, loads[load])), end="\n\n", flush=True)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    finally:
        os.sched_setaffinity(0, cores)
    if options.out is not None:
        settings = {
            name: getattr(options, name) for name in ("minutes", "python_minutes", "rounds", "cpu", "priority", "seed")
        }
        whole = {"machine": machine, "settings": settings, **{load: as_json(phases) for load, phases in loads.items()}}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_name(options.out.name + ".json").write_text(json.dumps(whole, indent=1) + "\n")
        title = f"1 kHz on core {cpu} at priority {options.priority}, {options.minutes:g} min each; {machine['kernel']}"
        draw(loads, title, options.out.with_name(options.out.name + ".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
