"""Statistics in the shape LeRobot stores them: mean, std, min, max, count and five quantiles of every feature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
_LEVELS = np.arange(256) / 255.0
_FRAME_STRIDE, _PIXEL_STRIDE = 8, 4  # a sample is enough for image statistics; all pixels would cost more than encoding

Stats = dict[str, Any]


def of_column(values: NDArray[Any]) -> Stats:
    """Statistics of (N,) or (N, k) numbers; every entry is a list of k numbers."""
    table = values.reshape(len(values), -1).astype(np.float64)
    stats: Stats = {
        "min": table.min(0).tolist(),
        "max": table.max(0).tolist(),
        "mean": table.mean(0).tolist(),
        "std": table.std(0).tolist(),
        "count": [len(table)],
    }
    for quantile, row in zip(QUANTILES, np.quantile(table, QUANTILES, axis=0), strict=True):
        stats[f"q{round(quantile * 100):02d}"] = row.tolist()
    return stats


def histogram(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts of a sample of the pixels of (T, H, W, 3) images: (3, 256). Histograms add up over episodes exactly."""
    sample = images[::_FRAME_STRIDE, ::_PIXEL_STRIDE, ::_PIXEL_STRIDE].reshape(-1, 3)
    return np.stack([np.bincount(channel, minlength=256) for channel in sample.T])


def sampled_frames(steps: int) -> int:
    """How many frames of an episode `histogram` looks at."""
    return -(-steps // _FRAME_STRIDE)


def of_histogram(counts: NDArray[np.int64], frames: int) -> Stats:
    """Image statistics in [0, 1] from a (3, 256) histogram; every entry has LeRobot's shape (3, 1, 1)."""
    weight = counts / counts.sum(1, keepdims=True)
    mean = weight @ _LEVELS
    spread = np.sqrt(np.maximum(weight @ _LEVELS**2 - mean**2, 0.0))
    seen = counts > 0
    rows = {
        "min": _LEVELS[seen.argmax(1)],
        "max": _LEVELS[255 - seen[:, ::-1].argmax(1)],
        "mean": mean,
        "std": spread,
    }
    cumulative = weight.cumsum(1)
    for quantile in QUANTILES:
        rows[f"q{round(quantile * 100):02d}"] = _LEVELS[(cumulative >= quantile - 1e-12).argmax(1)]
    stats: Stats = {name: row.reshape(3, 1, 1).tolist() for name, row in rows.items()}
    stats["count"] = [frames]
    return stats
