"""What benchmarks/process_faults.py injects into and judges by: a host, an emulated servo bus, bodies, and the wire."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge._core import Arm
from edge.arm import SO101, load_description
from firmware_bridge.emulators import BusProcess, KinematicServos
from tests.wire import Wire

ROOT = Path(__file__).resolve().parents[1]
STANDING = (2048, 1200, 2700, 2700, 2048, 2400)
PATIENCE_S, STEP_S = 60.0, 0.004
CARRIED_S = 0.1
"""What is on its way when something happens has arrived by then."""
WINDOW_S = 0.1
"""A joint's way between two goals is bounded by its speed over the time between them, and by this time at most."""


@dataclass
class Row:
    """What is counted of one fault, all of it on the wire.

    Attributes:
        outside: Goals beyond a joint's limits.
        jumps: Goals farther from the ones before than the joint can go in the time between.
        stale: Goals from before the stop, after it; or any, to an arm that nobody started anew.
        torque: Torque switched on or off by nobody's order.
        other: Times that host or arm did not end in the state that is promised.
        restarts: The host is started anew after it, from where the arm is by then.
    """

    fault: str
    promise: str
    injections: int = 0
    outside: int = 0
    jumps: int = 0
    stale: int = 0
    torque: int = 0
    other: int = 0
    restarts: bool = False

    @property
    def kept(self) -> bool:
        return not (self.outside or self.jumps or self.stale or self.torque or self.other)


class Bench:
    """A host, its servos and the bodies that they move.

    Args:
        root: A folder of its own.
        row: What is counted.
        environment: Variables for the host.
    """

    def __init__(self, root: Path, row: Row, environment: dict[str, str] | None = None) -> None:
        self.row = row
        self.wire, self._port = Wire(root / "wire"), root / "arm"
        self.frozen = False
        self._end = threading.Event()
        self.plug_in(STANDING)
        self._bodies = threading.Thread(target=self._move, daemon=True)
        self._bodies.start()
        command = [sys.executable, str(ROOT / "benchmarks" / "fault_host.py"), str(self._port)]
        pipe = subprocess.PIPE
        self.host = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **(environment or {})}
        )
        self._hear()
        self.until(lambda seen: seen["state"] == "running")

    def plug_in(self, position: Sequence[int]) -> None:
        self.bus = BusProcess(position=position, link=self._port, wiretap=self.wire.path)
        self._servos = KinematicServos(self.bus.block)

    def _move(self) -> None:
        while not self._end.wait(STEP_S):
            if not self.frozen:
                self._servos.step(STEP_S)

    def ask(self, order: str = "look") -> dict[str, Any]:
        assert self.host.stdin is not None
        self.host.stdin.write(order + "\n")
        self.host.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self.host.stdout is not None
        line = self.host.stdout.readline()
        if not line:
            raise OSError(f"the host ended with status {self.host.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What the host says once it is so.

        Raises:
            TimeoutError: It never is.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not condition(seen := self.ask()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.row.fault}: the host still says {seen}")
            time.sleep(0.02)
        return seen

    def heard(self, count: int, since_ns: int) -> NDArray[np.int64]:
        """Goals (n, 6) since then, at least so many."""
        self.until(lambda _: len(self.wire.goals(since_ns)) >= count)
        return self.wire.goals(since_ns)

    def resting(self, goals: NDArray[np.int64], rest: Sequence[int]) -> None:
        self.row.stale += int(np.any(goals != rest, axis=1).sum())

    def promised(self, holds: bool) -> None:
        self.row.other += not holds

    def swings_again(self) -> None:
        """Started by order: from where the arm is."""
        since, here = time.monotonic_ns(), self.bus.block.position.copy()
        self.ask("again")
        first = self.heard(1, since)[0]
        self.row.jumps += bool(np.any(np.abs(first - here) > 10))
        self.until(lambda seen: seen["state"] == "running")

    def close(self) -> None:
        """Ends all of it, then judges what was heard from beginning to end."""
        self.host.kill()
        self.host.communicate()
        self.bus.close()
        self._end.set()
        self._bodies.join()


class Judge:
    """The envelope of the arm, in ticks."""

    def __init__(self) -> None:
        arm = Arm(SO101)
        self._ends = np.sort([arm.to_ticks(arm.lower), arm.to_ticks(arm.upper)], axis=0)
        per_unit = np.abs(np.diff(self._ends, axis=0)[0]) / (np.array(arm.upper) - arm.lower)
        self._speed = per_unit * [joint.max_velocity for joint in load_description().joints]

    def count(self, wire: Wire, row: Row) -> None:
        """Every goal that the servos decoded, and every order about torque."""
        timed = wire.timed_goals()
        for before, now in itertools.pairwise(timed):
            apart_s = (now[0] - before[0]) * 1e-9
            # What comes in one piece was buffered on its way: nobody knows the times between.
            seconds = WINDOW_S if apart_s == 0 else min(apart_s, WINDOW_S) + 0.02
            if row.restarts and apart_s > CARRIED_S:
                continue  # a new start, from where the arm is by then
            row.jumps += bool(np.any(np.abs(now[1] - before[1]) > self._speed * seconds + 2))
        goals = np.array([goal for _, goal in timed]).reshape(-1, 6)
        row.torque += wire.torque().count(0)  # the host is never told to stop
        row.outside += int(np.any((goals < self._ends[0] - 1) | (goals > self._ends[1] + 1), axis=1).sum())
