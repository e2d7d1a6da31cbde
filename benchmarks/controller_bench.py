"""What controller_faults.py injects into: `edge run`, an adapter, the host-built firmware, emulated servos."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_adapter import Adapter
from benchmarks.fault_bench import PATIENCE_S, ROOT, STANDING, STEP_S, Row
from edge.arm import SO101_BRIDGE
from firmware_bridge._bridge import Clear, Release, State
from firmware_bridge.emulators import BusProcess, HostFirmware, KinematicServos
from tests.wire import SYNC_READ, SYNC_WRITE, TORQUE_ENABLE, Wire

READY, RUNNING, BRAKING, STOPPED = 2, 3, 4, 5
EXPIRED = 0x02
GRACE_MS = 3000
"""That the firmware's clock waits for processes of a busy machine: what counts is its own time."""
STOP_TICKS = 5
QUIET_ASKS, SETTLED_ASKS = 60, 30
"""How often the servos are asked and told nothing: then the arm is quiet; then the brake is over."""
SETTINGS = "[budgets]\ntask_s = 600\n[cameras]\nstale_ms = 5000\ngone_s = 60\n[loop]\nwatchdog_ms = 2000\n"
TASK = "put the red cube on the blue plate"


class VoidError(Exception):
    """The machine was too busy for the arm to run until something could be injected."""


@dataclass
class ControllerRow(Row):
    """A row behind the microcontroller.

    Attributes:
        late: Stops after silence more than 20 ms of the firmware's time, five of its ticks, after the last order.
        ticks: The most of those ticks.
        void: Tries that ended before anything was injected; not among the injections.
    """

    late: int = 0
    ticks: int = 0
    void: int = 0

    @property
    def kept(self) -> bool:
        return super().kept and not self.late


@dataclass(frozen=True)
class Setting:
    """What all benches share: the firmware's program, the bundle, a camera's address."""

    program: Path
    bundle: Path
    camera: str


