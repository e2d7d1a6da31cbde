"""Consistency distillation (Song et al. 2023; for policies: Prasad et al. 2024, arXiv 2405.07503).

The teacher's DDIM sampler leads from each point of its path to one end. The student learns to name that end from any
point, by agreeing with a slow copy of itself one step further on:

    f(x at k) = f⁻(the teacher's DDIM step from x at k to k′),     f⁻(x at 0) = x

One evaluation starts from noise. More of them noise the answer again to a lower level and ask once more.

f is the clean estimate of the student's own network, which starts as the teacher's. For a network that predicts the
velocity that is alpha x − sigma v: c_skip and c_out are alpha and −sigma, and f is the identity at level 0 whatever the
weights. The others are never asked at level 0, where the teacher's step is itself the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from learning.distill.denoiser import Denoiser, levels_of

_DECAY, _BETA = 0.95, 0.05


def chain(denoiser: Denoiser, steps: int, evaluations: int) -> list[int]:
    """The levels at which a student of a teacher with so many steps is asked, evenly spaced from K down.

    They are levels of the teacher's own grid: the student has learned no others.
    """
    if not 1 <= evaluations <= steps:
        raise ValueError(f"expected 1 to {steps} evaluations, got {evaluations}")
    grid = denoiser.grid(steps)
    return [grid[round(steps * i / evaluations)] for i in range(evaluations)]


def jump(student: Denoiser, noise: Tensor, condition: Tensor, steps: int) -> Tensor:
    """Noise (N, B, …), one draw for each of N evaluations, to samples (B, …) of a student of `steps` steps."""
    x = noise[0]
    for index, level in enumerate(chain(student, steps, len(noise))):
        k = levels_of(x, level)
        x = x if index == 0 else student.schedule.noised(x, noise[index], k)
        x = student.clipped(student.clean(x, k, condition))
    return x


class Consistency:
    """The loss of a consistency student, and its slow copy (a `trainer.Companion`).

    Args:
        student: What is trained, from the teacher's weights.
        teacher: Whose sampler is distilled.
        steps: Of that sampler: the student's one evaluation stands for so many of DDIM.
    """

    def __init__(self, student: Denoiser, teacher: Denoiser, *, steps: int) -> None:
        self._student, self._teacher = student, teacher
        self.target = student.twin(trainable=False)
        self._grid = torch.tensor(teacher.grid(steps))

    def loss(self, clean: Tensor, condition: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """How far the student disagrees with its slow copy one step of the teacher further on.

        Args:
            clean: Samples of the data (B, …).
            condition: Theirs.
            generator: Of the noise.
        """
        index = torch.randint(len(self._grid) - 1, (len(clean),), generator=generator)
        k, to = self._grid[index].to(clean.device), self._grid[index + 1].to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        x = self._teacher.schedule.noised(clean, noise, k)
        said, goal = self._student.clean(x, k, condition), self.goal(x, k, to, condition)
        value = functional.smooth_l1_loss(said, goal, beta=_BETA)
        return value, {"loss": float(value.detach())}

    @torch.no_grad()
    def goal(self, x: Tensor, k: Tensor, to: Tensor, condition: Tensor) -> Tensor:
        """What the student should say of samples (B, …) at levels k (B,), of which `to` (B,) are the next ones."""
        after = self._teacher.step(x, k, to, condition)
        named = self.target.clipped(self.target.clean(after, to.clamp_min(1), condition))
        last = (to == 0).view(-1, *(1,) * (x.ndim - 1))
        return torch.where(last, after, named)

    @torch.no_grad()
    def advance(self, step: int, scale: float) -> dict[str, float]:
        """The slow copy follows the student."""
        decay = min(_DECAY, (1 + step) / (10 + step))
        for slow, fast in zip(self.target.parameters(), self._student.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The slow copy."""
        return {"target": self.target.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.target.load_state_dict(state["target"])
