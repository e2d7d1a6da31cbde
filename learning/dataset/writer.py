"""Writes episodes, one process beside many others."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learning.dataset import layout, stats
from learning.dataset.episode import CAMERAS, IMAGE_SIZE, DatasetError, Episode, video_key
from learning.dataset.video import VideoWriter


class DatasetWriter:
    """Appends episodes to a dataset directory.

    Every worker has its own chunk of files and takes no lock. A file is complete, and counts, once it is closed; a
    killed worker loses the episodes of its open file only, and a new writer of the same number continues after the
    last complete one. Call `finish(root)` once all workers have closed.

    Args:
        root: Dataset directory; made if it is missing.
        fps: Steps a second.
        worker: Number of this writer, 0 to 999; no two writers that run at once may share it.
        episodes_per_file: A file is closed after this many episodes.
        file_bytes: ... or once a video of it has grown to this size.

    Raises:
        DatasetError: The worker number is out of range, its chunk is full, or an episode has other labels.
    """

    def __init__(
        self,
        root: Path | str,
        fps: int = 20,
        worker: int = 0,
        *,
        episodes_per_file: int = 64,
        file_bytes: int = 100_000_000,
    ) -> None:
        if not 0 <= worker < 1000:
            raise DatasetError("a dataset worker has no chunk", expected="a number from 0 to 999", got=str(worker))
        self.root, self.fps, self.worker = Path(root), fps, worker
        self._limit_episodes, self._limit_bytes = episodes_per_file, file_bytes
        self._file = 1 + max((file for chunk, file in layout.parts(self.root) if chunk == worker), default=-1)
        self._open: _OpenFile | None = None

    def add(self, episode: Episode) -> None:
        """Appends one episode; encodes it at once."""
        if self._open is None:
            if self._file >= layout.FILES_PER_CHUNK:
                raise DatasetError(
                    f"worker {self.worker} has written {self._file} files", fix="use a new worker number"
                )
            self._open = _OpenFile(self.root, self.worker, self._file, self.fps)
        self._open.add(episode)
        if len(self._open.lengths) >= self._limit_episodes or self._open.bytes >= self._limit_bytes:
            self._close_file()

    def close(self) -> None:
        """Completes the open file. Nothing added is lost after this."""
        self._close_file()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_file(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
            self._file += 1


class _OpenFile:
    """One parquet file and one video a camera, in the making."""

    def __init__(self, root: Path, chunk: int, file: int, fps: int) -> None:
        where = {"chunk_index": chunk, "file_index": file}
        self._data = root / layout.DATA_PATH.format(**where)
        self._part = root / layout.PART_PATH.format(**where)
        self._fps = fps
        self._paths = {name: root / layout.VIDEO_PATH.format(video_key=video_key(name), **where) for name in CAMERAS}
        self._videos = {
            name: VideoWriter(layout.temporary(path), IMAGE_SIZE, fps) for name, path in self._paths.items()
        }
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._calls: list[str] = []
        self._tasks: list[str] = []
        self._histograms: dict[str, list[NDArray[np.int64]]] = {name: [] for name in CAMERAS}
        self.lengths: list[int] = []

    @property
    def bytes(self) -> int:
        """Size of the larger video so far."""
        return max(layout.temporary(path).stat().st_size for path in self._paths.values())

    def add(self, episode: Episode) -> None:
        columns = episode.columns
        known = {name: blocks[0].shape[1:] for name, blocks in self._columns.items()}
        if known and known != {name: values.shape[1:] for name, values in columns.items()}:
            raise DatasetError(
                "an episode has other labels than the ones before it",
                expected=", ".join(self._columns),
                got=", ".join(columns),
                fix="give every episode of a dataset the same extra labels, of the same width",
            )
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)
        for name in CAMERAS:
            images = getattr(episode, name)
            self._videos[name].add(images)
            self._histograms[name].append(stats.histogram(images))
        self._calls += episode.call
        self._tasks.append(episode.task)
        self.lengths.append(len(episode))

    def close(self) -> None:
        for name, video in self._videos.items():
            video.close()
            os.replace(layout.temporary(self._paths[name]), self._paths[name])
        table = pa.table({name: as_arrow(np.concatenate(blocks)) for name, blocks in self._columns.items()})
        layout.write_table(self._data, table.append_column("call", pa.array(self._calls)))
        part = {
            "fps": self._fps,
            "episodes": [
                {
                    "task": task,
                    "length": length,
                    "images": {
                        video_key(name): stats.of_histogram(self._histograms[name][index], stats.sampled_frames(length))
                        for name in CAMERAS
                    },
                }
                for index, (task, length) in enumerate(zip(self._tasks, self.lengths, strict=True))
            ],
            "histograms": {video_key(name): np.sum(self._histograms[name], axis=0).tolist() for name in CAMERAS},
        }
        layout.write_json(self._part, part)  # last: it says that the rest is complete


def as_arrow(values: NDArray[Any]) -> pa.Array:
    """(N,) numbers as they are, (N, k) as a list of k a row; k = 1 becomes a plain number, as LeRobot wants it."""
    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])
