"""What a LeRobot diffusion policy makes of each frame of a dataset, computed once: what students are trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from export.errors import ExportError
from export.lerobot.diffusion import Diffusion
from export.lerobot.folding import Checkpoint
from export.lerobot.settings import ACTION, STATE
from export.lerobot.statistics import Affine
from learning.dataset import layout
from learning.dataset.finish import numbers
from learning.dataset.video import decode

_BATCH, _SAVE_EVERY = 64, 20


@dataclass(frozen=True)
class Frames:
    """N frames of E episodes.

    Attributes:
        known: (N, F) what the denoiser is told of one frame.
        action: (N, A) actions in the network's units.
        bounds: (E + 1,) episode e is frames bounds[e] to bounds[e + 1].
        history: Frames that the denoiser is told of at once.
        horizon: Actions in a sample. The first is that of the oldest frame told.
        dropped: Last frames of an episode that no sample is made for, as in LeRobot's training.
        policy: Digest of the checkpoint that they are of.
    """

    known: NDArray[np.float32]
    action: NDArray[np.float32]
    bounds: NDArray[np.int64]
    history: int
    horizon: int
    dropped: int
    policy: str

    def rows(self) -> NDArray[np.int64]:
        """Frames that there is a sample for."""
        pairs = zip(self.bounds[:-1], self.bounds[1:], strict=True)
        return np.concatenate([np.arange(start, max(start + 1, stop - self.dropped)) for start, stop in pairs])

    def samples(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Conditions (B, history · F) and actions (B, horizon, A); what lies beyond an episode repeats its end."""
        episode = np.searchsorted(self.bounds, rows, side="right") - 1
        first, last = self.bounds[episode, None], self.bounds[episode + 1, None] - 1
        start = rows[:, None] - (self.history - 1)
        seen = np.clip(start + np.arange(self.history), first, last)
        done = np.clip(start + np.arange(self.horizon), first, last)
        known = self.known[seen].reshape(len(rows), -1)
        return torch.from_numpy(known), torch.from_numpy(self.action[done])


def _digest(found: Checkpoint) -> str:
    """Of the weights, with the normalisation: what a checkpoint's frames and students follow from."""
    seen = hashlib.sha256(repr(found.normal).encode())
    for name, weight in sorted(found.network.state_dict().items()):
        seen.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return seen.hexdigest()[:12]


def build(found: Checkpoint, root: Path, out: Path, device: str = "cpu") -> Frames:
    """Computes the frames into `out`; goes on where it was interrupted, and opens them if they are whole.

    Args:
        found: The checkpoint.
        root: A dataset in LeRobotDataset v3.0 layout, in the units that the policy was trained in.
        out: Directory.
        device: Where the encoder runs.

    Raises:
        ExportError: The dataset is not of that layout, or not one for this policy.
    """
    network = found.network
    assert isinstance(network, Diffusion)
    settings = network.settings
    fps, episodes = _read(found, root)
    bounds = np.cumsum([0, *(int(row["length"]) for row in episodes)])
    out.mkdir(parents=True, exist_ok=True)
    journal = out / "frames.json"
    plan = {"data": str(root.resolve()), "frames": int(bounds[-1]), "policy": _digest(found)}
    state: dict[str, Any] = json.loads(journal.read_text()) if journal.exists() else {}
    if state.get("plan") != plan:
        state = {"plan": plan, "done": 0}
        width = _encode(found, [_blank(found)], device).shape[1]
        np.lib.format.open_memmap(out / "known.npy", "w+", np.float32, (plan["frames"], width)).flush()
        np.lib.format.open_memmap(
            out / "action.npy", "w+", np.float32, (plan["frames"], settings.features.actions)
        ).flush()
        layout.write_json(journal, state)
    known, action = (np.lib.format.open_memmap(out / f"{name}.npy", "r+") for name in ("known", "action"))
    rest = range(state["done"], len(episodes))
    reader = _Reader(root, fps)
    for index in track(rest, description=f"frames of {root.name}") if rest else ():
        span = slice(bounds[index], bounds[index + 1])
        values = reader.episode(found, episodes[index])
        known[span] = _encode(found, values, device)
        action[span] = _apply(found.normal.action.inverse(), np.stack([value[ACTION] for value in values]))
        if (index + 1) % _SAVE_EVERY == 0 or index + 1 == len(episodes):
            known.flush()
            action.flush()
            state["done"] = index + 1
            layout.write_json(journal, state)
    dropped = settings.horizon - settings.n_action_steps - settings.n_obs_steps + 1
    return Frames(known, action, bounds, settings.n_obs_steps, settings.horizon, dropped, plan["policy"])


