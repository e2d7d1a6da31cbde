"""Diffusion policies as graphs, ours and LeRobot's: in PyTorch to compare with, and unrolled in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import ExportError
from export.schedule import Sampler
from export.source import to_onnx
from export.unroll import Pieces, unroll

if TYPE_CHECKING:
    from onnx import ModelProto

Denoise = Callable[[Tensor, float], Tensor]
NOISE_KINDS = ("fixed", "zero", "input")


@dataclass(frozen=True)
class Parts:
    """A diffusion policy cut into what runs once and what runs at every step.

    Attributes:
        encoder: The policy's inputs to the conditions, then to the policy's other outputs.
        denoiser: x, level, conditions to the prediction.
        finish: x to the chunk.
        inputs: Names of the policy's inputs, less noise.
        conditions: Names of the conditions.
        others: Names of the encoder's other outputs.
        level: What the denoiser's `level` is for a step's level.
        shape: Of x, with the batch axis.
    """

    encoder: nn.Module
    denoiser: nn.Module
    finish: nn.Module
    inputs: tuple[str, ...]
    conditions: tuple[str, ...]
    others: tuple[str, ...]
    level: Callable[[float], Tensor]
    shape: tuple[int, ...]


def draw(sampler: Sampler, shape: Sequence[int], seed: int, kind: str = "fixed") -> NDArray[np.float32]:
    """The noise of a whole sampling, (draws, …): the robot answers the same picture with the same motion.

    Any one draw moves all chunks the same way, a little. The middle of the noise, `zero`, moves them least.
    """
    if kind == "zero":
        return np.zeros((sampler.draws, *shape[1:]), np.float32)
    return np.random.default_rng(seed).standard_normal((sampler.draws, *shape[1:]), dtype=np.float32)


def check_noise(kind: str) -> None:
    """Raises ExportError for a kind of noise that is none."""
    if kind not in NOISE_KINDS:
        raise ExportError(f"--noise {kind} is not known", expected=" or ".join(NOISE_KINDS), got=repr(kind))


@torch.no_grad()
def sample(denoise: Denoise, sampler: Sampler, noise: Tensor) -> Tensor:
    """Samples in PyTorch.

    Args:
        denoise: A sample and a level to the network's prediction.
        sampler: The steps.
        noise: (draws, …) as `draw` gives, each of them a sample less its batch axis.
    """
    x, drawn = noise[:1], 1
    for step in sampler.steps:
        out = denoise(x, step.level)
        clean = step.a * x + step.b * out
        if sampler.clip is not None:
            clean = clean.clamp(-sampler.clip, sampler.clip)
        x = step.c * clean + step.d * x + step.e * out
        if step.s > 0:
            x = x + step.s * noise[drawn : drawn + 1]
            drawn += 1
    return x


@torch.no_grad()
def graph(parts: Parts, sampler: Sampler, example: Sequence[Tensor], noise: NDArray[np.float32] | None) -> ModelProto:
    """The policy as one static graph.

    Args:
        parts: The policy.
        sampler: Its steps.
        example: One set of inputs.
        noise: As `draw` gives, kept in the graph; None makes it an input.
    """
    found = parts.encoder(*example)
    conditions = list(found[: len(parts.conditions)])
    x = torch.zeros(parts.shape)
    levels = [parts.level(step.level) for step in sampler.steps]
    pieces = Pieces(
        encoder=to_onnx(parts.encoder, example, parts.inputs, (*parts.conditions, *parts.others)),
        denoiser=to_onnx(parts.denoiser, (x, levels[0], *conditions), ("x", "level", *parts.conditions), ("out",)),
        finish=to_onnx(parts.finish, (x,), ("x",), ("chunk",)),
        levels=[level.numpy() for level in levels],
        noise=noise,
    )
    return unroll(pieces, sampler)
