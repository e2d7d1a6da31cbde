"""What runs on the robot: heads of one or two evaluations, and how each is trained.

`distilled`  maps noise straight to the teacher's DDIM sample of that noise (Luhman & Luhman 2021).
`mip`        two evaluations learned from data alone (minimal iterative policy, arXiv 2512.01809).
`regression` one evaluation, the mean of the data: the baseline that belongs in every table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from learning.policy import diffusion

Net = Callable[[Tensor, Tensor, Tensor], Tensor]
METHODS = ("distilled", "mip", "regression")
_MIP_LEVEL = 0.9
TEACHER_STEPS = 8


def run(method: str, net: Net, features: Tensor, noise: Tensor) -> Tensor:
    """Features (B, FEATURES) and noise (B, CHUNK) → normalised chunk (B, CHUNK), as the robot computes it."""
    zero = torch.zeros_like(noise)
    start, full = torch.zeros_like(noise[:, 0]), torch.ones_like(noise[:, 0])
    match method:
        case "distilled":
            return net(features, noise, full)
        case "mip":
            return net(features, net(features, zero, start), start + _MIP_LEVEL)
        case "regression":
            return net(features, zero, start)
    raise ValueError(f"unknown method {method!r}; one of {', '.join(METHODS)}")


def loss(
    method: str, net: Net, teacher: Net | None, features: Tensor, chunk: Tensor, generator: torch.Generator
) -> Tensor:
    """One step's loss. Only `distilled` asks the teacher, and then never looks at the data's own chunk."""
    noise = torch.randn(chunk.shape, generator=generator)
    zero, start = torch.zeros_like(chunk), torch.zeros(len(chunk))
    match method:
        case "distilled":
            assert teacher is not None, "distillation needs a teacher"
            target = diffusion.sample(teacher, features, noise, TEACHER_STEPS)
            return nn.functional.smooth_l1_loss(run(method, net, features, noise).float(), target, beta=0.05)
        case "mip":
            first = (net(features, zero, start) - chunk).square().mean() / _MIP_LEVEL**2
            mixed = _MIP_LEVEL * chunk + (1 - _MIP_LEVEL) * noise
            second = (net(features, mixed, start + _MIP_LEVEL) - chunk).square().mean() / (1 - _MIP_LEVEL) ** 2
            return first + second
        case "regression":
            return nn.functional.smooth_l1_loss(net(features, zero, start).float(), chunk, beta=0.1)
    raise ValueError(f"unknown method {method!r}; one of {', '.join(METHODS)}")
