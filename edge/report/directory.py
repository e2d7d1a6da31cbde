"""The run directory as a whole: read it, sum it up, draw it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

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
        path = directory / MOTION
        motion = None
        if path.is_file():
            with np.load(path) as arrays:
                motion = {name: arrays[name] for name in arrays.files}
        try:
            draw_timeline(records, motion, directory / TIMELINE)
        except ImportError as problem:  # the figures are worth having without it
            print(f"no {TIMELINE}: {problem}; pip install matplotlib", file=sys.stderr)
    return summarise(records)


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