def _read(found: Checkpoint, root: Path) -> tuple[float, list[dict[str, Any]]]:
    """Frames a second, and the index of episodes."""
    try:
        info = json.loads((root / layout.INFO_PATH).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ExportError(
            f"no dataset at {root}", expected=f"LeRobotDataset v3.0 with {layout.INFO_PATH}", got=str(problem)
        ) from problem
    if info.get("codebase_version") != layout.VERSION:
        raise ExportError(
            f"{root} is of another version", expected=layout.VERSION, got=str(info.get("codebase_version")),
            fix="convert it with LeRobot's own converter",
        )  # fmt: skip
    features, network = info["features"], found.network.settings.features
    wanted = {_name(found, key): [*size, 3] for key, size in network.images.items()}
    wanted |= {STATE: [network.state], ACTION: [network.actions]}
    if found.environment is not None:
        wanted[found.environment] = [network.environment]
    for key, shape in wanted.items():
        feature = features.get(key)
        if feature is None or list(feature["shape"]) != shape:
            got = "none" if feature is None else str(list(feature["shape"]))
            raise ExportError(f"{root} is no dataset of this policy: {key}", expected=str(shape), got=got)
        if len(shape) == 3 and feature["dtype"] != "video":
            raise ExportError(f"{root} keeps {key} as images", expected="videos", got=str(feature["dtype"]))
    files = sorted((root / "meta" / "episodes").rglob("*.parquet"))
    columns = [name for name in pq.read_schema(files[0]).names if not name.startswith("stats/")] if files else []
    rows = [row for path in files for row in pq.read_table(path, columns=columns).to_pylist()]
    if not rows:
        raise ExportError(f"{root} has no episodes", expected="meta/episodes", got="none")
    return float(info["fps"]), sorted(rows, key=lambda row: int(row["episode_index"]))


class _Reader:
    """Numbers and pictures of episodes; reading them in order decodes every video once."""

    def __init__(self, root: Path, fps: float) -> None:
        self._root, self._fps = root, fps
        self._table: tuple[Path, pa.Table] | None = None
        self._videos: dict[str, tuple[Path, int, Iterator[NDArray[np.uint8]]]] = {}

    def episode(self, found: Checkpoint, row: dict[str, Any]) -> list[dict[str, NDArray[Any]]]:
        """Each frame's values by the policy's keys: pictures uint8 (H, W, 3), numbers in the dataset's units."""
        path = self._root / layout.DATA_PATH.format(
            chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
        )
        if self._table is None or self._table[0] != path:
            self._table = (path, pq.read_table(path))
        table = self._table[1]
        rows = np.flatnonzero(numbers(table, "episode_index") == row["episode_index"])
        if len(rows) != row["length"]:
            raise ExportError(f"{path} lacks frames", expected=f"{row['length']}", got=str(len(rows)))
        part = table.slice(int(rows[0]), len(rows))
        keys = [STATE, ACTION] + ([found.environment] if found.environment is not None else [])
        values: dict[str, Any] = {key: numbers(part, key) for key in keys}
        for key in found.network.settings.features.images:
            values[key] = list(self._pictures(_name(found, key), row))
        return [{key: column[index] for key, column in values.items()} for index in range(len(rows))]

    def _pictures(self, key: str, row: dict[str, Any]) -> Iterator[NDArray[np.uint8]]:
        at = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        path = self._root / layout.VIDEO_PATH.format(video_key=key, **at)
        start = round(float(row[f"videos/{key}/from_timestamp"]) * self._fps)
        now = self._videos.get(key)
        if now is None or now[0] != path or now[1] > start:
            now = (path, 0, decode(path))
        _, position, frames = now
        for _ in range(start - position):
            next(frames, None)
        for index in range(row["length"]):
            frame = next(frames, None)
            if frame is None:
                raise ExportError(f"{path} is too short", expected=f"frame {start + index}", got="its end")
            yield frame
        self._videos[key] = (path, start + row["length"], frames)


@torch.no_grad()
def _encode(found: Checkpoint, values: list[dict[str, NDArray[Any]]], device: str) -> NDArray[np.float32]:
    """What the denoiser is told of each frame, (T, F)."""
    network, normal = found.network, found.normal
    assert isinstance(network, Diffusion)
    made = []
    for start in range(0, len(values), _BATCH):
        part = values[start : start + _BATCH]

        def stack(key: str, affine: Affine, part: list[dict[str, NDArray[Any]]] = part) -> Tensor:
            return torch.from_numpy(_apply(affine, np.stack([value[key] for value in part]))).to(device)

        images = {}
        for key in network.settings.features.images:
            pixel = normal.inputs[key]
            images[key] = stack(key, Affine(pixel.scale / 255, pixel.shift)).permute(0, 3, 1, 2)[:, None]
        state = stack(STATE, normal.inputs[STATE])[:, None]
        environment = None
        if found.environment is not None:
            environment = stack(found.environment, normal.inputs[found.environment])[:, None]
        made.append(network.condition(images, state, environment).float().cpu().numpy())
    return np.concatenate(made)


def _apply(affine: Affine, values: NDArray[Any]) -> NDArray[np.float32]:
    return (values * affine.scale + affine.shift).astype(np.float32)


def _name(found: Checkpoint, key: str) -> str:
    return found.normal.renamed.get(key, key)


def _blank(found: Checkpoint) -> dict[str, NDArray[Any]]:
    features = found.network.settings.features
    values: dict[str, NDArray[Any]] = {key: np.zeros((*size, 3), np.uint8) for key, size in features.images.items()}
    values[STATE] = np.zeros(features.state)
    if found.environment is not None:
        values[found.environment] = np.zeros(features.environment)
    return values
