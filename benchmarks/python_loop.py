"""A control loop in Python, written with care, to compare the native one with: what it costs to stay in one language.

    python benchmarks/python_loop.py --seconds 10 --cpu 1 --priority 80
    python benchmarks/python_loop.py --seconds 10 --cpu 1 --plain

With care: absolute deadlines, SCHED_FIFO, locked memory, cores kept awake, no garbage collection, nothing allocated
that can be avoided. Plain: under the default scheduler, each cycle sleeps for what is left of its period. Both do the
same step as far as it goes in numpy: the chunk's target for this moment, interpolated, then kept within the joint's
velocity and position. No acceleration limit, no states, no feedback, no watchdog: the native step does more.

Prints one line of JSON, which benchmarks/realtime.py reads.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import time
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.scripted import HORIZON, PERIOD_NS, REPLAN_EVERY, Swing
from edge.arm import load_description

STEP_NS = 1_000_000
_STEP_BIN_NS = 50
_MLOCK_ALL = 3  # present and future pages


class Step:
    """Follows the chunks of a scripted motion within velocity and position limits."""

    def __init__(self, seed: int) -> None:
        arm = load_description()
        self._swing = Swing(seed, np.array(arm.ready))
        self._lower = np.array([0.0 if joint.normalised else joint.lower for joint in arm.joints])
        self._upper = np.array([1.0 if joint.normalised else joint.upper for joint in arm.joints])
        self._farthest = np.array([joint.max_velocity for joint in arm.joints]) * STEP_NS * 1e-9
        self._take(time.monotonic_ns())
        self.command = self._targets[0].copy()
        self._moved = np.empty_like(self.command)

    def _take(self, now_ns: int) -> None:
        self._start_ns, self._targets = now_ns, self._swing.chunk(now_ns).joints

    def __call__(self, now_ns: int) -> None:
        if now_ns - self._start_ns >= REPLAN_EVERY * PERIOD_NS:
            self._take(now_ns)
        place = max(0.0, (now_ns - self._start_ns) / PERIOD_NS - 1)
        knot = min(int(place), HORIZON - 2)
        before, after, moved = self._targets[knot], self._targets[knot + 1], self._moved
        np.subtract(after, before, out=moved)
        np.multiply(moved, place - knot, out=moved)
        np.add(moved, before, out=moved)
        np.subtract(moved, self.command, out=moved)
        np.minimum(moved, self._farthest, out=moved)
        np.maximum(moved, -self._farthest, out=moved)
        np.add(self.command, moved, out=self.command)
        np.minimum(self.command, self._upper, out=self.command)
        np.maximum(self.command, self._lower, out=self.command)


class Times:
    """How late each cycle woke and how long its step took, nanoseconds; memory is there beforehand."""

    def __init__(self, cycles: int) -> None:
        self.late, self.took = (array("q", bytes(8 * cycles)) for _ in range(2))
        self.n = 0

    def add(self, late: int, took: int) -> None:
        if self.n < len(self.late):
            self.late[self.n], self.took[self.n] = late, took
            self.n += 1

    def summary(self) -> dict[str, object]:
        """Both as pairs of a duration and how often it was seen, and the longest."""
        late = np.maximum(np.array(self.late[: self.n]), 0) // 1000
        took = np.array(self.took[: self.n])
        return {
            "late_us": counted(late),
            "late_worst_us": int(late.max()),
            "step_ns": counted(took // _STEP_BIN_NS * _STEP_BIN_NS),
            "step_worst_ns": int(took.max()),
        }


def counted(values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Each value once, and how often it is there."""
    distinct, counts = np.unique(values, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


def careful(step: Step, end_ns: int, times: Times) -> None:
    """Deadlines of a fixed grid; those that were missed are left out, as the native loop does."""
    gc.collect()
    gc.freeze()
    gc.disable()
    now_ns = time.monotonic_ns
    deadline = now_ns() + STEP_NS
    while deadline < end_ns:
        time.sleep(max(0, deadline - now_ns()) * 1e-9)
        woke = now_ns()
        late = woke - deadline
        if late > STEP_NS:
            deadline += late // STEP_NS * STEP_NS
        step(deadline)
        times.add(late, now_ns() - woke)
        deadline += STEP_NS


def plain(step: Step, end_ns: int, times: Times) -> None:
    """A cycle is late by what it took beyond its period, since there is no grid that it keeps to."""
    begin = time.monotonic_ns()
    while begin < end_ns:
        step(begin)
        took = time.monotonic_ns() - begin
        time.sleep(max(0, STEP_NS - took) * 1e-9)
        now = time.monotonic_ns()
        times.add(now - begin - STEP_NS, took)
        begin = now


def ask_for_rights(priority: int) -> list[str]:
    """Everything the native loop asks for; returns what was refused. `/dev/cpu_dma_latency` stays open to the end."""
    refused = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        refused.append(f"SCHED_FIFO {priority}: {error}")
    if ctypes.CDLL(None, use_errno=True).mlockall(_MLOCK_ALL) != 0:
        refused.append(f"mlockall: {os.strerror(ctypes.get_errno())}")
    try:
        os.write(os.open("/dev/cpu_dma_latency", os.O_WRONLY), bytes(4))
    except OSError as error:
        refused.append(f"cpu_dma_latency: {error}")
    return refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the core (default: the last)")
    parser.add_argument("--priority", type=int, default=80, help="SCHED_FIFO; not with --plain (default: 80)")
    parser.add_argument("--plain", action="store_true", help="without the care")
    parser.add_argument("--seed", type=int, default=0, help="of the motion")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.cpu})
    step, times = Step(options.seed), Times(round(options.seconds * 1e9 / STEP_NS) + 1000)
    refused = [] if options.plain else ask_for_rights(options.priority)
    (plain if options.plain else careful)(step, time.monotonic_ns() + round(options.seconds * 1e9), times)
    print(json.dumps({**times.summary(), "refused": refused}))


if __name__ == "__main__":
    main()
