"""The run directory as a whole: read it, sum it up, draw it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.report.summary import Summary, summarise
from edge.report.timeline import MOTION, TIMELINE, draw_timeline
from edge.run_log import read_log

_PATIENCE_S = 60.0


def report(directory: Path, *, picture: bool = True) -> Summary:
    """Sums up a run directory and draws its `timeline.png` again.

    Raises:
        ConfigError: No run there, or its log is damaged.
    """
    records = list(read_log(directory))
    if picture:
        try:
            draw_timeline(records, _motion(directory / MOTION), directory / TIMELINE)
        except ImportError as problem:  # the figures are worth having without it
            print(f"no {TIMELINE}: {problem}; pip install matplotlib", file=sys.stderr)
        except OSError as problem:
            print(f"no {TIMELINE}: {problem.strerror or problem}", file=sys.stderr)
    return summarise(records)


def _motion(path: Path) -> dict[str, NDArray[Any]] | None:
    """The joints over time; None when nothing moved, or when a full disk or a power loss left half a file."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in ("time_ns", "measured", "commanded")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as problem:
        print(f"no joints in {TIMELINE}: {path.name} cannot be read: {problem}", file=sys.stderr)
        return None


def draw_apart(directory: Path) -> None:
    """Draws `timeline.png` as `edge report` does, in a process of its own.

    What matplotlib needs, and leaves in pieces all over the memory of a service, ends with it. A picture is never worth
    the run: what goes wrong is said, no more.
    """
    command = [sys.executable, "-m", "edge.cli", "report", str(directory)]
    quiet = subprocess.DEVNULL
    try:
        subprocess.run(command, stdin=quiet, stdout=quiet, timeout=_PATIENCE_S, start_new_session=True, check=True)
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"no {TIMELINE}: {problem}", file=sys.stderr)
