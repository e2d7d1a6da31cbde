"""Decoded frames as memory maps: videos are for keeping and sharing, training reads these."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge.policy.transforms import square
from learning.dataset import layout
from learning.dataset.episode import CAMERAS, EXTRA_PREFIX, DatasetError, video_key
from learning.dataset.finish import numbers
from learning.dataset.video import decode

_FORMAT = 1


@dataclass(frozen=True)
class Cache:
    """All N steps of a dataset in dataset order. Arrays are read-only memory maps.

    Attributes:
        front: (N, size, size, 3) uint8 RGB.
        wrist: (N, size, size, 3) uint8 RGB.
        state: (N, 6) float32.
        action: (N, 6) float32.
        call: (N,) int32, index into `calls`.
        hint: (N, 2) int8, -1 where absent.
        goal: (N, 6) float32.
        finished: (N,) float32.
        episode: (N,) int32 number of the episode.
        task: (N,) int32, index into `tasks`.
        bounds: (episodes + 1,) int64; episode e is rows bounds[e] to bounds[e + 1].
        extra: Auxiliary labels by name, (N, k) float32 each.
        calls: Distinct call texts, sorted.
        tasks: Distinct tasks, sorted.
        fps: Steps a second.
    """

    front: NDArray[np.uint8]
    wrist: NDArray[np.uint8]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    call: NDArray[np.int32]
    hint: NDArray[np.int8]
    goal: NDArray[np.float32]
    finished: NDArray[np.float32]
    episode: NDArray[np.int32]
    task: NDArray[np.int32]
    bounds: NDArray[np.int64]
    extra: Mapping[str, NDArray[np.float32]]
    calls: tuple[str, ...]
    tasks: tuple[str, ...]
    fps: int

    def __len__(self) -> int:
        return len(self.state)


def build_cache(root: Path | str, out: Path | str, size: int = 96, *, threads: int = 2) -> Cache:
    """Decodes every video once and writes frames of `size` pixels beside all other columns.

    Frames pass through `edge.policy.transforms.square`, the robot's own preprocessing. An interrupted build continues
    after the last video it completed; a cache of this very dataset and size is opened as it is.

    Args:
        root: A finished dataset.
        out: Directory of the cache; made if it is missing, overwritten if it belongs to another dataset or size.
        size: Side of the cached frames in pixels.
        threads: Videos decoded at once.

    Raises:
        DatasetError: The dataset is not finished, or a video has lost frames.
    """
    root, out = Path(root), Path(out)
    try:
        info = json.loads((root / layout.INFO_PATH).read_text())
    except FileNotFoundError:
        raise DatasetError(
            f"{root} is no finished dataset", expected=layout.INFO_PATH, fix="call finish(root)"
        ) from None
    files = layout.parts(root)
    rows = {file: pq.read_metadata(_data(root, file)).num_rows for file in files}
    first = dict(zip(files, np.cumsum([0, *rows.values()])[:-1].tolist(), strict=True))
    plan = {
        "format": _FORMAT,
        "size": size,
        "fps": info["fps"],
        "frames": info["total_frames"],
        "files": [[*file, rows[file], _video(root, "front", file).stat().st_size] for file in files],
    }
    if sum(rows.values()) != info["total_frames"]:
        raise DatasetError(f"{root} has grown since it was finished", fix="call finish(root) again")

    out.mkdir(parents=True, exist_ok=True)
    journal = out / "cache.json"
    if not journal.exists() or json.loads(journal.read_text())["plan"] != plan:
        layout.write_json(journal, {"plan": plan, "done": [], "complete": False})
        shape = (info["total_frames"], size, size, 3)
        for camera in CAMERAS:
            np.lib.format.open_memmap(out / f"{camera}.npy", "w+", np.uint8, shape).flush()
    state = json.loads(journal.read_text())
    if not state["complete"]:
        _decode_all(root, out, size, rows, first, state, threads)
        tables = _write_columns(root, out, files)
        state |= {"complete": True, **tables}
        layout.write_json(journal, state)
    return open_cache(out)


def open_cache(out: Path | str) -> Cache:
    """Opens a complete cache. Costs no memory until rows are read.

    Raises:
        DatasetError: There is none, or its build was interrupted.
    """
    out = Path(out)
    try:
        state = json.loads((out / "cache.json").read_text())
    except FileNotFoundError:
        state = {"complete": False}
    if not state["complete"]:
        raise DatasetError(
            f"no complete cache in {out}", fix="run build_cache(root, out); it continues where it stopped"
        )

    def load(name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(out / f"{name}.npy", mmap_mode="r")
        return array

    fields = ("front", "wrist", "state", "action", "call", "hint", "goal", "finished", "episode", "task", "bounds")
    return Cache(
        **{name: load(name) for name in fields},
        extra={name: load(EXTRA_PREFIX + name) for name in state["extra"]},
        calls=tuple(state["calls"]),
        tasks=tuple(state["tasks"]),
        fps=state["plan"]["fps"],
    )


def _decode_all(
    root: Path,
    out: Path,
    size: int,
    rows: dict[tuple[int, int], int],
    first: dict[tuple[int, int], int],
    state: dict[str, Any],
    threads: int,
) -> None:
    maps = {camera: np.lib.format.open_memmap(out / f"{camera}.npy", "r+") for camera in CAMERAS}
    jobs = [(camera, file) for file in rows for camera in CAMERAS if [camera, *file] not in state["done"]]
    columns = (TextColumn("decoding {task.fields[root]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, ThreadPoolExecutor(threads) as pool:
        bar = progress.add_task("frames", total=2 * sum(rows.values()), root=root.name)
        progress.advance(bar, 2 * sum(rows.values()) - sum(rows[file] for _, file in jobs))

        def run(job: tuple[str, tuple[int, int]]) -> tuple[str, tuple[int, int]]:
            camera, file = job
            count = 0
            for count, image in enumerate(decode(_video(root, camera, file)), 1):
                if count <= rows[file]:
                    maps[camera][first[file] + count - 1] = square(image, size)
                progress.advance(bar)
            if count != rows[file]:
                raise DatasetError(
                    f"{_video(root, camera, file)} has the wrong length",
                    expected=f"{rows[file]} frames",
                    got=str(count),
                    fix="delete this file's part in meta/parts and call finish(root) again",
                )
            return job

        for camera, file in pool.map(run, jobs):  # in order: the journal never claims a video that is not written
            maps[camera].flush()
            state["done"].append([camera, *file])
            layout.write_json(out / "cache.json", state)


def _write_columns(root: Path, out: Path, files: list[tuple[int, int]]) -> dict[str, list[str]]:
    tables = [pq.read_table(_data(root, file)) for file in files]
    names = {
        "state": "observation.state",
        "action": "action",
        "hint": "call_hint",
        "goal": "goal",
        "finished": "finished",
    }
    extra = [name for name in tables[0].column_names if name.startswith(EXTRA_PREFIX)]

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([numbers(table, name) for table in tables])

    for field, name in names.items():
        _save(out, field, column(name))
    for name in extra:
        values = column(name)
        _save(out, name, values.reshape(len(values), -1))
    episode = column("episode_index").astype(np.int32)
    _save(out, "episode", episode)
    _save(out, "bounds", np.searchsorted(episode, np.arange(episode[-1] + 2)).astype(np.int64))
    _save(out, "task", column("task_index").astype(np.int32))
    texts = np.concatenate([np.array(table.column("call").to_pylist()) for table in tables])
    calls, index = np.unique(texts, return_inverse=True)
    _save(out, "call", index.astype(np.int32))
    tasks = pq.read_table(root / layout.TASKS_PATH, columns=["__index_level_0__"]).column(0).to_pylist()
    return {"calls": calls.tolist(), "tasks": tasks, "extra": [name.removeprefix(EXTRA_PREFIX) for name in extra]}


def _save(out: Path, name: str, values: NDArray[Any]) -> None:
    partial = out / f"{name}.partial.npy"
    np.save(partial, values)
    os.replace(partial, out / f"{name}.npy")


def _data(root: Path, file: tuple[int, int]) -> Path:
    return root / layout.DATA_PATH.format(chunk_index=file[0], file_index=file[1])


def _video(root: Path, camera: str, file: tuple[int, int]) -> Path:
    return root / layout.VIDEO_PATH.format(video_key=video_key(camera), chunk_index=file[0], file_index=file[1])
