"""`cyclictest` beside a run: what this machine itself costs a real-time thread, to compare the control loop with.

Debian: rt-tests. It needs the same right as the loop does (SCHED_FIFO).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from edge.errors import ConfigError

_PERIOD_US, _BINS = 1000, 100_000
_AGAIN_S = 0.5
_FIX = "see what it said; it needs the right to SCHED_FIFO, as the loop does"


@dataclass(frozen=True)
class Histogram:
    """Durations in whole units (microseconds, as `cyclictest` counts them): how many of each.

    Attributes:
        counts: Duration → how many.
        worst: The longest.
        beyond: How many more were longer than those.

    The sum of two is both together.
    """

    counts: Mapping[int, int]
    worst: float
    beyond: int = 0

    @property
    def n(self) -> int:
        """How many in all."""
        return sum(self.counts.values()) + self.beyond

    @property
    def mean(self) -> float:
        """Of those that were counted one by one."""
        return sum(value * count for value, count in self.counts.items()) / sum(self.counts.values())

    @property
    def p99(self) -> float:
        """See `percentile`."""
        return self.percentile(0.99)

    def percentile(self, share: float) -> float:
        """What a share of all did not exceed; infinite when it lies beyond what was counted."""
        wanted, seen = share * self.n, 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= wanted:
                return float(value)
        return float("inf")

    def __add__(self, other: Histogram) -> Histogram:
        together = Counter(self.counts)
        together.update(other.counts)
        return Histogram(dict(together), max(self.worst, other.worst), self.beyond + other.beyond)

    @classmethod
    def read(cls, output: str) -> Histogram:
        """From the histogram that `cyclictest -h` prints.

        Raises:
            ConfigError: It is none.
        """
        rows = [(int(us), int(n)) for us, n in re.findall(r"^(\d{6}) (\d{6,})$", output, re.MULTILINE)]
        worst = re.search(r"# Max Latencies:\s*(\d+)", output)
        beyond = re.search(r"# Histogram Overflows:\s*(\d+)", output)
        if worst is None or beyond is None:
            raise ConfigError("cyclictest printed no histogram", got=output[-200:], fix=_FIX)
        return cls({us: n for us, n in rows if n}, float(worst[1]), int(beyond[1]))


class Cyclictest:
    """Runs `cyclictest` while a `with` block does; `latency` is there after it.

    Args:
        priority: SCHED_FIFO; unless given just below the loop's, so that it does not make the loop late itself.
        cpu: The core it measures; any, unless it is given. Its other thread stays off it.

    Raises:
        ConfigError: It is not installed, or was not granted its priority.
    """

    def __init__(self, *, priority: int = 79, cpu: int | None = None) -> None:
        program = shutil.which("cyclictest")
        if program is None:
            raise ConfigError("cyclictest is not installed", fix="apt-get install rt-tests")
        self._command = [program, "-q", "-m", f"-p{priority}", f"-i{_PERIOD_US}", f"-h{_BINS}"]
        if cpu is not None:
            others = os.sched_getaffinity(0) - {cpu}
            self._command += [f"-a{cpu}", f"--mainaffinity={','.join(map(str, sorted(others or {cpu})))}"]
        self.latency: Histogram | None = None

    def __enter__(self) -> Cyclictest:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while True:
            self._process.send_signal(signal.SIGINT)
            try:
                output = self._process.communicate(timeout=_AGAIN_S)[0]
                break
            except subprocess.TimeoutExpired:  # it was not listening yet: a script's background ignores Ctrl-C
                continue
        if error is None:
            self.latency = Histogram.read(output)
