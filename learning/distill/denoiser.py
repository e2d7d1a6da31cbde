"""A diffusion model as distillation sees it: at any level, under any condition, an estimate of the clean sample."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

PREDICTIONS = ("epsilon", "sample", "velocity")
_Kind = TypeVar("_Kind", bound="Denoiser")


@dataclass(frozen=True)
class Schedule:
    """How much of a sample and how much noise there is at levels 0 (clean) to K (noise, or nearly).

    Attributes:
        alpha: (K + 1,) factor of the clean sample.
        sigma: (K + 1,) factor of the noise; alpha² + sigma² = 1.
    """

    alpha: Tensor
    sigma: Tensor

    @classmethod
    def of(cls, signal: Tensor) -> Schedule:
        """From the share of signal power left at each level, (K + 1,), which is 1 at level 0."""
        if signal.ndim != 1 or len(signal) < 2 or float(signal[0]) != 1 or bool((signal.diff() >= 0).any()):
            raise ValueError(f"expected signal shares that fall from 1, got {signal}")
        return cls(signal.sqrt(), (1 - signal).sqrt())

    @property
    def levels(self) -> int:
        """K."""
        return len(self.alpha) - 1

    def at(self, k: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma at levels k (B,), shaped to multiply samples such as `like` (B, …)."""
        shape = (len(k), *(1,) * (like.ndim - 1))
        return self.alpha.to(k.device)[k].view(shape), self.sigma.to(k.device)[k].view(shape)

    def noised(self, clean: Tensor, noise: Tensor, k: Tensor) -> Tensor:
        """Clean samples (B, …) at levels k (B,)."""
        alpha, sigma = self.at(k, clean)
        return alpha * clean + sigma * noise


def levels_of(x: Tensor, k: int) -> Tensor:
    """Level k for each of some samples (B, …)."""
    return torch.full((len(x),), k, device=x.device)


class Denoiser(nn.Module):
    """A network, its schedule, and what it predicts. A subclass says how the network is asked.

    Args:
        schedule: The levels of its training.
        prediction: What `predict` returns: the noise (`epsilon`), the clean `sample`, or the `velocity`
            alpha · noise − sigma · clean (Salimans & Ho 2022).
        bound: What the sampler clips clean samples to, or None.

    Raises:
        ValueError: Another prediction.
    """

    def __init__(self, schedule: Schedule, prediction: str, bound: float | None = None) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise ValueError(f"unknown prediction {prediction!r}; one of {', '.join(PREDICTIONS)}")
        self.schedule, self.prediction, self.bound = schedule, prediction, bound

    def predict(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        """The network's output for samples (B, …) at levels k (B,) from 1 to K, under conditions (B, …)."""
        raise NotImplementedError

    def grid(self, steps: int) -> list[int]:
        """The levels of a sampler in order: steps + 1 of them, evenly spaced from K to 0.

        Raises:
            ValueError: More steps than levels, or none.
        """
        levels = self.schedule.levels
        if not 1 <= steps <= levels:
            raise ValueError(f"expected 1 to {levels} steps, got {steps}")
        return [round(levels * (1 - i / steps)) for i in range(steps + 1)]

    def clean(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        """What the clean samples look like from there, (B, …)."""
        out = self.predict(x, k, condition).float()
        alpha, sigma = self.schedule.at(k, x)
        if self.prediction == "epsilon":
            return (x - sigma * out) / alpha
        return out if self.prediction == "sample" else alpha * x - sigma * out

    def clipped(self, clean: Tensor) -> Tensor:
        """Clean samples within the bound."""
        return clean if self.bound is None else clean.clamp(-self.bound, self.bound)

    def denoising_loss(self, clean: Tensor, noise: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        """Mean squared error of what the network predicts: the loss that it is a diffusion model by."""
        alpha, sigma = self.schedule.at(k, clean)
        if self.prediction == "epsilon":
            target = noise
        else:
            target = clean if self.prediction == "sample" else alpha * noise - sigma * clean
        out = self.predict(self.schedule.noised(clean, noise, k), k, condition).float()
        return (out - target).square().mean()

    def step(self, x: Tensor, k: Tensor, to: Tensor, condition: Tensor) -> Tensor:
        """One step of DDIM with η = 0 (Song et al. 2021) from levels k to lower levels, both (B,); clean at level 0."""
        clean = self.clean(x, k, condition)
        alpha, sigma = self.schedule.at(k, x)
        return self.schedule.noised(self.clipped(clean), (x - alpha * clean) / sigma, to)

    @torch.no_grad()
    def sample(self, noise: Tensor, condition: Tensor, steps: int) -> Tensor:
        """DDIM from noise (B, …): a deterministic map, in `steps` evaluations."""
        x, grid = noise, self.grid(steps)
        for k, to in pairwise(grid):
            x = self.step(x, levels_of(x, k), levels_of(x, to), condition)
        return x

    def twin(self: _Kind, *, trainable: bool) -> _Kind:
        """A copy with weights of its own."""
        made = copy.deepcopy(self)
        return made.requires_grad_(trainable).train(trainable)
