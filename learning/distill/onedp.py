"""OneDP-S (Wang et al. 2024, arXiv 2410.21257): a stochastic generator of one evaluation with a teacher's distribution.

             ┌──────────── gradient ─────────────┐
             ▼                                   │
noise ─► generator ─► A ─► A at a level k ─┬─► teacher φ ─► clean ─┐
                      │                    └─► score ψ  ─► clean ─┴─ the difference
                      └─ stopped ─► ψ learns to denoise what the generator makes

The gradient of the KL divergence between the two distributions at level k is E[w (s_ψ − s_φ) ∂A_k/∂θ] with scores
s = −ε/σ. With w = σ², and the noise written as what the clean estimate leaves of the sample, it becomes
α (clean_ψ − clean_φ): nothing is divided by, and what the networks predict does not matter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learning.distill.denoiser import Denoiser, levels_of

START = 0.85
"""The level, as a share of all, at which the generator takes its noise for a noisy sample.

The earlier, the more of the noise is left in its first samples: good where the teacher's are wide, but chunks are
narrow, and the narrower a distribution the weaker the gradient that would take the noise out. Later still, and the
generator no longer looks at its noise. Others report 0.65.
"""
BETAS = (0.0, 0.999)
"""Of both optimisers: without momentum neither overshoots the other."""
SCORE_FACTOR = 10.0
"""How many times the generator's learning rate the score's is: it has to follow closely."""
LEAST, MOST = 0.02, 0.95
"""Levels, as shares of all, at which the two distributions are compared."""


def generate(generator: Denoiser, noise: Tensor, condition: Tensor) -> Tensor:
    """Standard normal noise (B, …) to samples (B, …), in one evaluation."""
    return generator.clean(noise, levels_of(noise, round(START * generator.schedule.levels)), condition)


class OneDP:
    """The loss of a generator, and the score network that is trained beside it (a `trainer.Companion`).

    Args:
        generator: What is trained, from the teacher's weights.
        teacher: φ, which stays as it is.
        rate: Learning rate of ψ.
        half: Evaluate ψ in bfloat16 in its own steps; what happens around `loss` is the caller's affair.
    """

    def __init__(self, generator: Denoiser, teacher: Denoiser, *, rate: float, half: bool = False) -> None:
        self._generator, self._teacher = generator, teacher
        self.score = teacher.twin(trainable=True)
        self._rate, self._half = rate, half
        self._optimizer = torch.optim.Adam(self.score.parameters(), lr=rate, betas=BETAS)
        self._made: tuple[Tensor, Tensor, torch.Generator] | None = None

    def loss(self, like: Tensor, condition: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """A scalar whose gradient is that of the divergence; its value means nothing.

        Args:
            like: A tensor of the samples' shape (B, …); its values are not looked at.
            condition: What the samples are made under.
            generator: Of the noise.
        """
        made = generate(self._generator, _normal(like, generator), condition)
        k, noise = self._levels(made, generator)
        direction = self.direction(made.detach(), noise, k, condition)
        self._made = (made.detach(), condition, generator)
        value = (direction * made).flatten(1).sum(dim=1).mean()
        return value, {"gap": float(direction.square().mean().sqrt())}

    @torch.no_grad()
    def direction(self, made: Tensor, noise: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        """Gradient of the divergence at levels k (B,) by each element of samples (B, …): what to go against."""
        schedule = self._teacher.schedule
        x = schedule.noised(made, noise, k)
        alpha, _ = schedule.at(k, made)
        return alpha * (self.score.clean(x, k, condition) - self._teacher.clean(x, k, condition))

    def advance(self, step: int, scale: float) -> dict[str, float]:
        """ψ learns from the samples of the generator's last step; `scale` is the share of the learning rate."""
        assert self._made is not None, "the generator's step comes first"
        made, condition, generator = self._made
        k, noise = self._levels(made, generator)
        with torch.autocast(made.device.type, torch.bfloat16, enabled=self._half):
            value = self.score.denoising_loss(made, noise, k, condition)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * scale
        self._optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.score.parameters(), 1.0)
        self._optimizer.step()
        return {"score": float(value.detach())}

    def _levels(self, like: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        count = self._teacher.schedule.levels
        least, most = max(1, round(LEAST * count)), round(MOST * count)
        k = torch.randint(least, most + 1, (len(like),), generator=generator)
        return k.to(like.device), _normal(like, generator)

    def state_dict(self) -> dict[str, Any]:
        """ψ and its optimiser."""
        return {"score": self.score.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.score.load_state_dict(state["score"])
        self._optimizer.load_state_dict(state["optimizer"])


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like.device)
