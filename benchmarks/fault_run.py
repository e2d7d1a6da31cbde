"""`edge run` with a policy that swings the arm, to be stopped, killed and cut off by benchmarks/process_faults.py.

    python benchmarks/fault_run.py run --bundle DIR …

Takes orders on standard input, a line each: `hang` and `go` (the policy), `raise` (its thread ends), `lose` (the port's
descriptor is closed behind the driver's back). Everything else is `edge run` as it is.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.cli import main
from edge.policy.policy import Policy
from edge.types import Chunk

AMPLITUDE = np.array([0.4, 0.1, 0.1, 0.1, 0.2, 0.1])
SWING_S = 4.0
"""The first joint passes the middle at 0.6 rad/s."""


class Swing:
    """What the policy does beside inferring; orders change it.

    Args:
        port: As `edge run` is told it.
    """

    def __init__(self, port: str) -> None:
        self._port = os.path.realpath(port)
        self._gives, self._ends = threading.Event(), False
        self._gives.set()
        self._middle: Any = None
        self._since = 0

    def change(self, chunk: Chunk) -> Chunk:
        """The same chunk with targets of the swing."""
        self._gives.wait()
        if self._ends:
            raise RuntimeError("the policy's thread is ended by an order")
        if self._middle is None:
            self._middle, self._since = np.array(chunk.joints[0]), chunk.start_ns
        due = chunk.start_ns + chunk.period_ns * np.arange(1, len(chunk.joints) + 1) - self._since
        swing = np.sin(due * 1e-9 * 2 * math.pi / SWING_S)
        return replace(chunk, joints=self._middle + np.outer(swing, AMPLITUDE))

    def obey(self) -> None:
        """Takes orders until nobody gives any."""
        for line in sys.stdin:
            {"hang": self._gives.clear, "go": self._gives.set, "raise": self._raise, "lose": self._lose}[line.strip()]()

    def _raise(self) -> None:
        self._ends = True

    def _lose(self) -> None:
        """From now on the descriptor is an empty file's."""
        for name in os.listdir("/proc/self/fd"):
            if os.path.realpath(f"/proc/self/fd/{name}") == self._port:
                nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(nothing, int(name), inheritable=False)
                os.close(nothing)


def run(arguments: Sequence[str]) -> int:
    """`edge` with these arguments; returns its exit status."""
    swing = Swing(arguments[arguments.index("--port") + 1])
    infer = Policy.infer

    def swinging(policy: Policy, *question: Any) -> Chunk:
        return swing.change(infer(policy, *question))

    Policy.infer = swinging  # type: ignore[method-assign]
    threading.Thread(target=swing.obey, daemon=True).start()
    began = time.monotonic()
    try:
        return main(list(arguments))
    finally:
        print(f"ended after {time.monotonic() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
