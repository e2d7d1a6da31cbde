"""The teacher: a diffusion policy on chunks (DDPM, Ho et al. 2020), sampled by DDIM (Song et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

LEVELS = 100
STEPS = 10
"""Of the sampler: what students learn from, and what the teacher is exported with."""
_OFFSET = 0.008


def alpha_bar(t: Tensor) -> Tensor:
    """Share of signal power left at level t in [0, 1]; cosine schedule of Nichol & Dhariwal (2021), kept off zero."""
    angle = (t * 0.999 + _OFFSET) / (1 + _OFFSET) * math.pi / 2
    return torch.cos(angle) ** 2


def noised(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """A chunk (B, CHUNK) at level t (B,)."""
    left = alpha_bar(t)[:, None]
    return left.sqrt() * clean + (1 - left).sqrt() * noise


def teacher_loss(net: nn.Module, features: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
    """Velocity prediction (Salimans & Ho 2022): well conditioned at every level, unlike the noise."""
    t = torch.rand(len(chunk), generator=generator)
    noise = torch.randn(chunk.shape, generator=generator)
    left = alpha_bar(t)[:, None]
    velocity = left.sqrt() * noise - (1 - left).sqrt() * chunk
    return (net(features, noised(chunk, noise, t), t).float() - velocity).square().mean()


def clean_estimate(net: Callable[[Tensor, Tensor, Tensor], Tensor], features: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """What the clean chunk looks like from level t."""
    left = alpha_bar(t)[:, None]
    return left.sqrt() * x - (1 - left).sqrt() * net(features, x, t).float()


@torch.no_grad()
def sample(net: Callable[[Tensor, Tensor, Tensor], Tensor], features: Tensor, noise: Tensor, steps: int) -> Tensor:
    """DDIM with η = 0: a deterministic map from noise (B, CHUNK) to a chunk in `steps` evaluations."""
    x = noise
    levels = torch.linspace(1.0, 0.0, steps + 1)
    for now, following in pairwise(levels):
        t, s = now.expand(len(x)), following.expand(len(x))
        clean = clean_estimate(net, features, x, t)
        left_t, left_s = alpha_bar(t)[:, None], alpha_bar(s)[:, None]
        direction = (x - left_t.sqrt() * clean) / (1 - left_t).sqrt().clamp_min(1e-4)
        x = left_s.sqrt() * clean + (1 - left_s).sqrt() * direction if following > 0 else clean
    return x
