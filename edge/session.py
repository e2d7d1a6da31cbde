"""`edge run`: one task from a checked configuration to a run directory that tells everything about it."""

from __future__ import annotations

import contextlib
import platform
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from edge.api import RobotApi
from edge.config import RunConfig, to_mapping
from edge.display import Display, open_display
from edge.earlier import EarlierRun, Which, age, choose, found_before, is_run
from edge.errors import ConfigError, EdgeError
from edge.fault_log import FAULT, save_fault
from edge.machine import Machine, open_machine
from edge.motion import Motion
from edge.recorder import VIDEO, VideoRecorder
from edge.report.directory import draw_apart, report
from edge.report.strip import STRIP
from edge.report.timeline import MOTION, TIMELINE, save_motion
from edge.run_log import LOG, Record, RunLog
from edge.runtime import Ended, Run
from edge.status import Status
from edge.task_text import check_task

FAILED = 1
"""Exit status when the task was not finished; `EdgeError.exit_status` when something stopped it."""

_HOLDS: tuple[Literal["holds_out_of_targets", "holds_feedback", "holds_stalled"], ...] = (
    "holds_out_of_targets",
    "holds_feedback",
    "holds_stalled",
)
_REFRESH_S = 0.25
_FIGURES_S = 0.5

Opener = Callable[[RunConfig, RobotApi, Path, EarlierRun | None], Machine]
"""Opens the machine of one run: configuration, API, run directory, the run to go on with."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended, and where everything about it is."""

    finished: bool
    reason: str
    directory: Path

    @property
    def exit_status(self) -> int:
        """Of the process that did it."""
        return 0 if self.finished else FAILED


def run_task(
    config: RunConfig,
    task: str | None,
    api: RobotApi,
    *,
    began: float,
    video: bool = True,
    resume: Path | Which | None = None,
    display: Display | None = None,
    opened: Opener = open_machine,
    started: Callable[[Run], None] | None = None,
) -> Outcome:
    """Does one task and leaves its run directory behind, however it ends.

    Args:
        config: The run's configuration.
        task: What the person wants, in words; may be None with `resume`.
        api: The robot API.
        began: When the process began, `time.monotonic()`.
        video: Record the front camera.
        resume: Directory of a run that did not finish, or the newest of them: its task goes on with what it remembered.
            Without it the run starts clean and says what the one before left undone.
        display: What shows it; the terminal if None.
        opened: Opens the machine.
        started: Is given the run before the arm is switched on, by whom it can be stopped.

    Returns:
        How it ended. Its exit status is 0 if the planner says the task is done, `FAILED` if it was given up.

    Raises:
        EdgeError: What stopped the run, after the arm came to rest and everything was written.
    """
    if task is None and resume is None:
        fix = 'e.g. --task "put the red cube on the blue plate"'
        raise ConfigError("there is nothing to do", expected="--task or --resume", got="neither", fix=fix)
    task = None if task is None else check_task(task, api)
    runs = Path(config.runs)
    before = None if resume is None else choose(runs, resume, task)
    found = found_before(runs) if before is None else [*before.lines(), "          this run goes on with it"]
    for line in found:
        print(line, flush=True)
    directory = new_directory(runs)
    status = Status()
    display = open_display() if display is None else display

    def listen(record: Record) -> None:
        status.apply(record)
        display.record(record, status)

    ended = Ended(False, "stopped by an error")
    with RunLog(directory, listen) as log:
        log.write(
            "start",
            task=task,
            resume=before and before.directory,
            found=found,
            config=to_mapping(config),
            python=platform.python_version(),
            argv=sys.argv,
        )
        try:
            with opened(config, api, directory, before) as machine:
                policy = machine.policy
                on = f"policy on {policy.backend_name}" + (f" ({policy.backend_note})" if policy.backend_note else "")
                took = time.monotonic() - began
                log.write("ready", text=f"ready {took:.1f} s after start; {machine.bundle.path}; {on}")
                _tell_damage(machine, log)
                ended = _execute(machine, api, config, log, status, display, None if before else task, video, started)
        except EdgeError as problem:
            log.write("error", text=problem.what, expected=problem.expected, got=problem.got, fix=problem.fix)
            raise
        except BaseException as problem:
            log.write("error", text=f"{type(problem).__name__}: {problem}")
            raise
        finally:
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            log.write("exit", text=ended.reason, peak_mb=round(peak_mb, 1))
            display.close(status)
    for line in report(directory, picture=False).lines():
        print(line)
    draw_apart(directory)
    if log.problem is not None:
        print(f"note      {log.problem.what}: {log.problem.got}")
    print(f"memory    at most {peak_mb:.0f} MB")
    files = ", ".join(name for name in (LOG, MOTION, VIDEO, FAULT, STRIP, TIMELINE) if (directory / name).is_file())
    print(f"written   {directory}: {files}")
    return Outcome(ended.finished, ended.reason, directory)


