"""What a person wants to know about a run, gathered from its log records.

The same code shows a live run and a recorded one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from edge.run_log import Record

#: Records that are worth a line of their own where there is no live display.
LINES = (
    "ready",
    "task",
    "call",
    "refused",
    "grasped",
    "released",
    "end",
    "finished",
    "failed",
    "hold",
    "fault",
    "warning",
    "error",
)


@dataclass
class Status:
    """The state of a run as of its last record."""

    task: str = ""
    phase: str = "starting"
    """starting, planning, acting, finished or failed."""
    reason: str = ""
    call: str = ""
    call_began_ns: int = 0
    calls: list[tuple[str, str]] = field(default_factory=list)
    places: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Where each object was first grasped in this task: x, y, z (m), yaw (rad)."""
    carried: str = ""
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    arm: str = "idle"
    """State of the control loop."""
    loop: dict[str, Any] = field(default_factory=dict)
    """Figures of the control loop: rate_hz, late_us (p99), late_max_us, and its counters."""
    infer_ms: float = float("nan")
    finished: float = float("nan")
    plan_ms: float | None = None
    chunks: int = 0
    refused_chunks: int = 0
    began_ns: int = -1
    now_ns: int = 0

    def apply(self, record: Record) -> None:
        """Takes one record."""
        kind, self.now_ns = record["kind"], record["time_ns"]
        if self.began_ns < 0:
            self.began_ns = self.now_ns
        take = getattr(self, f"_{kind}", None)
        if take is not None:
            take(record)

    def _start(self, record: Record) -> None:
        self.task = record.get("task") or ""

    def _task(self, record: Record) -> None:
        self.task, self.phase, self.reason = record["text"], "planning", ""
        self.call, self.carried = "", ""
        self.calls, self.places = [], {}

    def _call(self, record: Record) -> None:
        self.call, self.phase, self.call_began_ns = record["text"], "acting", record["time_ns"]

    def _end(self, record: Record) -> None:
        self.calls.append((record["call"], record["outcome"]))
        self.call, self.phase = "", "planning"

    def _grasped(self, record: Record) -> None:
        self.carried = record["text"]
        self.places.setdefault(record["text"], tuple(record["pose"]))

    def _released(self, record: Record) -> None:
        self.carried = ""

    def _finished(self, record: Record) -> None:
        self.phase, self.reason, self.call = "finished", record["text"], ""

    def _failed(self, record: Record) -> None:
        self.phase, self.reason, self.call = "failed", record["text"], ""

    def _plan(self, record: Record) -> None:
        self.plan_ms = record["ms"]

    def _chunk(self, record: Record) -> None:
        self.chunks += 1
        self.refused_chunks += not record["accepted"]
        self.infer_ms, self.finished = record["infer_ms"], record["finished"]

    def _loop(self, record: Record) -> None:
        self.arm = record["state"]
        self.loop = {key: value for key, value in record.items() if key not in ("kind", "time_ns", "state")}

    def _warning(self, record: Record) -> None:
        self.warnings.append(record["text"])

    _refused = _hold = _fault = _error = _warning


def line_of(record: Record, began_ns: int) -> str | None:
    """One plain line for a record that is worth one, else None."""
    if record["kind"] not in LINES:
        return None
    seconds = (record["time_ns"] - began_ns) / 1e9
    return f"{seconds:7.2f}  {record['kind']:<8}  {record['text']}"
