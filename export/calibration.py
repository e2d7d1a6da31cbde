"""Inputs of a policy's graph: observations of demonstrations, some to calibrate and others to check with, or random."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.policy.backends import Signature
from edge.policy.transforms import square
from edge.tabletop import API
from export.errors import ExportError

Inputs = dict[str, NDArray[Any]]

FILES = 8
WINDOW = 900
"""Rows of a file that are looked at: about six episodes; the frames before a chosen one must be decoded."""


def demonstrations(root: Path, count: int, purpose: Literal["calibrate", "check"], *, size: int = 96) -> list[Inputs]:
    """`count` observations spread over a dataset in LeRobotDataset v3.0 layout, as `learning.dataset` writes it.

    Every other file is for calibration and the rest for checking, so that a graph is never judged by what it was made
    with. A dataset of one file gives its even and its odd rows.

    Args:
        root: The dataset.
        count: Observations.
        purpose: Which share.
        size: Side of the policy's images.

    Returns:
        Inputs of the policy graph's contract, batch 1.

    Raises:
        ExportError: There is no finished dataset at `root`, or it has too few rows.
    """
    import pyarrow.parquet as pq

    from learning.dataset import layout
    from learning.dataset.episode import CAMERAS, video_key
    from learning.dataset.finish import numbers
    from learning.dataset.video import decode

    files = layout.parts(root)
    if not files or not (root / layout.INFO_PATH).is_file():
        raise ExportError(
            f"no calibration data at {root}",
            expected=f"demonstrations in LeRobotDataset v3.0 layout, with {layout.INFO_PATH}",
            got="no finished dataset" if root.is_dir() else "no such directory",
            fix="record some (`python -m learning.demonstrations`) and name them: --calibration-data data/tabletop",
        )
    first = 0 if purpose == "calibrate" else 1
    files = files[first::2] if len(files) > 1 else files
    files = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(FILES, len(files))).round().astype(int))]
    inputs: list[Inputs] = []
    for index, (chunk, file) in enumerate(files):
        table = pq.read_table(root / layout.DATA_PATH.format(chunk_index=chunk, file_index=file)).slice(0, WINDOW)
        share = (count - len(inputs)) // (len(files) - index)
        if 2 * share > len(table):
            fix = "record more demonstrations, or ask for fewer with --observations"
            raise ExportError(f"{root} is too short", expected=f"{2 * share} rows a file", got=str(len(table)), fix=fix)
        rows = [int(row) for row in 2 * np.linspace(0, len(table) // 2 - 1, share).astype(int) + first]
        frames: dict[str, dict[int, NDArray[np.uint8]]] = {}
        for camera in CAMERAS:
            video = root / layout.VIDEO_PATH.format(video_key=video_key(camera), chunk_index=chunk, file_index=file)
            wanted = set(rows)
            pictures = itertools.islice(decode(video), rows[-1] + 1) if rows else ()
            frames[camera] = {row: square(image, size) for row, image in enumerate(pictures) if row in wanted}
        state, goal = numbers(table, "observation.state"), numbers(table, "goal")
        calls = table.column("call").to_pylist()
        inputs += [
            {
                **{camera: frames[camera][row][None] for camera in CAMERAS},
                "joints": state[row][None].astype(np.float32),
                "call": API.encode(API.parse(calls[row]))[None],
                "goal": goal[row][None].astype(np.float32),
            }
            for row in rows
        ]
    return inputs


def random_inputs(signature: Signature, rng: np.random.Generator) -> Inputs:
    """One input of a graph's types and shapes: any picture, any pose, any call the API can make.

    Whole numbers that are not the tokens of a call are 0.
    """
    calls = list(API.calls())
    found: Inputs = {}
    for name, (dtype, shape) in signature.items():
        if name == "call":
            found[name] = np.broadcast_to(API.encode(calls[rng.integers(len(calls))]), shape).astype(dtype)
        elif dtype == "uint8":
            found[name] = rng.integers(0, 256, shape, dtype=np.uint8)
        elif dtype.startswith("float"):
            found[name] = rng.uniform(-1.5, 1.5, shape).astype(dtype)
        else:
            found[name] = np.zeros(shape, dtype)
    return found
