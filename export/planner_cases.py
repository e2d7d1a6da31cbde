"""Evaluation cases for the parity gate: what the planner sees, in one .npz that the trainer writes.

images       uint8 (n, 192, 192, 3)  front camera, RGB, as `policy.transforms.square` makes it
tasks        str (n,)
transcripts  str (n,)                transcript lines joined by newlines; empty before the first call
calls        str (n,)                optional: the right next call, to report accuracy beside parity
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edge.api import Call, RobotApi, Transcript
from export.errors import ExportError


@dataclass(frozen=True)
class Case:
    """One situation: `image` (size, size, 3) uint8 RGB, and the right next call, or None where it is not known."""

    image: NDArray[np.uint8]
    task: str
    transcript: Transcript
    call: Call | None = None


def save_cases(path: Path, api: RobotApi, cases: Iterable[Case]) -> None:
    """Write cases; calls are kept only if every case has one."""
    rows = list(cases)
    columns: dict[str, Any] = {
        "images": np.stack([case.image for case in rows]),
        "tasks": np.array([case.task for case in rows]),
        "transcripts": np.array(["\n".join(api.format_entry(entry) for entry in case.transcript) for case in rows]),
    }
    known = [api.format(case.call) for case in rows if case.call is not None]
    if len(known) == len(rows):
        columns["calls"] = np.array(known)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, **columns)


def load_cases(path: Path, api: RobotApi) -> list[Case]:
    """Read cases.

    Raises:
        ExportError: If the file is missing, is not such an .npz, or holds no case.
        CallError: If a transcript or call is not of this API.
    """
    if not path.is_file():
        raise ExportError("no evaluation cases", expected="an .npz that the planner's training wrote", got=str(path))
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ExportError(
            f"{path.name} cannot be read", expected="an .npz without pickled data", got=str(error)
        ) from error
    missing = {"images", "tasks", "transcripts"} - columns.keys()
    counts = {len(column) for column in columns.values()}
    if missing or len(counts) != 1 or 0 in counts:
        raise ExportError(
            f"{path.name} holds no usable cases",
            expected="images, tasks, transcripts (and calls) of one length above 0",
            got=", ".join(f"{name} {column.shape}" for name, column in columns.items()),
        )
    images = columns["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ExportError("case images", expected="uint8 (n, size, size, 3)", got=f"{images.dtype} {images.shape}")
    return [
        Case(
            image,
            str(columns["tasks"][index]),
            tuple(api.parse_entry(line) for line in str(columns["transcripts"][index]).splitlines()),
            api.parse(str(columns["calls"][index])) if "calls" in columns else None,
        )
        for index, image in enumerate(images)
    ]
