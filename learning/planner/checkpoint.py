"""Training state on disk: written whole or not at all, so that a killed run goes on where it was."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from learning.planner.optimise import Optimiser

STAGES = ("vision", "words", "language", "together", "polish")


@dataclass
class Progress:
    """How far a run is: the stage, its steps, and the seconds of training spent in it."""

    stage: str = STAGES[0]
    step: int = 0
    seconds: float = 0.0


def save(path: Path, progress: Progress, model: nn.Module, heads: nn.Module, optimiser: Optimiser | None) -> None:
    """Write everything that training needs to go on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "progress": asdict(progress),
        "model": model.state_dict(),
        "heads": heads.state_dict(),
        "optimiser": optimiser.state() if optimiser else None,
    }
    written = path.with_suffix(".part")
    torch.save(state, written)
    os.replace(written, path)


def load(path: Path, model: nn.Module, heads: nn.Module) -> tuple[Progress, Any]:
    """Restore the networks; returns the progress and the optimiser's state (None between stages)."""
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    heads.load_state_dict(state["heads"])
    return Progress(**state["progress"]), state["optimiser"]
