"""What earlier runs left: the one that can be gone on with, and what is said when a run starts without doing so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edge.errors import ConfigError, EdgeError
from edge.memory import FAILED, FINISHED
from edge.native import check_native

JOURNAL = "memory.journal"

_NAME = re.compile(r"(\d{4}-\d\d-\d\d-\d{6})(?:-(\d+))?")
_FIX = "pass the directory of the run that was cut short, or nothing for the newest"


class Which(Enum):
    """Stands for a run directory where none is named."""

    NEWEST = "newest"


@dataclass(frozen=True)
class EarlierRun:
    """A run that began a task, as its journal tells.

    Attributes:
        directory: The run directory.
        task: The task's words.
        calls: (call, outcome) in their order; the last outcome is None if the call was cut short.
        ending: `finished`, `failed`, or None if the run was cut short.
        in_use: Whether its process is still there.
        damaged_bytes: What of the journal cannot be read; `calls` tells what came before.
    """

    directory: Path
    task: str
    calls: tuple[tuple[str, str | None], ...]
    ending: str | None
    in_use: bool
    damaged_bytes: int

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.in_use:
            return "is still going on"
        return {FINISHED: "finished", FAILED: "was given up or stopped"}.get(self.ending or "", "was cut short")

    def lines(self) -> list[str]:
        """What a person wants to know about it before deciding."""
        rows = [f"found     {self.directory} {self.how}: {self.task}"]
        rows += [f"          {call} -> {outcome or 'cut short'}" for call, outcome in self.calls]
        if self.damaged_bytes:
            rows.append(f"          and {self.damaged_bytes} bytes that are damaged and cannot be read")
        return rows


def look(directory: Path) -> EarlierRun:
    """Reads a run's journal, and changes nothing.

    Raises:
        ConfigError: There is no journal, no task in it, or it is none.
        TaskError: It holds what this version would not have written.
    """
    run = _read(directory)
    if not run.task:
        got = "nothing but damage" if run.damaged_bytes else "an empty journal"
        raise ConfigError(f"nothing to resume in {directory}", expected="a task", got=got, fix=_FIX)
    return run


def earlier_runs(runs: Path) -> Iterator[EarlierRun]:
    """Runs that began a task, newest first by the names of their directories.

    Raises:
        EdgeError: A journal cannot be read. It is not passed over: its run may have moved things.
    """
    if runs.is_dir():
        for directory in sorted((path.parent for path in runs.glob(f"*/{JOURNAL}")), key=age, reverse=True):
            run = _read(directory)
            if run.task:
                yield run


def found_before(runs: Path, go_on: str = "edge run --resume") -> list[str]:
    """What to say when a run starts clean: what the newest run before it left undone, if it did, and how to go on.

    Args:
        runs: Where run directories are.
        go_on: The command that takes a run directory and goes on with it.
    """
    try:
        newest = next(earlier_runs(runs), None)
    except EdgeError as problem:
        return [f"found     {problem.what}: {problem.got}"]
    if newest is None or newest.in_use or newest.ending == FINISHED:
        return []
    how = f"{go_on} {shlex.quote(str(newest.directory))}"
    return [*newest.lines(), f"          it is left as it is; to go on with it: {how}"]


def choose(runs: Path, wanted: Path | Which, task: str | None) -> EarlierRun:
    """The run to go on with.

    Args:
        runs: Where run directories are.
        wanted: A run directory, or the newest run.
        task: The task that was asked for beside it, if one was.

    Raises:
        EdgeError: There is none, it finished, it is still going on, its task is another one, or it is unreadable.
    """
    run = _newest(runs) if isinstance(wanted, Which) else look(wanted)
    if run.in_use:
        fix = "stop it first; nothing of it is lost"
        raise ConfigError(f"{run.directory} is still going on", expected="a run that ended", got=run.task, fix=fix)
    if run.ending == FINISHED:
        fix = "start its task again with --task"
        raise ConfigError(f"{run.directory} finished", expected="a task half done", got=run.task, fix=fix)
    if task is not None and task != run.task:
        fix = "leave --task away to go on, or --resume to start anew"
        raise ConfigError(f"{run.directory} has another task", expected=task, got=run.task, fix=fix)
    return run


def is_run(directory: Path) -> bool:
    """Whether it is a run directory by its name, as `edge.session.new_directory` gives it."""
    return _NAME.fullmatch(directory.name) is not None


def age(directory: Path) -> tuple[str, int]:
    """What run directories are sorted by, the oldest first: `2026-01-31-120000-10` comes after `…-9`."""
    found = _NAME.fullmatch(directory.name)
    return (found[1], int(found[2] or 0)) if found else (directory.name, 0)


def in_use(directory: Path) -> bool:
    """Whether the run's process is still there, or may be: somebody else's directory cannot be looked into."""
    try:
        return (directory / JOURNAL).is_file() and _read(directory).in_use
    except EdgeError:  # no journal of ours
        return False
    except OSError:
        return True


def take_over(run: EarlierRun, directory: Path) -> None:
    """Copies a run's journal into another run directory: whole and on the disk, or not at all.

    Raises:
        ConfigError: It cannot be copied.
    """
    part = directory / (JOURNAL + ".part")
    try:
        with (run.directory / JOURNAL).open("rb") as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        part.replace(directory / JOURNAL)
        entry = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)
    except OSError as problem:
        what = f"the journal of {run.directory} cannot be copied into {directory}"
        raise ConfigError(what, got=str(problem.strerror), fix="free space, then try again") from problem


def _read(directory: Path) -> EarlierRun:
    if not (directory / JOURNAL).is_file():
        raise ConfigError(f"nothing to resume in {directory}", expected=JOURNAL, got="no such file", fix=_FIX)
    check_native()
    from edge._core import SubtaskMemory

    memory = SubtaskMemory.peek(str(directory / JOURNAL))
    calls = tuple((row["call"], row["outcome"]) for row in memory.calls())
    found = memory.recovery
    return EarlierRun(directory, memory.task, calls, memory.ending, found["in_use"], found["damaged_bytes"])


def _newest(runs: Path) -> EarlierRun:
    """The newest run, if it can be gone on with. An older one is not chosen unasked: the runs after it moved things."""
    newest = None
    for run in earlier_runs(runs):
        newest = newest or run
        if run.ending == FINISHED:
            continue
        if run is newest:
            return run
        raise ConfigError(
            f"the newest run, {newest.directory}, {newest.how}",
            expected="a newest run that did not finish",
            got=f"an older one: {run.directory} {run.how}: {run.task}",
            fix=f"things may have moved since; to go on all the same: --resume {shlex.quote(str(run.directory))}",
        )
    got = "none that began a task" if newest is None else f"the newest, {newest.directory}, finished: {newest.task}"
    fix = "start with --task, or name the run: --resume RUN_DIR"
    raise ConfigError(f"nothing to resume in {runs}", expected="a run that did not finish", got=got, fix=fix)
