"""How each head is trained: its loss, what moves beside it, and its rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from learning.distill import onedp
from learning.distill.consistency import Consistency
from learning.distill.onedp import OneDP
from learning.policy import diffusion, students
from learning.policy.heads import CHUNK, ChunkNet
from learning.policy.students import ChunkDenoiser
from learning.policy.trainer import Companion

Loss = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, dict[str, float]]]
RATE = 5e-4
RATES: dict[str | None, float] = {"onedp": 2e-5}
_DRAWS = 16


@dataclass(frozen=True)
class Recipe:
    """One head's training.

    Attributes:
        loss: Features (B, FEATURES), chunks (B, CHUNK), noise to a loss and numbers to show.
        rate: Peak learning rate.
        betas: Of the optimiser.
        companion: What moves beside the head.
    """

    loss: Loss
    rate: float
    betas: tuple[float, float] = (0.9, 0.98)
    companion: Companion | None = None


def recipe(
    method: str | None,
    net: ChunkNet,
    teacher: ChunkNet,
    rate: float | None = None,
    teacher_steps: int = diffusion.STEPS,
) -> Recipe:
    """How the teacher (no method) or a student is trained.

    Args:
        method: One of `students.METHODS`.
        net: The head, with its starting weights.
        teacher: With its last ones; not looked at by methods that learn from data alone.
        rate: Peak learning rate, if not the method's own.
        teacher_steps: DDIM steps of the samples that `distilled` learns.
    """
    rate = rate or RATES.get(method, RATE)
    if method is None:

        def learn(features: Tensor, chunk: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
            value = diffusion.teacher_loss(net, features, chunk, generator)
            return value, {"loss": float(value.detach())}

        return Recipe(learn, rate)
    if method == "onedp":
        pair = OneDP(ChunkDenoiser(net), ChunkDenoiser(teacher), rate=onedp.SCORE_FACTOR * rate, half=True)

        def generate(features: Tensor, chunk: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
            return pair.loss(chunk, features, generator)

        return Recipe(generate, rate, onedp.BETAS, pair)
    if method == "consistency":
        agree = Consistency(ChunkDenoiser(net), ChunkDenoiser(teacher), steps=diffusion.STEPS)

        def meet(features: Tensor, chunk: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
            return agree.loss(chunk, features, generator)

        return Recipe(meet, rate, companion=agree)

    def imitate(features: Tensor, chunk: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        value = students.loss(method, net, teacher, features, chunk, generator, teacher_steps)
        return value, {"loss": float(value.detach())}

    return Recipe(imitate, rate)


@torch.no_grad()
def likeness(method: str, net: ChunkNet, teacher: ChunkNet, features: Tensor, seed: int = 0) -> dict[str, float]:
    """How a student's chunks compare with its teacher's, of the same features (B, FEATURES) and 16 draws of noise each.

    Returns:
        `off`, the root mean square of the difference of their means, and `spread`, the student's standard deviation
        over the teacher's. In normalised units. With 16 draws two samplings of one policy differ, too.
    """
    generator = torch.Generator().manual_seed(seed)
    repeated = features.repeat_interleave(_DRAWS, dim=0)
    shape = (len(repeated), CHUNK)
    wanted = diffusion.sample(teacher, repeated, torch.randn(shape, generator=generator), diffusion.STEPS)
    noise = torch.randn((students.evaluations(method), *shape), generator=generator)
    found = students.run(method, net, repeated, noise).float()
    want, got = (chunks.view(len(features), _DRAWS, -1) for chunks in (wanted, found))
    off = (want.mean(dim=1) - got.mean(dim=1)).square().mean().sqrt()
    return {"off": float(off), "spread": float(got.std(dim=1).mean() / want.std(dim=1).mean())}
