"""Turns what the workers wrote into one numbered dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edge.types import JOINTS
from learning.dataset import layout, stats
from learning.dataset.episode import CAMERAS, IMAGE_SIZE, DatasetError, video_key
from learning.dataset.video import CODEC, PIXEL_FORMAT

_INDEX_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_CANONICAL_CODEC = {"libx264": "h264"}[CODEC]


def finish(root: Path | str) -> dict[str, Any]:
    """Numbers every row and episode and writes `meta/`: the index of episodes, the tasks, the statistics.

    Order is (worker, file, episode), so the result does not depend on timing. It may be called again after more
    episodes were written: videos are never touched, the numbering and `meta/` are made anew.

    Args:
        root: Dataset directory that `DatasetWriter`s have written and closed.

    Returns:
        The content of `meta/info.json`.

    Raises:
        DatasetError: There is no complete file, or files differ in rate or columns.
    """
    root = Path(root)
    files = layout.parts(root)
    if not files:
        raise DatasetError(f"no complete file of episodes in {root}", fix="close every DatasetWriter before finish()")
    parts = [json.loads((root / layout.PART_PATH.format(chunk_index=c, file_index=f)).read_text()) for c, f in files]
    fps = _same("rate", [part["fps"] for part in parts])
    tasks = sorted({episode["task"] for part in parts for episode in part["episodes"]})
    task_index = {task: index for index, task in enumerate(tasks)}

    rows: list[dict[str, Any]] = []
    columns: dict[str, list[NDArray[Any]]] = {}
    schemas = []
    for (chunk, file), part in zip(files, parts, strict=True):
        path = root / layout.DATA_PATH.format(chunk_index=chunk, file_index=file)
        table = pq.read_table(path)
        table = table.drop_columns([name for name in _INDEX_COLUMNS if name in table.column_names])
        first_row = rows[-1]["dataset_to_index"] if rows else 0
        lengths = [episode["length"] for episode in part["episodes"]]
        numbering = _numbering(lengths, [task_index[e["task"]] for e in part["episodes"]], len(rows), first_row, fps)
        for name, values in numbering.items():
            table = table.append_column(name, pa.array(values))
        layout.write_table(path, table)
        schemas.append(table.schema)
        arrays = {name: numbers(table, name) for name in table.column_names if name != "call"}
        for name, values in arrays.items():
            columns.setdefault(name, []).append(values)
        rows += _episode_rows(part["episodes"], arrays, chunk, file, len(rows), first_row, fps)

    schema = _same("columns", schemas)
    merged = {name: stats.of_column(np.concatenate(blocks)) for name, blocks in columns.items()}
    for camera in CAMERAS:
        key = video_key(camera)
        counts = np.sum([part["histograms"][key] for part in parts], axis=0)
        merged[key] = stats.of_histogram(counts, sum(stats.sampled_frames(row["length"]) for row in rows))
    info = _info(schema, columns, fps, len(rows), rows[-1]["dataset_to_index"], len(tasks))

    layout.write_table(root / layout.EPISODES_PATH.format(chunk_index=0, file_index=0), pa.Table.from_pylist(rows))
    layout.write_table(root / layout.TASKS_PATH, _tasks_table(tasks))
    layout.write_json(root / layout.STATS_PATH, merged)
    layout.write_json(root / layout.INFO_PATH, info)
    return info


def numbers(table: pa.Table, name: str) -> NDArray[Any]:
    """A column as (N,) or (N, k) numbers."""
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
        return np.asarray(column.flatten()).reshape(len(column), -1)
    return np.asarray(column)


def _numbering(
    lengths: list[int], tasks: list[int], first_episode: int, first_row: int, fps: int
) -> dict[str, NDArray[Any]]:
    frame = np.concatenate([np.arange(length) for length in lengths])
    return {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame.astype(np.int64),
        "episode_index": np.repeat(np.arange(first_episode, first_episode + len(lengths)), lengths).astype(np.int64),
        "index": np.arange(first_row, first_row + len(frame), dtype=np.int64),
        "task_index": np.repeat(tasks, lengths).astype(np.int64),
    }


def _episode_rows(
    episodes: list[dict[str, Any]],
    arrays: dict[str, NDArray[Any]],
    chunk: int,
    file: int,
    first_episode: int,
    first_row: int,
    fps: int,
) -> list[dict[str, Any]]:
    rows = []
    start = 0  # row of this file
    for index, episode in enumerate(episodes):
        stop = start + episode["length"]
        row: dict[str, Any] = {
            "episode_index": first_episode + index,
            "tasks": [episode["task"]],
            "length": episode["length"],
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": first_row + start,
            "dataset_to_index": first_row + stop,
        }
        for key in map(video_key, CAMERAS):
            row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"] = chunk, file
            row[f"videos/{key}/from_timestamp"], row[f"videos/{key}/to_timestamp"] = start / fps, stop / fps
        summaries = {name: stats.of_column(values[start:stop]) for name, values in arrays.items()}
        for name, summary in {**summaries, **episode["images"]}.items():
            row |= {f"stats/{name}/{statistic}": value for statistic, value in summary.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        rows.append(row)
        start = stop
    return rows


def _info(
    schema: pa.Schema, columns: dict[str, list[NDArray[Any]]], fps: int, episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    image = {
        "dtype": "video",
        "shape": [IMAGE_SIZE, IMAGE_SIZE, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": IMAGE_SIZE,
            "video.width": IMAGE_SIZE,
            "video.codec": _CANONICAL_CODEC,
            "video.pix_fmt": PIXEL_FORMAT,
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        },
    }
    names = {
        "observation.state": list(JOINTS),
        "action": list(JOINTS),
        "call_hint": ["column", "row"],
        "goal": ["valid", "x", "y", "z", "cos_yaw", "sin_yaw"],
    }
    features: dict[str, Any] = {video_key(camera): image for camera in CAMERAS}
    for name in schema.names:
        if name == "call":
            features[name] = {"dtype": "string", "shape": [1], "names": None}
        else:
            block = columns[name][0]
            width = block.shape[1] if block.ndim == 2 else 1
            features[name] = {"dtype": str(block.dtype), "shape": [width], "names": names.get(name)}
    return {
        "codebase_version": layout.VERSION,
        "robot_type": "so101",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": layout.FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 100,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": layout.DATA_PATH,
        "video_path": layout.VIDEO_PATH,
        "features": features,
    }


def _tasks_table(tasks: list[str]) -> pa.Table:
    """The table as pandas would write a frame indexed by task: LeRobot looks tasks up by that index."""
    index = "__index_level_0__"
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    described = [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ]
    pandas = {"index_columns": [index], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def _same(what: str, values: list[Any]) -> Any:
    for value in values[1:]:
        if value != values[0]:
            raise DatasetError(
                f"files of one dataset differ in their {what}",
                expected=str(values[0]),
                got=str(value),
                fix="write each kind of demonstration into its own directory",
            )
    return values[0]
