"""Shows a finished run again, from its log, at the pace it had."""

from __future__ import annotations

import time
from pathlib import Path

from edge.display import open_display
from edge.errors import ConfigError
from edge.run_log import read_log
from edge.status import Status


def replay(directory: Path, speed: float) -> int:
    """Plays a run's log on the display.

    Args:
        directory: A run directory.
        speed: Times real time.

    Raises:
        ConfigError: No run there, or a speed that is not above 0.
    """
    if not speed > 0:
        raise ConfigError("--speed cannot be used", expected="a number above 0", got=str(speed))
    records = list(read_log(directory))
    status, display = Status(), open_display()
    try:
        for before, record in zip([None, *records], records, strict=False):
            if before is not None:
                time.sleep(max(0.0, (record["time_ns"] - before["time_ns"]) / 1e9 / speed))
            status.apply(record)
            display.record(record, status)
            display.refresh(status)
    except KeyboardInterrupt:
        return 130
    finally:
        display.close(status)
    return 0
