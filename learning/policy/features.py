"""Stage one's view of every demonstration step, computed once: what the heads are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from learning.policy.data import Demonstrations
from learning.policy.vision import Regression

_BATCH = 256


@dataclass(frozen=True)
class Bank:
    """Features (V, N, FEATURES) of N training steps, and their normalised chunks (N, CHUNK).

    Every step was seen V times: exposure and hints vary.
    """

    features: NDArray[np.float16]
    chunk: NDArray[np.float32]

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """A random (B, FEATURES) and (B, CHUNK), the same for the same seed and step."""
        rng = np.random.default_rng([seed, step])
        views, rows = rng.integers(len(self.features), size=size), rng.integers(self.features.shape[1], size=size)
        return torch.from_numpy(self.features[views, rows].astype(np.float32)), torch.from_numpy(self.chunk[rows])


@torch.no_grad()
def build_bank(model: Regression, data: Demonstrations, out: Path, *, views: int, seed: int) -> Bank:
    """Compute the bank, or open the one in `out` if it was computed before from the same checkpoint."""
    features_path, chunk_path = out / "features.npy", out / "chunk.npy"
    if not chunk_path.exists():
        out.mkdir(parents=True, exist_ok=True)
        rows = data.training
        shape = (views, len(rows), model.encoder.FEATURES)
        features = np.lib.format.open_memmap(features_path, "w+", np.float16, shape)
        for view in range(views):
            rng = np.random.default_rng([seed, 1_000_003, view])
            starts = range(0, len(rows), _BATCH)
            for start in track(starts, description=f"features, view {view + 1} of {views}"):
                batch = data.batch(rows[start : start + _BATCH], rng)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    found = model.encoder(batch.front, batch.wrist, batch.joints, batch.words, batch.goal)
                features[view, start : start + _BATCH] = found.vector.float().numpy()
        features.flush()
        chunks = [model.normal.squash(torch.from_numpy(data.chunk(part))) for part in np.array_split(rows, 64)]
        np.save(chunk_path, torch.cat(chunks).numpy())
    return Bank(np.load(features_path, mmap_mode="r"), np.load(chunk_path, mmap_mode="r"))
