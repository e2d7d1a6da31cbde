"""A run in numbers, from its log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.run_log import Record
from edge.status import Status


@dataclass(frozen=True)
class Spread:
    """How a figure was distributed over a run."""

    n: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None without values."""
        if not values:
            return None
        p50, p99, worst = np.percentile(values, [50, 99, 100])
        return cls(len(values), float(p50), float(p99), float(worst))

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f}, p99 {self.p99:.1f}, worst {self.worst:.1f} (n = {self.n})"


@dataclass(frozen=True)
class Summary:
    """What a run did and how fast its parts were."""

    task: str
    phase: str
    reason: str
    seconds: float
    calls: tuple[tuple[str, str, float], ...]
    """Call, outcome, seconds."""
    infer_ms: Spread | None
    plan_ms: Spread | None
    chunks_refused: int
    faults: tuple[str, ...] = ()
    """Cause and where the last seconds before it are."""
    loop: dict[str, Any] = field(default_factory=dict)
    """The last figures of the control loop."""
    whole: bool = True
    """Whether the log tells the run's end."""

    def lines(self) -> list[str]:
        """As text for a person."""
        rows = [f"task      {self.task}", f"ended     {self.phase}: {self.reason} after {self.seconds:.1f} s"]
        for i, (call, outcome, seconds) in enumerate(self.calls, 1):
            rows.append(f"call {i:<4} {call} -> {outcome}  {seconds:.1f} s")
        rows.append(f"policy    ms: {self.infer_ms or 'never ran'}; {self.chunks_refused} chunks refused")
        rows.append(f"planner   ms: {self.plan_ms or 'never ran'}")
        rows.extend(f"fault     {text}" for text in self.faults)
        if not self.whole:
            rows.append("note      the log has no end: the run goes on, was cut off, or its disk is full")
        if self.loop:
            rows.append("loop      " + ", ".join(f"{key} {_short(value)}" for key, value in self.loop.items()))
        return rows


def summarise(records: Iterable[Record]) -> Summary:
    """Gathers the figures of a run."""
    status = Status()
    infer: list[float] = []
    plan: list[float] = []
    calls: list[tuple[str, str, float]] = []
    faults: list[str] = []
    kind = ""
    for record in records:
        began = status.call_began_ns
        status.apply(record)
        kind = record["kind"]
        if kind == "chunk":
            infer.append(record["infer_ms"])
        elif kind == "plan":
            plan.append(record["ms"])
        elif kind == "fault":
            faults.append(record["text"])
        elif kind == "end":
            calls.append((record["call"], record["outcome"], (record["time_ns"] - began) / 1e9))
    return Summary(
        status.task,
        status.phase,
        status.reason,
        (status.now_ns - status.began_ns) / 1e9,
        tuple(calls),
        Spread.of(infer),
        Spread.of(plan),
        status.refused_chunks,
        tuple(faults),
        status.loop,
        kind == "exit",
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
