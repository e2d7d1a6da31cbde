"""LeRobot checkpoints from the fixtures: what LeRobot saved, with the weights put back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from lerobot_weights import weights
from numpy.typing import NDArray
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent / "fixtures" / "lerobot"
NAMES = sorted(path.name for path in HERE.iterdir() if path.is_dir() and (path / "config.json").is_file())


def expected(name: str) -> dict[str, NDArray[np.generic]]:
    """An observation (`seen/…`) and what LeRobot made of it."""
    with np.load(HERE / name / "expected.npz") as arrays:
        return dict(arrays)


def tensors(name: str) -> dict[str, torch.Tensor]:
    """The state dict that LeRobot computed its answers with."""
    computed = {key.removeprefix("computed/"): v for key, v in expected(name).items() if key.startswith("computed/")}
    shapes = json.loads((HERE / name / "shapes.json").read_text())
    return {key: torch.from_numpy(np.asarray(value)) for key, value in weights(shapes, computed).items()}


def write_checkpoint(name: str, out: Path) -> Path:
    """A directory as LeRobot saves it."""
    shutil.copytree(HERE / name, out, ignore=shutil.ignore_patterns("shapes.json", "expected.npz"))
    save_file(tensors(name), str(out / "model.safetensors"))
    return out
