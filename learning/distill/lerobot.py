"""LeRobot's diffusion policies as teachers, and their students as checkpoints that `python -m export policy` takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from export.lerobot.diffusion import Diffusion
from export.lerobot.student import STUDENT
from export.lerobot.weights import State, read_tensors
from export.schedule import betas
from export.staging import staged
from learning.distill import consistency, onedp
from learning.distill.denoiser import Denoiser, Schedule

METHODS = ("onedp", "consistency")
STEPS = 10
"""Of the teacher's sampler that a consistency student stands for."""
EVALUATIONS = (1, 2, 3)
_WEIGHTS, _UNET = "model.safetensors", "diffusion.unet."


class UnetDenoiser(Denoiser):
    """The denoiser of a checkpoint: actions (B, horizon, A) under conditions (B, C).

    LeRobot counts its levels from 0, which has some noise in it; here that is level 1.
    """

    def __init__(self, network: Diffusion) -> None:
        settings = network.settings
        noise = betas(settings.beta_schedule, settings.num_train_timesteps, settings.beta_start, settings.beta_end)
        left = torch.cumprod(1 - torch.from_numpy(noise), dim=0)
        bound = settings.clip_sample_range if settings.clip_sample else None
        super().__init__(Schedule.of(torch.cat([torch.ones(1), left])), settings.prediction_type, bound)
        self.unet = network.unet

    def predict(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        return self.unet(x, (k - 1).float(), condition)

    def grid(self, steps: int) -> list[int]:
        """Where its own sampler goes: evenly spaced from the cleanest level up, so that it begins below the last."""
        levels = self.schedule.levels
        if not 1 <= steps <= levels:
            raise ValueError(f"expected 1 to {levels} steps, got {steps}")
        return [index * (levels // steps) + 1 for index in reversed(range(steps))] + [0]


def asked_at(denoiser: Denoiser, method: str) -> dict[int, list[int]]:
    """LeRobot's levels at which a student is asked, by the number of its evaluations."""
    if method == "onedp":
        return {1: [round(onedp.START * denoiser.schedule.levels) - 1]}
    return {n: [k - 1 for k in consistency.chain(denoiser, STEPS, n)] for n in EVALUATIONS}


def save(teacher: Path, out: Path, unet: State, denoiser: Denoiser, method: str, steps: int) -> None:
    """The teacher's checkpoint with a student's denoiser, all at once or not at all.

    Args:
        teacher: Directory that LeRobot saved.
        out: Directory to make or replace.
        unet: The student's weights.
        denoiser: The teacher's or the student's.
        method: One of `METHODS`.
        steps: Of the training.

    Raises:
        ExportError: It cannot be written.
    """
    tensors = read_tensors(teacher / _WEIGHTS, "the weights that LeRobot saved")
    kept = {name: tensor for name, tensor in tensors.items() if _UNET not in name.replace("._orig_mod", "")}
    kept |= {_UNET + name: tensor.detach().cpu().contiguous() for name, tensor in unet.items()}
    others = [
        path.name for path in sorted(teacher.iterdir()) if path.is_file() and path.name not in (_WEIGHTS, STUDENT)
    ]
    about = {"method": method, "levels": asked_at(denoiser, method), "training": {"steps": steps}}
    with staged(out, (*others, _WEIGHTS, STUDENT)) as aside:
        for name in others:
            shutil.copyfile(teacher / name, aside / name)
        save_file(kept, str(aside / _WEIGHTS))
        (aside / STUDENT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