class ControllerBench:
    """An arm behind a microcontroller, and an `edge run` that swings it.

    Args:
        root: A folder of its own.
        row: What is counted.
        setting: What it is made of.
        environment: Variables for `edge run` and firmware.
    """

    def __init__(
        self, root: Path, row: ControllerRow, setting: Setting, environment: dict[str, str] | None = None
    ) -> None:
        self.row, self._root, self._setting = row, root, setting
        self._environment = {**os.environ, **(environment or {})}
        self.wire, self.frozen = Wire(root / "wire"), False
        self.bus = BusProcess(position=STANDING, holding=STANDING, wiretap=self.wire.path)
        self.firmware = HostFirmware(setting.program, self.bus.port, GRACE_MS, environment)
        self.adapter = Adapter(root / "arm", self.firmware.port)
        self._servos, self._end = KinematicServos(self.bus.block), threading.Event()
        self._bodies = threading.Thread(target=self._move, daemon=True)
        self._bodies.start()
        (root / "arm.toml").write_text(SETTINGS, encoding="utf-8")
        self.run: subprocess.Popen[str]
        self._runs = 0

    def _move(self) -> None:
        while not self._end.wait(STEP_S):
            if not self.frozen:
                self._servos.step(STEP_S)

    # --- edge run -------------------------------------------------------------------------------------------------

    def launch(self, *more: str) -> None:
        """Starts one."""
        self._runs += 1
        command = [sys.executable, str(ROOT / "benchmarks/fault_run.py"), "run", "--bundle", str(self._setting.bundle)]
        command += ["--config", str(self._root / "arm.toml"), "--arm", str(SO101_BRIDGE), "--no-video", *more]
        command += ["--port", str(self._root / "arm"), "--front", self._setting.camera, "--task", TASK]
        command += ["--runs", str(self._root / f"runs{self._runs}")]
        with self._said.open("w", encoding="utf-8") as said:
            self.run = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, stderr=said, text=True, env=self._environment
            )

    @property
    def _said(self) -> Path:
        return self._root / f"said{self._runs}"

    def order(self, word: str) -> None:
        assert self.run.stdin is not None
        self.run.stdin.write(word + "\n")
        self.run.stdin.flush()

    def moving(self) -> None:
        """Returns when the arm swings.

        Raises:
            VoidError: The run ended before.
        """
        since = time.monotonic_ns()
        while len(np.unique(self.wire.goals(since)[:, 0])) < 20 or self.state.arm != RUNNING:
            if self.run.poll() is not None:
                raise VoidError(self._said.read_text(encoding="utf-8"))
            time.sleep(0.02)

    def starts_again(self) -> None:
        """Another run arms it, by its clear, from where the arm is."""
        clears = sum(isinstance(order, Clear) for _, order in self.adapter.orders)
        here, since = self.bus.block.position.copy(), time.monotonic_ns()
        self.launch()
        try:
            self.moving()
        except VoidError:
            self.row.void += 1
            return
        first = self.wire.goals(since)[0]
        self.row.jumps += bool(np.any(np.abs(first - here) > 10))
        self.promised(sum(isinstance(order, Clear) for _, order in self.adapter.orders) > clears)

    def ends(self, *words: str) -> None:
        """The run ends by itself with its typed error, which has these words, and no trace of Python's."""
        self.until(lambda: self.run.poll() is not None, "edge run ends")
        said = self._said.read_text(encoding="utf-8")
        kept = self.run.returncode == 2 and all(word in said for word in words) and "Traceback" not in said
        self.promised(kept)
        if not kept:
            print(f"{self.row.fault}: edge run ended with {self.run.returncode}:\n{said}", file=sys.stderr)

    # --- the microcontroller --------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        self.until(lambda: bool(self.adapter.states), "the microcontroller says something")
        return self.adapter.states[-1][1]

    def stops(self, fault: int) -> None:
        """It brakes, rests and tells the servos nothing more; `fault` is among what it has latched."""
        self.until(lambda: self.state.arm in (BRAKING, STOPPED), "the microcontroller stops the arm")
        if fault == EXPIRED:
            self.count_ticks()
        self.until(lambda: self.state.arm == STOPPED, "the arm rests")
        self.promised(bool(self.state.faults & fault))
        if not self.state.faults & fault:
            print(f"{self.row.fault}: expected {fault:#x} in {self.state}", file=sys.stderr)
        self.until(lambda: self._asked(self._told()[-1][0]) > SETTLED_ASKS, "the last goal is said")

    def count_ticks(self) -> None:
        """From the last state, one a tick, that knows nothing of the last order to the first that tells of a brake."""
        states = [state for _, state in self.adapter.states]
        at = max(n for n in range(1, len(states)) if states[n].arm >= BRAKING and states[n - 1].arm in (READY, RUNNING))
        last, begins = states[at - 1], at - 1
        while begins >= 0 and (states[begins].session, states[begins].sequence) == (last.session, last.sequence):
            begins -= 1
        self.row.late += at - begins > STOP_TICKS
        self.row.ticks = max(self.row.ticks, at - begins)

    def quiet(self) -> None:
        """For many ticks the servos are asked, and told nothing."""
        since = time.monotonic_ns()
        self.until(lambda: self._asked(since) > QUIET_ASKS, "the servos are asked")
        self.count_told(since)

    def count_told(self, since_ns: int) -> None:
        """Counts what was said about motion and torque since then, as far as no order allows it."""
        orders = [(at, order) for at, order in self.adapter.orders if at > since_ns]
        armed = min((at for at, order in orders if isinstance(order, Clear)), default=None)
        allowed = min((at for at, order in orders if isinstance(order, Clear | Release)), default=None)
        for at, register in self._told():
            if register == TORQUE_ENABLE:
                self.row.torque += at > since_ns and (allowed is None or at < allowed)
            else:
                self.row.stale += at > since_ns and (armed is None or at < armed)

    def _told(self) -> list[tuple[int, int]]:
        """When, and which register."""
        return [
            (at, frame.params[0])
            for at, frame in self.wire.frames()
            if frame.code == SYNC_WRITE and frame.params[0] >= TORQUE_ENABLE
        ]

    def _asked(self, since_ns: int) -> int:
        return sum(frame.code == SYNC_READ and at > since_ns for at, frame in self.wire.frames())

    # --- judging --------------------------------------------------------------------------------------------------

    def promised(self, holds: bool) -> None:
        self.row.other += not holds

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Returns once it is so.

        Raises:
            TimeoutError: It never is.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.row.fault}: not within {PATIENCE_S:g} s: {what}")
            time.sleep(0.02)

    def close(self) -> None:
        self.run.kill()
        self.run.communicate()
        self.adapter.close()
        self.firmware.close()
        self.bus.close()
        self._end.set()
        self._bodies.join()
