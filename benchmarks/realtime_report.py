"""What `benchmarks/realtime.py` measured, as a table, as JSON, and as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from learning.cyclictest import Histogram

FIRST, LOOP, SECOND, CAREFUL, PLAIN = "cyclictest", "edgearm loop", "cyclictest again", "Python", "Python, plain"
ASKED_P999, ASKED_WORST, ASKED_MORE_US = 1.2, 1.5, 5.0
SHARES = (0.5, 0.99, 0.999, 0.9999)
_IDLE = 0.15
_COLOURS = {FIRST: "#1565c0", LOOP: "#ef6c00", SECOND: "#64b5f6", CAREFUL: "#2e7d32", PLAIN: "#a5d6a7"}


@dataclass(frozen=True)
class Core:
    """What the measured core did, in ticks of the kernel's clock. `stolen` went to other guests of the same host."""

    total: float
    busy: float
    stolen: float

    def __add__(self, other: Core) -> Core:
        return Core(self.total + other.total, self.busy + other.busy, self.stolen + other.stolen)

    @property
    def shares(self) -> dict[str, float]:
        return {"busy": self.busy / max(1.0, self.total), "stolen": self.stolen / max(1.0, self.total)}


@dataclass(frozen=True)
class Phase:
    """One thread on the measured core for a while. The sum of two is both rounds together.

    Attributes:
        name: Which thread.
        latency: Microseconds that it woke late.
        core: What the core did meanwhile.
        step: Nanoseconds from waking to the command.
        more: What else there is to say; numbers add up.
        p999_us: Of each round.
    """

    name: str
    latency: Histogram
    core: Core
    step: Histogram | None = None
    more: Mapping[str, int | str] = field(default_factory=dict)
    p999_us: tuple[float, ...] = ()

    def __add__(self, other: Phase) -> Phase:
        more = dict(self.more)
        for name, value in other.more.items():
            before = more.get(name)
            more[name] = before + value if isinstance(before, int) and isinstance(value, int) else value
        step = self.step + other.step if self.step and other.step else None
        latency, core = self.latency + other.latency, self.core + other.core
        return Phase(self.name, latency, core, step, more, self.p999_us + other.p999_us)


@dataclass(frozen=True)
class Ratios:
    """The loop against the mean of the two cyclictests around it. `drift_*` is the second against the first."""

    p999: float
    worst: float
    worst_allowed_us: float
    loop_worst_us: float
    drift_p999: float
    drift_worst: float

    @classmethod
    def of(cls, first: Histogram, loop: Histogram, second: Histogram) -> Ratios:
        """Latencies of less than a microsecond count as one, cyclictest's resolution."""
        p999, p999_again, p999_loop = (max(1.0, run.percentile(0.999)) for run in (first, second, loop))
        worst, worst_again, worst_loop = (max(1.0, run.worst) for run in (first, second, loop))
        mean = (worst + worst_again) / 2
        return cls(
            p999=p999_loop / ((p999 + p999_again) / 2),
            worst=worst_loop / mean,
            worst_allowed_us=ASKED_WORST * mean + ASKED_MORE_US,
            loop_worst_us=worst_loop,
            drift_p999=p999_again / p999,
            drift_worst=worst_again / worst,
        )

    @property
    def p999_met(self) -> bool:
        return self.p999 <= ASKED_P999

    @property
    def worst_met(self) -> bool:
        return self.loop_worst_us <= self.worst_allowed_us


def ratios(phases: Sequence[Phase]) -> Ratios:
    """Of the phases of one load."""
    by_name = {phase.name: phase.latency for phase in phases}
    return Ratios.of(by_name[FIRST], by_name[LOOP], by_name[SECOND])


