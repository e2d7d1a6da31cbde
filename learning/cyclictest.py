"""`cyclictest` beside a run: what this machine itself costs a real-time thread, to compare the control loop with.

Debian: rt-tests. It needs the same right as the loop does (SCHED_FIFO).
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from types import TracebackType

from edge.errors import ConfigError

_PRIORITY, _PERIOD_US, _BINS = 79, 1000, 5000
"""Just below the loop's priority, so that it does not make the loop late itself; the loop's period."""


@dataclass(frozen=True)
class Latency:
    """Wake-up latency in microseconds over `n` cycles. `p99` is infinite when it lies beyond the histogram."""

    n: int
    p99: float
    worst: float

    @classmethod
    def read(cls, output: str) -> Latency:
        """From the histogram that `cyclictest -h` prints.

        Raises:
            ConfigError: It is none.
        """
        rows = [(int(us), int(n)) for us, n in re.findall(r"^(\d{6}) (\d{6,})$", output, re.MULTILINE)]
        worst = re.search(r"# Max Latencies:\s*(\d+)", output)
        total = re.search(r"# Total:\s*(\d+)", output)
        beyond = re.search(r"# Histogram Overflows:\s*(\d+)", output)
        if worst is None or total is None:
            raise ConfigError("cyclictest printed no histogram", got=output[-200:], fix="run it once by hand")
        n = int(total[1]) + (int(beyond[1]) if beyond else 0)
        seen = 0
        for us, count in rows:
            seen += count
            if seen >= 0.99 * n:
                return cls(n, float(us), float(worst[1]))
        return cls(n, float("inf"), float(worst[1]))


class Cyclictest:
    """Runs `cyclictest` while a `with` block does; `latency` is there after it.

    Raises:
        ConfigError: It is not installed.
    """

    def __init__(self) -> None:
        program = shutil.which("cyclictest")
        if program is None:
            raise ConfigError("cyclictest is not installed", fix="apt-get install rt-tests")
        self._command = [program, "-q", "-m", f"-p{_PRIORITY}", f"-i{_PERIOD_US}", f"-h{_BINS}"]
        self.latency: Latency | None = None

    def __enter__(self) -> Cyclictest:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        output = self._process.communicate()[0]
        if error is None:
            self.latency = Latency.read(output)
