"""Stage one's view of every demonstration step, computed once: what the later stages are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from learning.dataset import DatasetError
from learning.policy.data import Demonstrations
from learning.policy.vision import Regression

_BATCH = 256


@dataclass(frozen=True)
class Rows:
    """B steps: raw encoder features (B, RAW), joints (B, 6), normalised chunk (B, CHUNK), aim (B, 5), finished (B,)."""

    raw: Tensor
    joints: Tensor
    chunk: Tensor
    aim: Tensor
    finished: Tensor


@dataclass(frozen=True)
class Bank:
    """Features of N training steps, each seen V times — exposure and hints vary —, and the steps' labels."""

    raw: NDArray[np.float32]
    joints: NDArray[np.float32]
    chunk: NDArray[np.float32]
    aim: NDArray[np.float32]
    finished: NDArray[np.float32]

    def batch(self, size: int, seed: int, step: int) -> Rows:
        """Random rows, the same for the same seed and step."""
        rng = np.random.default_rng([seed, step])
        views, rows = rng.integers(len(self.raw), size=size), rng.integers(self.raw.shape[1], size=size)
        labels = (self.joints, self.chunk, self.aim, self.finished)
        return Rows(torch.from_numpy(self.raw[views, rows]), *(torch.from_numpy(label[rows]) for label in labels))


@torch.no_grad()
def build_bank(model: Regression, data: Demonstrations, out: Path, *, views: int, seed: int) -> Bank:
    """Compute the bank in `out`, or open it if it is there.

    Raises:
        DatasetError: What is there is of other data: its rows are not those of the labels.
    """
    rows, done = data.training, out / "complete"
    if not done.exists():
        out.mkdir(parents=True, exist_ok=True)
        raw = np.lib.format.open_memmap(out / "raw.npy", "w+", np.float32, (views, len(rows), model.encoder.RAW))
        for view in range(views):
            rng = np.random.default_rng([seed, 1_000_003, view])
            for start in track(range(0, len(rows), _BATCH), description=f"features, view {view + 1} of {views}"):
                batch = data.batch(rows[start : start + _BATCH], rng)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    found = model.encoder(batch.front, batch.wrist, batch.joints, batch.words, batch.goal)
                raw[view, start : start + _BATCH] = found.raw.float().numpy()
        raw.flush()
        done.touch()
    raw, wanted = np.load(out / "raw.npy", mmap_mode="r"), (views, len(rows), model.encoder.RAW)
    if raw.shape != wanted:
        fix = f"remove {out}; it is computed anew"
        raise DatasetError(f"{out} is of other data", expected=str(wanted), got=str(raw.shape), fix=fix)
    chunk = [model.normal.squash(torch.from_numpy(data.chunk(part))) for part in np.array_split(rows, 64)]
    cache = data.cache
    return Bank(
        raw, np.asarray(cache.state[rows]), torch.cat(chunk).numpy(),
        np.asarray(cache.extra["aim"][rows]), np.asarray(cache.finished[rows]),
    )  # fmt: skip
