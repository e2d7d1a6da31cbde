"""The machine-readable log of a run: one JSON object a line, given to the system when `write` returns.

So a process that is killed loses no line; a power loss takes those of the last seconds, which were not on the disk yet.
What must outlive it is in the memory's journal, which is flushed.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edge.errors import ConfigError, DiskError

LOG = "log.jsonl"
Record = Mapping[str, Any]
"""One line: `time_ns` (CLOCK_MONOTONIC), `kind`, and what the kind says."""


class RunLog:
    """Writes `log.jsonl` in a run directory. Any thread may write, and none fails by it: whoever runs asks `problem`.

    Args:
        directory: Made if it is not there.
        listener: Is given every record after it was written, under the same lock.
    """

    def __init__(self, directory: Path, listener: Callable[[Record], None] | None = None) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._stream = (directory / LOG).open("a", encoding="utf-8", buffering=1)
        except OSError as problem:
            fix = "choose another place with --runs DIRECTORY"
            raise ConfigError(f"cannot write the log in {directory}", got=str(problem.strerror), fix=fix) from problem
        self._lock = threading.Lock()
        self._listener = listener
        self._closed = False
        self.directory = directory
        self.problem: DiskError | None = None
        """Why nothing is written any more."""

    def write(self, kind: str, /, time_ns: int | None = None, **data: Any) -> None:
        """Appends a record; after `close` it does nothing. After a first failure only the listener gets it."""
        record = {"time_ns": time.monotonic_ns() if time_ns is None else time_ns, "kind": kind, **data}
        line = json.dumps(record, default=_plain)
        with self._lock:
            if self._closed:
                return
            if self.problem is None:
                try:
                    self._stream.write(line + "\n")
                except OSError as problem:
                    self._give_up(problem)
            if self._listener is not None:
                self._listener(record)

    def close(self) -> None:
        """Flushes and closes; calling it again does nothing."""
        with self._lock:
            self._closed = True
            try:
                self._stream.close()
            except OSError as problem:
                self._give_up(problem)

    def _give_up(self, problem: OSError) -> None:
        got = f"{self.directory / LOG}: {problem.strerror or problem}"
        fix = "free space, or name another place with --runs; then run again"
        self.problem = self.problem or DiskError("the log of the run cannot be written", got=got, fix=fix)
        with contextlib.suppress(OSError):  # it still holds the line that it could not write
            self._stream.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(directory: Path) -> Iterator[dict[str, Any]]:
    """The records of a run, oldest first. A last line cut off by a power loss is left out.

    Raises:
        ConfigError: No log there, or a line before the last is not JSON.
    """
    path = directory / LOG
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        fix = "pass a directory that `edge run` made, e.g. runs/<time>"
        raise ConfigError(
            f"no run at {directory}", expected=f"a directory with {LOG}", got=str(problem.strerror), fix=fix
        ) from problem
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as problem:
            if number == len(lines):
                return
            raise ConfigError(f"{path} is damaged at line {number}", expected="JSON", got=str(problem)) from problem


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
