"""A picture of a run: calls as bars, chunks as ticks, every joint as commanded and as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.run_log import Record
from edge.types import JOINTS

TIMELINE = "timeline.png"
MOTION = "joints.npz"
_COLOURS = {"ok": "#4caf50", "missed": "#ffb300", "lost": "#fb8c00", "timeout": "#e53935", "": "#90a4ae"}


def save_motion(path: Path, time_ns: NDArray[Any], measured: NDArray[Any], commanded: NDArray[Any]) -> None:
    """Writes the joint motion of a run.

    Args:
        path: The `.npz` file.
        time_ns: (n,) CLOCK_MONOTONIC.
        measured: (n, 6), see `types.JOINTS`.
        commanded: (n, 6).
    """
    np.savez_compressed(
        path, time_ns=time_ns, measured=measured.astype(np.float32), commanded=commanded.astype(np.float32)
    )


def draw_timeline(records: Sequence[Record], motion: Mapping[str, NDArray[Any]] | None, path: Path) -> None:
    """Draws `timeline.png`.

    Args:
        records: The log.
        motion: `time_ns` (n,), `measured` and `commanded` (n, 6), or None when nothing moved.
        path: The picture to write.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    zero = records[0]["time_ns"] if records else 0
    ratios = [1.2, 0.6] + [1.0] * len(JOINTS)
    figure, axes = plt.subplots(
        len(ratios), 1, sharex=True, figsize=(14, 11), height_ratios=ratios, layout="constrained"
    )
    _draw_calls(axes[0], records, zero)
    _draw_chunks(axes[1], records, zero)
    for i, name in enumerate(JOINTS):
        axis = axes[2 + i]
        axis.set_ylabel(name.replace("_", "\n"), fontsize=8)
        if motion is not None and len(motion["time_ns"]):
            seconds = (motion["time_ns"] - zero) / 1e9
            axis.plot(seconds, motion["commanded"][:, i], color="#ef6c00", lw=0.8, label="commanded")
            axis.plot(seconds, motion["measured"][:, i], color="#1565c0", lw=0.8, label="measured")
    if axes[2].lines:
        axes[2].legend(loc="upper right", fontsize=7, ncols=2)
    axes[-1].set_xlabel("seconds")
    figure.suptitle(next((r["text"] for r in records if r["kind"] == "task"), "no task"))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_calls(axis: Any, records: Sequence[Record], zero: int) -> None:
    axis.set_ylabel("calls", fontsize=8)
    axis.set_yticks([])
    axis.set_ylim(0, 2)
    began: Record | None = None
    for record in records:
        seconds = (record["time_ns"] - zero) / 1e9
        if record["kind"] == "plan":
            axis.broken_barh([(seconds - record["ms"] / 1e3, record["ms"] / 1e3)], (1.2, 0.5), color="#8e24aa")
        elif record["kind"] == "call":
            began = record
        elif record["kind"] in ("end", "failed") and began is not None:
            start = (began["time_ns"] - zero) / 1e9
            colour = _COLOURS[record.get("outcome", "")]
            axis.broken_barh([(start, seconds - start)], (0.1, 0.9), color=colour, edgecolor="white")
            axis.text(start, 0.55, f" {began['text']}", fontsize=7, va="center", clip_on=True)
            began = None
    axis.text(0.0, 1.45, "planner ", fontsize=7, va="center", ha="right", transform=axis.get_yaxis_transform())


def _draw_chunks(axis: Any, records: Sequence[Record], zero: int) -> None:
    axis.set_ylabel("chunks", fontsize=8)
    axis.set_yticks([])
    chunks = [record for record in records if record["kind"] == "chunk"]
    for accepted, colour in ((True, "#546e7a"), (False, "#e53935")):
        times = [(record["time_ns"] - zero) / 1e9 for record in chunks if record["accepted"] is accepted]
        axis.vlines(times, 0, 1, color=colour, lw=0.7)
    twin = axis.twinx()
    twin.plot(
        [(r["time_ns"] - zero) / 1e9 for r in chunks], [r["finished"] for r in chunks], ".", color="#2e7d32", ms=3
    )
    twin.set_ylim(-0.05, 1.05)
    twin.set_ylabel("finished", fontsize=7, color="#2e7d32")
