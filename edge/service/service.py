"""`edge serve`: cameras and models stay open, and tasks are done one after the other, as clients ask for them.

main thread       does the tasks, as `edge run` does them (runtime.py names its threads)
commands thread   answers clients (server.py)
heart thread      feeds the watchdog while everything shows signs of life (health.py)

Nothing is done by itself: no task is resumed at a start, and after what stopped the arm none is taken before `clear`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge.api import RobotApi
from edge.cameras import Camera
from edge.config import RunConfig
from edge.display import PlainLines
from edge.earlier import EarlierRun, Which
from edge.errors import EdgeError, ServiceError, StuckError
from edge.machine import Machine, Models, assemble, check_arm, return_memory
from edge.retention import Retention
from edge.run_log import Record
from edge.runtime import Run
from edge.service.health import Limits, Phase, Signs, unsound
from edge.service.messages import CLEAR, Request
from edge.service.notify import Notifier
from edge.service.server import CommandServer
from edge.session import Outcome, run_task
from edge.status import Status, line_of
from edge.task_text import check_task

_TURN_S = 0.2
_ENDING = "the service ends"
_DECISIONS = ("chunk", "plan", "refused", "call", "end")
"""Records that the policy's or the planner's thread writes: they work."""


@dataclass(frozen=True)
class _Job:
    task: str | None
    resume: Path | Which | None
    number: int = 0
    """Of those accepted, from 1 on."""


class Service:
    """Does tasks on open cameras and models until `end` is called.

    Args:
        config: The configuration; `bundle` is the one that runs.
        api: The robot API.
        models: The loaded networks.
        cameras: The open cameras.
        notifier: Tells the service manager.
        lines: Where plain lines about every task go.
    """

    def __init__(
        self,
        config: RunConfig,
        api: RobotApi,
        models: Models,
        cameras: Mapping[str, Camera],
        notifier: Notifier,
        lines: PlainLines,
    ) -> None:
        self._config, self._api, self._models, self._cameras = config, api, models, cameras
        self._notifier, self._lines = notifier, lines
        self._server = CommandServer(Path(config.service.socket), self.answer)
        self._retention = Retention(Path(config.runs), round(config.service.keep_runs_mb * 1e6))
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._accepted = 0
        """How many tasks were accepted: the number of the newest."""
        self._end = threading.Event()
        self._lock = threading.RLock()
        self._phase = Phase.IDLE
        self._fault = ""
        self._run: Run | None = None
        self._machine: Machine | None = None
        self._stop_reason = ""
        self._status = Status()
        self._last: Outcome | None = None
        self._stuck: StuckError | None = None
        self._began = self._main_s = self._policy_s = time.monotonic()
        self._steps, self._steps_s = -1, self._began
        self._limits = Limits.of(config)

    def end(self) -> None:
        """Asks the service to end, and a running task with it. Safe from a signal handler and any thread."""
        self._end.set()
        if (run := self._run) is not None:  # `_started` looks the other way round, so that none is missed
            run.stop(_ENDING)

    def serve(self) -> None:
        """Takes commands and does tasks; returns after `end`, with the arm at rest.

        Raises:
            StuckError: A model hangs; the arm is at rest. The process has to end.
        """
        heart = threading.Thread(target=self._beat, name="heart", daemon=True)
        with self._server:
            self._notifier.ready("idle")
            heart.start()
            while not self._end.is_set():
                self._main_s = time.monotonic()
                try:
                    job = self._jobs.get(timeout=_TURN_S)
                except queue.Empty:
                    self._tidy()
                    continue
                self._do(job)
                self._retention.run_ended()
                self._tidy()
            if self._stuck is None:
                self._notifier.stopping()
            heart.join(2.0)
        if self._stuck is not None:
            raise self._stuck

    # --- main thread ------------------------------------------------------------------------------------------------

    def _do(self, job: _Job) -> None:
        outcome, problem = None, ""
        try:
            outcome = run_task(
                self._config, job.task, self._api, began=time.monotonic(), resume=job.resume, display=self,
                opened=self._opened, started=self._started,
            )  # fmt: skip
        except StuckError as error:  # the next task would use what still hangs
            problem, self._stuck = str(error), error
            self._end.set()
        except EdgeError as error:
            problem = str(error)
        except Exception as error:  # the arm is at rest; whoever comes with `clear` has to look first
            problem = f"{type(error).__name__}: {error}"
        with self._lock:
            moved, self._run, self._machine, self._stop_reason = self._run is not None, None, None, ""
            self._fault = problem if moved else ""
            self._phase = Phase.FAULT if self._fault else Phase.IDLE
            self._last = outcome or self._last
            self._main_s = time.monotonic()
        if problem:
            print(f"error: {problem}", flush=True)
        ended = {"finished": False, "reason": problem} if outcome is None else asdict(outcome)
        self._server.publish({"ended": ended}, job.number, last=True)
        self._notifier.status(self._phase.value + (f": {problem}" if problem else ""))
        return_memory()

    def _tidy(self) -> None:
        for line in self._retention.turn():
            print(line, flush=True)

    def _opened(self, config: RunConfig, api: RobotApi, directory: Path, before: EarlierRun | None) -> Machine:
        machine = assemble(config, self._models, self._cameras, directory, before)
        with self._lock:
            self._machine = machine
        return machine

    def _started(self, run: Run) -> None:
        with self._lock:
            self._run, self._steps, self._steps_s = run, -1, time.monotonic()
            self._policy_s = time.monotonic()
            if self._stop_reason or self._end.is_set():
                run.stop(self._stop_reason or _ENDING)

    # --- the display of a run, called by its threads ----------------------------------------------------------------

    def record(self, record: Record, status: Status) -> None:
        """Takes a record of the running task."""
        self._status = status
        if record["kind"] in _DECISIONS:
            self._policy_s = time.monotonic()
        self._lines.record(record, status)
        line = line_of(record, status.began_ns)
        if line is not None:
            self._server.publish({"line": line}, self._accepted)  # of this task: while it runs no other is accepted

    def refresh(self, status: Status) -> None:
        """The main thread came round."""
        self._main_s = time.monotonic()
        self._notifier.status(f"{status.phase}: {status.call or status.task}")

    def close(self, status: Status) -> None:
        """The arm is at rest and everything is closed; the run directory is completed next."""
        with self._lock:
            self._phase, self._main_s = Phase.CLOSING, time.monotonic()

    # --- commands thread --------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[Mapping[str, Any], int]:
        """Answers a command; see `edge.service.server.Handler`.

        Raises:
            EdgeError: It is not possible now, or its task is none.
        """
        if request.command == "task":
            return self._accept(_Job(check_task(request.text, self._api), None), request.follow)
        if request.command == "resume":
            return self._accept(_Job(None, self._directory(request.run)), request.follow)
        if request.command == "stop":
            return self._stop(), 0
        if request.command == "clear":
            return self._clear(), 0
        with self._lock:
            running = self._phase in (Phase.RUNNING, Phase.CLOSING)
            return {"ok": True, **self._told()}, self._accepted if request.follow and running else 0

    def _accept(self, job: _Job, follow: bool) -> tuple[dict[str, Any], int]:
        with self._lock:
            if self._phase is Phase.FAULT:
                fix = CLEAR
                raise ServiceError("a fault stopped the arm", expected="that it is cleared", got=self._fault, fix=fix)
            if self._phase is not Phase.IDLE:
                fix = "wait for it (edge status --follow), or stop it: edge stop"
                raise ServiceError("another task is being done", expected="none", got=self._status.task, fix=fix)
            self._phase, self._status = Phase.RUNNING, Status(task=job.task or "")
            self._policy_s = self._main_s = time.monotonic()
            self._accepted += 1
            job = replace(job, number=self._accepted)
        self._jobs.put(job)
        resumed = f"resume {job.resume.name if isinstance(job.resume, Path) else 'the newest run'}"
        return {"ok": True, "accepted": job.task or resumed}, job.number if follow else 0

    def _directory(self, run: str) -> Path | Which:
        if not run:
            return Which.NEWEST
        runs = Path(self._config.runs).resolve()
        directory = (runs / run).resolve()
        if runs not in directory.parents:
            raise ServiceError("not a run of this service", expected=f"a directory in {runs}", got=run)
        return directory

    def _stop(self) -> dict[str, Any]:
        with self._lock:
            if self._phase is not Phase.RUNNING:
                return {"ok": True, "stopped": ""}
            self._stop_reason = "stopped by edge stop"
            if self._run is not None:
                self._run.stop(self._stop_reason)
            return {"ok": True, "stopped": self._status.task}

    def _clear(self) -> dict[str, Any]:
        with self._lock:
            if self._phase is not Phase.FAULT:
                return {"ok": True, "cleared": ""}
            check_arm(self._config)
            for camera in self._cameras.values():
                camera.latest()
            cleared, self._fault, self._phase = self._fault, "", Phase.IDLE
        self._notifier.status("idle")
        return {"ok": True, "cleared": cleared}

    def _told(self) -> dict[str, Any]:
        status, last = self._status, self._last
        return {
            "state": self._phase.value,
            "fault": self._fault,
            "bundle": str(self._models.bundle.path),
            "backend": self._models.policy.backend_name,
            "up_s": round(time.monotonic() - self._began, 1),
            "camera_age_ms": {name: round(camera.age_s * 1e3) for name, camera in self._cameras.items()},
            "task": status.task,
            "phase": status.phase,
            "reason": status.reason,
            "call": status.call,
            "calls": list(status.calls),
            "places": dict(status.places),
            "carried": status.carried,
            "arm": status.arm,
            "loop": dict(status.loop),
            "warnings": list(status.warnings),
            "last": None if last is None else asdict(last),
        }

    # --- heart thread -----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        period_s = min(1.0, (self._notifier.watchdog_s or 3.0) / 3)
        told = ""
        while not self._end.is_set() or self._run is not None:
            now = time.monotonic()
            problem = unsound(self._signs(now), now, self._limits)
            if not problem:
                self._notifier.feed_watchdog()
            elif problem != told:
                print(f"the watchdog is not fed: {problem}", flush=True)
            told = problem
            time.sleep(period_s)

    def _signs(self, now: float) -> Signs:
        with self._lock:
            phase, machine = self._phase, self._machine
        if machine is None or phase is not Phase.RUNNING:
            return Signs(phase, self._main_s)
        seen = machine.driver.snapshot()
        if not seen["running"]:
            return Signs(phase, self._main_s)
        if seen["counters"]["steps"] != self._steps:
            self._steps, self._steps_s = seen["counters"]["steps"], now
        camera_s = now - max(camera.age_s for camera in self._cameras.values())
        return Signs(phase, self._main_s, self._steps_s, camera_s, self._policy_s)
