"""Old run directories of a service are removed, so that months of tasks do not fill the robot's disk.

Only between tasks and a little at a time: the disk belongs to the journal of a running task, and the thread that does
this feeds a watchdog.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from edge.earlier import JOURNAL, age, in_use, is_run

FREE = 500_000_000
"""Bytes of the disk that stay free, if there are runs to remove: the next one needs room for its log and video."""
_TURN_S = 0.2


class Retention:
    """Keeps the run directories of one place within a number of bytes, and some of the disk free.

    The oldest go first, the newest always stays.

    Args:
        runs: Where run directories are.
        keep_bytes: What they may take up together; 0 for whatever they do.
    """

    def __init__(self, runs: Path, keep_bytes: int) -> None:
        self._runs, self._keep = runs, keep_bytes
        self._sizes: dict[str, int] = {}
        """Of those that have been looked at; a run that has ended does not grow."""
        self._stuck: set[str] = set()
        self._due = keep_bytes > 0

    def run_ended(self) -> None:
        """There is one more."""
        self._due = self._keep > 0

    def turn(self) -> list[str]:
        """Goes on for a fraction of a second, by one step at least, while there is anything to do.

        Returns:
            What to tell the person.
        """
        if not self._due:
            return []
        end = time.monotonic() + _TURN_S
        names = self._names()
        self._sizes = {name: self._sizes[name] for name in names if name in self._sizes}
        for name in names:
            if name not in self._sizes:
                self._sizes[name] = _size(self._runs / name)
                if time.monotonic() > end:
                    return []
        told: list[str] = []
        self._due = False
        over = max(sum(self._sizes.values()) - self._keep, FREE - _free(self._runs))
        for name in names[:-1]:
            if over <= 0:
                break
            if name in self._stuck or in_use(self._runs / name):
                continue
            over -= self._sizes[name]
            told.append(self._remove(name))
            if time.monotonic() > end:
                self._due = True
                break
        return told

    def _names(self) -> list[str]:
        """Of the run directories, the oldest first."""
        try:
            with os.scandir(self._runs) as entries:
                names = [e.name for e in entries if is_run(Path(e.name)) and e.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return sorted(names, key=lambda name: age(Path(name)))

    def _remove(self, name: str) -> str:
        path = self._runs / name
        try:
            (path / JOURNAL).unlink(missing_ok=True)  # first: half a run is none to go on with
            shutil.rmtree(path)
        except OSError as problem:
            self._stuck.add(name)
            self._due = True  # what it does not free the next one must
            return f"kept      {path}, which is old enough to go, but: {problem.strerror}"
        del self._sizes[name]
        return (
            f"removed   {path}: runs may take up {self._keep / 1e6:.0f} MB (service.keep_runs_mb) of a disk with room"
        )


def _free(runs: Path) -> int:
    try:
        return shutil.disk_usage(runs).free
    except OSError:  # nothing there yet
        return FREE


def _size(directory: Path) -> int:
    """Bytes on the disk. A run directory holds files only."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:  # gone meanwhile, or not ours to look at
        pass
    return total
