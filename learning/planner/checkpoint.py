"""Training state on disk: written whole or not at all, so that a killed run goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from learning.errors import CheckpointError
from learning.planner.optimise import Optimiser

STAGES = ("vision", "words", "language", "together", "polish")


@dataclass
class Progress:
    """How far a run is: the stage, its steps, and the seconds of training spent in it."""

    stage: str = STAGES[0]
    step: int = 0
    seconds: float = 0.0


def save(
    path: Path,
    progress: Progress,
    model: nn.Module,
    heads: nn.Module,
    optimiser: Optimiser | None,
    plan: Mapping[str, Any],
) -> None:
    """Write everything that training needs to go on, and the plan that it follows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "plan": dict(plan),
        "progress": asdict(progress),
        "model": model.state_dict(),
        "heads": heads.state_dict(),
        "optimiser": optimiser.state() if optimiser else None,
    }
    written = path.with_suffix(".part")
    torch.save(state, written)
    os.replace(written, path)


def load(path: Path, model: nn.Module, heads: nn.Module, plan: Mapping[str, Any]) -> tuple[Progress, Any]:
    """Restore the networks; returns the progress and the optimiser's state (None between stages).

    Raises:
        CheckpointError: It follows another plan. Older ones do not say which.
    """
    state = torch.load(path, weights_only=True)
    for key, asked in plan.items():
        if (begun := state.get("plan", plan)[key]) != asked:
            fix = "ask for what it was begun with, move it away, or choose another --out"
            raise CheckpointError(f"{path} was begun with another {key}", expected=str(asked), got=str(begun), fix=fix)
    model.load_state_dict(state["model"])
    heads.load_state_dict(state["heads"])
    return Progress(**state["progress"]), state["optimiser"]
