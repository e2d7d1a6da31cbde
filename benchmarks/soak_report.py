"""The figures of benchmarks/soak.py as a table and a picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from learning.intervals import wilson

_LEVEL_S = 120.0


@dataclass(frozen=True)
class Sample:
    """The service at one moment; `late_us` (p99) and `late_max_us` are of its newest run, None before the first."""

    seconds: float
    rss_mb: float
    descriptors: int
    threads: int
    late_us: float | None
    late_max_us: float | None


@dataclass(frozen=True)
class Done:
    """A task: when, what, whether the simulator says that it was done, and what disturbed it."""

    began_s: float
    ended_s: float
    kind: str
    success: bool
    reason: str
    disturbance: str | None


@dataclass
class Soak:
    """Everything that was seen."""

    minutes: float
    seed: int
    faults: tuple[str, ...]
    done: list[Done] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    frames_hit: dict[str, int] = field(default_factory=dict)
    unfed_s: float = 0.0
    restarts: int = 0
    faults_cleared: int = 0

    def as_json(self) -> dict[str, Any]:
        """Everything, and the figures that are read from it."""
        return asdict(self) | {"growth_mb_h": self.growth_mb_h()}

    def warm(self) -> list[Sample]:
        """The samples after a quarter of the time, the first hour at most."""
        begin = min(self.minutes * 60 / 4, 3600.0)
        return [sample for sample in self.samples if sample.seconds >= begin]

    def levels_mb(self) -> list[tuple[float, float]]:
        """After the warm-up, the middle of every `_LEVEL_S` in hours and its median of resident memory in MB.

        Single samples fall into the moments in which a task ends: some 10 MB more while its picture is drawn, and
        some 70 MB less between two tasks, when memory has been given back.
        """
        parts: dict[int, list[float]] = {}
        for sample in self.warm():
            parts.setdefault(int(sample.seconds // _LEVEL_S), []).append(sample.rss_mb)
        return [((part + 0.5) * _LEVEL_S / 3600, float(np.median(rss))) for part, rss in sorted(parts.items())]

    def growth_mb_h(self) -> float:
        """Slope of `levels_mb`, MB an hour; NaN if there is too little to say."""
        levels = self.levels_mb()
        if len(levels) < 3:
            return float("nan")
        hours, mb = zip(*levels, strict=True)
        return float(np.polyfit(hours, mb, 1)[0])


def table(soak: Soak) -> list[str]:
    """What a person reads."""
    lines = [
        f"{soak.minutes:g} minutes, {len(soak.done)} tasks, seed {soak.seed}, on the bus: {' '.join(soak.faults)}",
        "",
    ]
    groups = [("all", soak.done)]
    groups += [(kind, [d for d in soak.done if d.kind == kind]) for kind in sorted({d.kind for d in soak.done})]
    names = sorted({d.disturbance for d in soak.done if d.disturbance})
    groups += [("undisturbed", [d for d in soak.done if d.disturbance is None])]
    groups += [(f"with {name}", [d for d in soak.done if d.disturbance == name]) for name in names]
    for name, done in groups:
        count, ok = len(done), sum(d.success for d in done)
        low, high = wilson(ok, count)
        lines.append(f"{name:<16} {ok:4d} of {count:4d} done  ({low:.2f}–{high:.2f})")
    lines.append("")
    lines.append(
        "frames hit       " + (", ".join(f"{kind} {n}" for kind, n in sorted(soak.frames_hit.items())) or "none")
    )
    lines.append(f"service          {soak.restarts} restarts, {soak.faults_cleared} faults cleared")
    lines.append(f"watchdog         unfed for {soak.unfed_s:.1f} s at most")
    warm, levels = soak.warm(), soak.levels_mb()
    if warm:
        first, last = warm[0], warm[-1]
        lines.append(
            f"memory           {levels[0][1]:.1f} MB after the warm-up, {levels[-1][1]:.1f} at the end: "
            f"{soak.growth_mb_h():+.2f} MB/h (asked: below 1)"
        )
        lines.append(
            f"descriptors      {first.descriptors} → {last.descriptors}; threads {first.threads} → {last.threads}"
        )
    late = [sample.late_us for sample in soak.samples if sample.late_us is not None]
    worst = [sample.late_max_us for sample in soak.samples if sample.late_max_us is not None]
    if late:
        lines.append(f"loop late        p99 {np.median(late):.0f} µs (median run), {max(worst):.0f} µs at worst")
    reasons = Counter(d.reason.splitlines()[0] for d in soak.done if not d.success)
    lines += ["", *(f"missed {count:3d}       {reason}" for reason, count in reasons.most_common(8))]
    return lines


def draw(soak: Soak, path: Path) -> None:
    """Memory, descriptors and lateness over time, with every task as a mark."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    minutes = [sample.seconds / 60 for sample in soak.samples]
    figure, axes = plt.subplots(4, 1, sharex=True, figsize=(9, 8), height_ratios=[3, 2, 3, 1])
    axes[0].plot(minutes, [sample.rss_mb for sample in soak.samples], lw=1)
    axes[0].set_ylabel("resident MB")
    axes[0].set_title(
        f"{len(soak.done)} tasks through edge serve; memory {soak.growth_mb_h():+.2f} MB/h after the warm-up"
    )
    axes[1].step(minutes, [sample.descriptors for sample in soak.samples], lw=1, label="descriptors")
    axes[1].step(minutes, [sample.threads for sample in soak.samples], lw=1, label="threads")
    axes[1].legend(loc="upper left", fontsize="small")
    axes[2].semilogy(minutes, [sample.late_us or np.nan for sample in soak.samples], lw=1, label="p99 of the run")
    axes[2].semilogy(minutes, [sample.late_max_us or np.nan for sample in soak.samples], lw=1, label="worst of the run")
    axes[2].set_ylabel("loop late, µs")
    axes[2].legend(loc="upper left", fontsize="small")
    for done in soak.done:
        colour = "tab:green" if done.success else "tab:red"
        axes[3].axvspan(
            done.began_s / 60, done.ended_s / 60, color=colour, alpha=0.9 if done.disturbance else 0.4, lw=0
        )
    axes[3].set_yticks([])
    axes[3].set_ylabel("tasks")
    axes[3].set_xlabel("minutes (green: done; strong: disturbed)")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
