"""The host of an arm, to be stopped, killed and cut off by benchmarks/process_faults.py: every joint swings.

    python benchmarks/fault_host.py PORT

Reads orders, a line each, and answers each with a line of JSON: what the driver says, and the wall clock.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge._core import Arm, ControlLoop, Driver, LoopConfig
from edge.arm import SO101
from edge.errors import ArmError
from edge.types import Chunk

MS = 1_000_000
PERIOD_NS, HORIZON, OFFER_S = 50 * MS, 16, 0.1
AMPLITUDE = np.array([0.4, 0.1, 0.1, 0.1, 0.2, 0.1])
SWING_S = 2.0
"""The first joint passes the middle at 1.3 rad/s."""
FEEDBACK_NS, WATCHDOG_NS = 100 * MS, 1000 * MS
"""Patient with a busy machine, whose emulated servos answer late."""
FLOOD, TRIES = 2000, 20


class Host:
    """A driver and the thread that offers it chunks, as a policy does."""

    def __init__(self, port: str) -> None:
        self.loop = ControlLoop(Arm(SO101), LoopConfig(feedback_timeout_ns=FEEDBACK_NS, watchdog_ns=WATCHDOG_NS))
        self.driver = Driver(self.loop, port, log_every=1)  # nobody drains the log
        self._port = os.path.realpath(port)
        self._gives = threading.Event()
        self._note: dict[str, Any] = {}
        self.again()
        threading.Thread(target=self._offer_for_ever, daemon=True).start()

    def again(self) -> None:
        """Starts, from where the arm is, whatever happened before."""
        if self.loop.snapshot()["state"] == "fault":
            self.loop.clear()
            while self.loop.snapshot()["state"] != "idle":
                time.sleep(0.001)
        for tries_left in reversed(range(TRIES)):
            try:
                self.driver.start()
                break
            except ArmError:  # servos of a busy machine may not answer in time
                if tries_left == 0:
                    raise
        self._middle, self._since = self.loop.snapshot()["commanded"], time.monotonic_ns()
        self._gives.set()

    def hang(self) -> None:
        """The policy gives nothing more."""
        self._gives.clear()

    def go(self) -> None:
        self._since = time.monotonic_ns()
        self._middle = self.loop.snapshot()["commanded"]
        self._gives.set()

    def nan(self) -> None:
        """Offers a chunk of which one number is none."""
        chunk = self._chunk(time.monotonic_ns())
        chunk.joints[3, 2] = math.nan
        offer = self.loop.offer(chunk)
        self._note = {"accepted": bool(offer), "reason": offer.reason}

    def flood(self) -> None:
        """Offers many more chunks than steps take up."""
        self._note = {"accepted": sum(bool(self.loop.offer(self._chunk(time.monotonic_ns()))) for _ in range(FLOOD))}

    def lose(self) -> None:
        """Takes the port's descriptor away: from now on it is an empty file."""
        for name in os.listdir("/proc/self/fd"):
            if os.path.realpath(f"/proc/self/fd/{name}") == self._port:
                nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(nothing, int(name), inheritable=False)
                os.close(nothing)

    def look(self) -> None:
        """Only the answer."""

    def answer(self) -> dict[str, Any]:
        seen = self.driver.snapshot()
        told: dict[str, Any] = {name: seen[name] for name in ("state", "hold_cause", "fault_cause", "connected")}  # type: ignore[literal-required]
        told |= {"at_rest": seen["at_rest"], "counters": dict(seen["counters"]), "ok": seen["bus"]["ok"]}
        told |= {"dropped": seen["log_dropped"], "wall_s": time.time()}
        told["commanded"] = self.loop.arm.to_ticks(seen["commanded"]).tolist()
        told["errors"] = {name: servo["error"] for name, servo in seen["servos"].items() if servo["error"]}
        return told | self._note

    def _chunk(self, now_ns: int) -> Chunk:
        due = now_ns + PERIOD_NS * np.arange(1, HORIZON + 1) - self._since
        swing = np.sin(due * 1e-9 * 2 * math.pi / SWING_S)
        return Chunk(now_ns, PERIOD_NS, self._middle + np.outer(swing, AMPLITUDE), 0.0)

    def _offer_for_ever(self) -> None:
        while self._gives.wait():
            self.loop.offer(self._chunk(time.monotonic_ns()))
            time.sleep(OFFER_S)


def main() -> None:
    host = Host(sys.argv[1])
    print(json.dumps(host.answer()), flush=True)
    for line in sys.stdin:
        getattr(host, line.strip())()
        print(json.dumps(host.answer()), flush=True)
    host.driver.stop()


if __name__ == "__main__":
    main()