def new_directory(runs: Path) -> Path:
    """Makes a run directory named after the time, and after every one that is there.

    A clock may go back: at the end of summer time, or on a board without a battery. Which run is the newest must not
    depend on it, so a run that seems older than the newest is named after that one, with a number.

    Raises:
        ConfigError: It cannot be made.
    """
    stamp = time.strftime("%Y-%m-%d-%H%M%S")
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            newest = max((age(path) for path in runs.iterdir() if is_run(path)), default=("", 0))
            name = stamp if newest < (stamp, 0) else f"{newest[0]}-{max(newest[1], 1) + 1}"
            with contextlib.suppress(FileExistsError):  # made by another run meanwhile
                (runs / name).mkdir()
                return runs / name
    except OSError as problem:
        fix = "choose another place with --runs DIRECTORY"
        raise ConfigError(f"cannot make a run directory in {runs}", got=str(problem.strerror), fix=fix) from problem


def _execute(
    machine: Machine,
    api: RobotApi,
    config: RunConfig,
    log: RunLog,
    status: Status,
    display: Display,
    task: str | None,
    video: bool,
    started: Callable[[Run], None] | None,
) -> Ended:
    motion = Motion(machine.driver.drain)
    run = Run(machine, api, config, log, motion)
    camera = machine.cameras.get("front") or next(iter(machine.cameras.values()))
    recorder = VideoRecorder(log.directory / VIDEO, camera.latest, status, lambda text: log.write("warning", text=text))
    watch = _Watch(machine, motion, log, status, display)
    if started is not None:
        started(run)
    if video:
        recorder.start()
    try:
        with _signals(run):
            return run.execute(task, watch)
    finally:
        recorder.stop()
        with _kept(log, MOTION) as path:
            save_motion(path, *motion.arrays())
        with _kept(log, FAULT) as path:
            if told := save_fault(path, machine.last_fault()):
                log.write("fault", text=told)


@contextlib.contextmanager
def _kept(log: RunLog, name: str) -> Iterator[Path]:
    """For writing a file of the run directory: one that the disk does not take is told, and half of it is not kept."""
    path = log.directory / name
    try:
        yield path
    except OSError as problem:
        log.write("warning", text=f"no {name}: {problem.strerror or problem}")
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _tell_damage(machine: Machine, log: RunLog) -> None:
    found = machine.memory.recovery
    if found["kept"]:
        text = f"the journal was damaged: {found['records']} changes are restored, {found['damaged_bytes']} bytes lost"
        log.write("warning", text=f"{text}; they lie in {found['kept']}")


class _Watch:
    """What the main thread does while the others work: figures of the loop into the log, the status onto the screen."""

    def __init__(self, machine: Machine, motion: Motion, log: RunLog, status: Status, display: Display) -> None:
        self._machine, self._motion, self._log = machine, motion, log
        self._status, self._display = status, display
        self._shown = 0.0
        self._written = 0.0
        self._steps = 0
        self._cycles = 0
        self._stalls = 0
        self._told = False
        self._errors: dict[str, str] = {}

    def __call__(self) -> None:
        self._motion.collect()
        now = time.monotonic()
        if now - self._written >= _FIGURES_S:
            self._write(now)
        if now - self._shown >= _REFRESH_S:
            self._shown = now
            self._display.refresh(self._status)

    def _write(self, now: float) -> None:
        seen = self._machine.driver.snapshot()
        steps, cycles = seen["counters"]["steps"], seen["bus"]["ok"]
        passed, self._written = now - self._written, now
        if seen["counters"]["holds_stalled"] > self._stalls:
            self._stalls = seen["counters"]["holds_stalled"]
            late_ms = seen["lateness_max_ns"] / 1e6
            self._log.write("hold", text=f"the machine left steps of the loop out, at worst for {late_ms:.0f} ms")
        errors = {name: motor["error"] for name, motor in seen["servos"].items() if motor["error"]}
        for name in errors:
            if errors[name] != self._errors.get(name):
                self._log.write("warning", text=f"{name} reports {errors[name]}: it may have let go")
        self._errors = errors
        if not self._told:
            self._told = True
            self._log.write("realtime", text=seen["realtime"])
        else:
            self._log.write(
                "loop",
                state=seen["state"],
                rate_hz=(steps - self._steps) / passed,
                bus_hz=(cycles - self._cycles) / passed,
                late_us=seen["lateness_p99_ns"] / 1e3,
                late_max_us=seen["lateness_max_ns"] / 1e3,
                misses=seen["deadline_misses"],
                page_faults=seen["page_faults"],
                holds=sum(seen["counters"][cause] for cause in _HOLDS),
                corrupt=seen["bus"]["corrupt"],
                timeouts=seen["bus"]["timeout"],
            )
        self._steps, self._cycles = steps, cycles


@contextlib.contextmanager
def _signals(run: Run) -> Iterator[None]:
    """Ctrl-C, a service's stop and a closed terminal bring the arm to rest instead of ending the process at once.

    A handler that was there before is called too: who does several tasks wants to know as well.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        run.stop(f"stopped by {signal.Signals(number).name}")
        before = old.get(signal.Signals(number))
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)

    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in old:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