def table(load: str, phases: Sequence[Phase]) -> list[str]:
    """Lines for a person."""
    rows = [
        f"{'load ' + load:<18}{'n':>8}{'p50':>8}{'p99':>8}{'p99.9':>8}{'p99.99':>8}{'max µs':>9}"
        f"  {'step ns: mean':>14}{'p99.9':>9}{'worst':>10}  {'core busy':>9}{'stolen':>8}"
    ]
    for phase in phases:
        late = phase.latency
        row = f"{phase.name:<18}{late.n:>8}" + "".join(f"{late.percentile(share):>8.0f}" for share in SHARES)
        step = phase.step
        cost = f"{step.mean:>14.0f}{step.percentile(0.999):>9.0f}{step.worst:>10.0f}" if step else " " * 33
        spent = phase.core.shares
        rows.append(f"{row}{late.worst:>9.0f}  {cost}  {spent['busy']:>9.1%}{spent['stolen']:>8.2%}")
    seen = ratios(phases)
    rows += [
        f"loop / cyclictest  p99.9 {seen.p999:.2f} (asked at most {ASKED_P999}: {_met(seen.p999_met)}), "
        f"maximum {seen.worst:.2f} (asked at most {ASKED_WORST} and {ASKED_MORE_US:.0f} µs, here "
        f"{seen.worst_allowed_us:.0f} µs: {_met(seen.worst_met)})",
        f"cyclictest again / cyclictest  p99.9 {seen.drift_p999:.2f}, maximum {seen.drift_worst:.2f}: the machine",
    ]
    if load == "idle" and (others := phases[0].core.shares["busy"]) > _IDLE:
        rows.append(f"NOT idle: other programs kept this core busy for {others:.0%} of the time")
    if any(len(phase.p999_us) > 1 for phase in phases):
        rows += [f"p99.9 of each round  {p.name:<18}{' '.join(f'{us:.0f}' for us in p.p999_us)}" for p in phases]
    for phase in phases:
        if said := ", ".join(f"{name} {value}" for name, value in phase.more.items() if value):
            rows.append(f"{phase.name}: {said}")
    return rows


def _met(met: bool) -> str:
    return "met" if met else "NOT met"


def as_json(phases: Sequence[Phase]) -> dict[str, Any]:
    """Everything of one load, histograms included, in microseconds and nanoseconds as the names say."""
    seen = ratios(phases)
    return {
        "phases": [
            {
                "name": phase.name,
                "n": phase.latency.n,
                **{f"p{100 * share:g}_us": _finite(phase.latency.percentile(share)) for share in SHARES},
                "max_us": phase.latency.worst,
                "p99.9_us_of_each_round": [_finite(us) for us in phase.p999_us],
                "step_ns": _step(phase.step),
                "core": phase.core.shares,
                "more": dict(phase.more),
                "counts_us": sorted(phase.latency.counts.items()),
                "beyond": phase.latency.beyond,
            }
            for phase in phases
        ],
        "ratios": {**vars(seen), "p999_met": seen.p999_met, "worst_met": seen.worst_met},
    }


def _step(step: Histogram | None) -> dict[str, float | None] | None:
    if step is None:
        return None
    return {"mean": step.mean, "p99.9": _finite(step.percentile(0.999)), "max": step.worst}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def draw(loads: Mapping[str, Sequence[Phase]], title: str, path: Path) -> None:
    """One histogram a load, all phases in it; the suffix of `path` says what kind of picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    longest = max(phase.latency.worst for phases in loads.values() for phase in phases)
    edges = bins(longest)
    figure, axes = plt.subplots(
        len(loads), 1, sharex=True, squeeze=False, figsize=(10, 1 + 3.5 * len(loads)), layout="constrained"
    )
    for axis, (load, phases) in zip(axes[:, 0], loads.items(), strict=True):
        for phase in phases:
            late = phase.latency
            us, counts = np.array(list(late.counts)), np.array(list(late.counts.values()))
            heights = np.histogram(us, edges, weights=counts)[0]
            label = f"{phase.name}: p99.9 {late.percentile(0.999):.0f} µs, max {late.worst:.0f} µs"
            axis.stairs(np.where(heights > 0, heights, np.nan), edges, color=_COLOURS[phase.name], lw=1.3, label=label)
            axis.plot(late.worst, 0.7, "v", color=_COLOURS[phase.name], clip_on=False)
        axis.set(xscale="log", yscale="log", ylabel=f"cycles (load {load})")
        axis.set_ylim(bottom=0.6)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[-1, 0].set_xlabel("woke late by, µs (bins of 1 µs, above 20 µs of 5 %; ▾ the maximum)")
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def bins(longest_us: float) -> np.ndarray:
    """Edges at whole microseconds, the resolution that all phases share: every one, then every 5 %."""
    edges = [*range(1, 21)]
    while edges[-1] <= longest_us:
        edges.append(max(edges[-1] + 1, round(edges[-1] * 1.05)))
    return np.array([0.5, *edges])
