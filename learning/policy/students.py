"""What runs on the robot: heads of one to three evaluations, and what each was trained to be.

`distilled`   maps noise straight to the teacher's DDIM sample of that noise (Luhman & Luhman 2021).
`onedp`       maps noise to a sample of the teacher's distribution (OneDP-S, arXiv 2410.21257).
`consistency` goes from any level to the end of the teacher's DDIM path (arXiv 2405.07503): one to three evaluations.
`mip`         two evaluations learned from data alone (minimal iterative policy, arXiv 2512.01809).
`regression`  one evaluation, the mean of the data: the baseline that belongs in every table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from learning.distill import consistency, onedp
from learning.distill.denoiser import Denoiser, Schedule
from learning.policy import diffusion

Net = Callable[[Tensor, Tensor, Tensor], Tensor]
METHODS = {"distilled": (1,), "onedp": (1,), "consistency": (1, 2, 3), "mip": (2,), "regression": (1,)}
"""How often each may evaluate its network; the first is what it does unless told otherwise."""
FROM_TEACHER = ("distilled", "onedp", "consistency")
"""These start as the teacher and learn from it."""
_MIP_LEVEL = 0.9
_LEVELS = torch.arange(diffusion.LEVELS + 1, dtype=torch.float64) / diffusion.LEVELS
SCHEDULE = Schedule.of(diffusion.alpha_bar(_LEVELS).where(_LEVELS > 0, 1.0).float())
"""The teacher's levels. Level 0 is clean here, where the formula leaves a little noise."""


class ChunkDenoiser(Denoiser):
    """The teacher's network, or one that started as it: features (B, FEATURES), chunks (B, CHUNK)."""

    def __init__(self, net: Net) -> None:
        super().__init__(SCHEDULE, "velocity")
        self.net = net

    def predict(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        return self.net(condition, x, k / diffusion.LEVELS)


def evaluations(method: str, asked: int | None = None) -> int:
    """How often a student evaluates its network, of those `METHODS` allows.

    Raises:
        ValueError: No such method, or not so often.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; one of {', '.join(METHODS)}")
    if asked is not None and asked not in METHODS[method]:
        allowed = " or ".join(map(str, METHODS[method]))
        raise ValueError(f"{method} evaluates its network {allowed} time(s), not {asked}")
    return METHODS[method][0] if asked is None else asked


def run(method: str, net: Net, features: Tensor, noise: Tensor) -> Tensor:
    """As the robot computes it: features (B, FEATURES) → normalised chunk (B, CHUNK).

    Args:
        method: One of `METHODS`.
        net: The head.
        features: What it sees.
        noise: (N, B, CHUNK): a draw for each evaluation. Only `consistency` looks at more than the first.
    """
    zero = torch.zeros_like(noise[0])
    start, full = torch.zeros_like(zero[:, 0]), torch.ones_like(zero[:, 0])
    match method:
        case "distilled":
            return net(features, noise[0], full)
        case "onedp":
            return onedp.generate(ChunkDenoiser(net), noise[0], features)
        case "consistency":
            return consistency.jump(ChunkDenoiser(net), noise, features, diffusion.STEPS)
        case "mip":
            return net(features, net(features, zero, start), start + _MIP_LEVEL)
        case "regression":
            return net(features, zero, start)
    raise ValueError(f"unknown method {method!r}; one of {', '.join(METHODS)}")


def loss(
    method: str,
    net: Net,
    teacher: Net | None,
    features: Tensor,
    chunk: Tensor,
    generator: torch.Generator,
    teacher_steps: int = diffusion.STEPS,
) -> Tensor:
    """One step's loss of the methods that need nothing beside their network; the others are in `distillation`.

    Only `distilled` asks the teacher, for samples of so many DDIM steps, and then never looks at the data's own chunk.
    """
    noise = torch.randn(chunk.shape, generator=generator)
    zero, start = torch.zeros_like(chunk), torch.zeros(len(chunk))
    match method:
        case "distilled":
            assert teacher is not None, "distillation needs a teacher"
            target = diffusion.sample(teacher, features, noise, teacher_steps)
            return nn.functional.smooth_l1_loss(run(method, net, features, noise[None]).float(), target, beta=0.05)
        case "mip":
            first = (net(features, zero, start) - chunk).square().mean() / _MIP_LEVEL**2
            mixed = _MIP_LEVEL * chunk + (1 - _MIP_LEVEL) * noise
            second = (net(features, mixed, start + _MIP_LEVEL) - chunk).square().mean() / (1 - _MIP_LEVEL) ** 2
            return first + second
        case "regression":
            return nn.functional.smooth_l1_loss(net(features, zero, start).float(), chunk, beta=0.1)
    raise ValueError(f"no loss of one network for {method!r}")
