"""Where things lie in a LeRobotDataset v3.0 directory, and how they are written so that a crash leaves no half file.

    root/
      data/chunk-CCC/file-FFF.parquet                      numbers and call texts, many episodes a file
      videos/observation.images.front/chunk-CCC/file-FFF.mp4
      meta/info.json  stats.json  tasks.parquet            written by `finish`
      meta/episodes/chunk-000/file-000.parquet             which rows and which seconds belong to which episode
      meta/parts/chunk-CCC/file-FFF.json                   ours: what a worker put in file FFF; LeRobot ignores it

The chunk number is the worker that wrote the file, so parallel writers never meet, and sorted path order, which is the
order LeRobot concatenates files in, does not depend on which worker was faster. A file counts once its part exists.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
PART_PATH = "meta/parts/chunk-{chunk_index:03d}/file-{file_index:03d}.json"
INFO_PATH, STATS_PATH, TASKS_PATH = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"


def temporary(path: Path) -> Path:
    """Where a file is written before it gets its name. Its directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(path.name + ".partial")


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, all or nothing."""
    partial = temporary(path)
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a parquet file, all or nothing."""
    partial = temporary(path)
    pq.write_table(table, partial, compression="zstd")
    os.replace(partial, path)


def parts(root: Path) -> list[tuple[int, int]]:
    """(chunk, file) of every complete file, in dataset order."""
    return [
        (int(path.parent.name.removeprefix("chunk-")), int(path.stem.removeprefix("file-")))
        for path in sorted(root.glob("meta/parts/chunk-*/file-*.json"))
    ]
