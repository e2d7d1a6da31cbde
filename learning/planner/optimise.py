"""Muon for the matrices inside the layers, AdamW for everything else, one schedule for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

MUON_RATE, ADAM_RATE = 0.02, 2e-3


class Optimiser:
    """Both optimisers as one.

    Args:
        modules: What to train.
        rate: Multiplies both learning rates.
    """

    def __init__(self, modules: Iterable[nn.Module], rate: float = 1.0) -> None:
        named = [(name, p) for module in modules for name, p in module.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and "layers." in name]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self.parameters = [*matrices, *rest]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=ADAM_RATE * rate, betas=(0.9, 0.98), weight_decay=0.01)
        ]
        if matrices:
            self._parts.append(torch.optim.Muon(matrices, lr=MUON_RATE * rate, momentum=0.95, weight_decay=0.01))
        self._base = [group["lr"] for part in self._parts for group in part.param_groups]

    def step(self, scale: float) -> None:
        """One update with the base rates times `scale`; gradients are clipped, used and cleared."""
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        groups = [group for part in self._parts for group in part.param_groups]
        for group, base in zip(groups, self._base, strict=True):
            group["lr"] = base * scale
        for part in self._parts:
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [part.state_dict() for part in self._parts]

    def load(self, state: Iterable[Mapping[str, Any]]) -> None:
        """From a checkpoint."""
        for part, saved in zip(self._parts, state, strict=True):
            part.load_state_dict(dict(saved))


def schedule(progress: float, *, warm: float = 0.02, hold: float = 0.5, floor: float = 0.02) -> float:
    """Rate multiplier at `progress` 0 … 1 of a stage: warm up, hold, fall linearly to `floor`."""
    if progress < warm:
        return max(progress, 0.002) / warm
    return 1.0 - (1.0 - floor) * max(0.0, (progress - hold) / (1.0 - hold))
