"""Stage one: the encoder, with a plain regression head, taught also where the target of each call is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.tabletop import API
from learning.policy.data import Batch, Demonstrations
from learning.policy.encoder import GRID, CallCondition, Encoder, Features, TextCondition
from learning.policy.heads import CHUNK, HORIZON, JOINT_COUNT, ChunkNet
from learning.policy.trainer import train

AIM_SCALE = (10.0, 10.0, 10.0, 1.0, 1.0)
"""Metres to decimetres, so that every component of the aim weighs about the same."""

_CHUNK_WEIGHT, _HEAT_WEIGHT, _AIM_WEIGHT, _FINISHED_WEIGHT = 10.0, 0.2, 2.0, 0.3
_HEAT_SPREAD_CELLS = 0.7


class Normal(nn.Module):
    """Joint targets to numbers of unit spread and back."""

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32))

    def squash(self, chunk: Tensor) -> Tensor:
        """(B, HORIZON, 6) → (B, CHUNK)."""
        return ((chunk - self.mean) / self.std).flatten(1)

    def unsquash(self, flat: Tensor) -> Tensor:
        """(B, CHUNK) → (B, HORIZON, 6)."""
        return flat.view(-1, HORIZON, JOINT_COUNT) * self.std + self.mean


class Regression(nn.Module):
    """Encoder and one evaluation of the head at a zero chunk: the mean of what demonstrators did."""

    def __init__(self, condition: CallCondition | TextCondition, mean: np.ndarray, std: np.ndarray) -> None:
        super().__init__()
        self.encoder = Encoder(condition)
        self.head = ChunkNet()
        self.normal = Normal(mean, std)

    def forward(self, batch: Batch) -> tuple[Tensor, Features]:
        found = self.encoder(batch.front, batch.wrist, batch.joints, batch.words, batch.goal)
        zero = found.vector.new_zeros(len(found.vector), CHUNK)
        return self.head(found.vector, zero, zero[:, 0]), found


def build(data: Demonstrations) -> Regression:
    """A fresh network for this data."""
    condition: CallCondition | TextCondition
    condition = TextCondition(len(data.vocabulary)) if data.flat else CallCondition(API.token_counts())
    return Regression(condition, data.mean, data.std)


def heat_loss(logits: Tensor, pixel: Tensor) -> Tensor:
    """Cross entropy: (B, GRID²) logits and a small Gaussian at the target's (B, 2) pixel; 0 where out of view."""
    inside = ((pixel > 0) & (pixel < 1)).all(dim=1).float()
    centre = (torch.arange(GRID, dtype=pixel.dtype) + 0.5) / GRID
    near = torch.exp(-0.5 * ((pixel[:, :, None] - centre) * GRID / _HEAT_SPREAD_CELLS) ** 2)
    target = (near[:, 1, :, None] * near[:, 0, None, :]).flatten(1)
    target = target / target.sum(dim=1, keepdim=True).clamp_min(1e-6)
    each = -(target * logits.log_softmax(dim=1)).sum(dim=1)
    return (each * inside).sum() / inside.sum().clamp_min(1)


def losses(model: Regression, batch: Batch) -> dict[str, Tensor]:
    """Every part of the loss, unweighted."""
    chunk, found = model(batch)
    aim = batch.aim * torch.tensor(AIM_SCALE)
    return {
        "chunk": functional.smooth_l1_loss(chunk.float(), model.normal.squash(batch.chunk), beta=0.1),
        "heat": heat_loss(found.heat[0], batch.pixel[:, :2]) + heat_loss(found.heat[1], batch.pixel[:, 2:]),
        "aim": functional.smooth_l1_loss(found.aim.float(), aim, beta=0.1),
        "finished": functional.binary_cross_entropy_with_logits(found.finished[:, 0].float(), batch.finished),
    }


@torch.no_grad()
def validate(model: Regression, data: Demonstrations, count: int = 1024) -> dict[str, float]:
    """On held-back episodes: how far off the target is found, how far off the chunk is, how often `finished` is wrong.

    Target errors are medians, in cells of the front image and in millimetres on the table; `far` is the share of steps
    more than two cells off.
    """
    rows = np.sort(np.random.default_rng(0).choice(data.validation, min(count, len(data.validation)), replace=False))
    pixel, aim, chunk, wrong = [], [], [], []
    for part in np.array_split(rows, max(1, len(rows) // 128)):
        batch = data.batch(part)
        flat, found = model(batch)
        best = found.heat[0].argmax(dim=1)
        where = torch.stack([best % GRID, best // GRID], dim=1).float() + 0.5
        pixel.append((where - batch.pixel[:, :2] * GRID).norm(dim=1))
        aim.append((found.aim[:, :2] / 10 - batch.aim[:, :2]).norm(dim=1) * 1000)
        chunk.append((model.normal.unsquash(flat)[:, :8, :5] - batch.chunk[:, :8, :5]).abs().mean(dim=(1, 2)) * 1000)
        wrong.append(((found.finished[:, 0] > 0) != (batch.finished > 0.5)).float())
    return {
        "cells": float(torch.cat(pixel).median()), "far": float((torch.cat(pixel) > 2).float().mean()),
        "aim_mm": float(torch.cat(aim).median()), "chunk_mrad": float(torch.cat(chunk).mean()),
        "finished_wrong": float(torch.cat(wrong).mean()),
    }  # fmt: skip


def train_encoder(
    data: Demonstrations, out: Path, *, steps: int, batch_size: int, seed: int, rate: float, dataset: str = ""
) -> Regression:
    """Stage one; the checkpoint holds everything that later stages need, and the digest of its dataset, if given."""
    torch.manual_seed(seed)
    model = build(data).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([seed, step])
        batch = data.batch(np.sort(rng.choice(data.training, batch_size)), rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            parts = losses(model, batch)
        total = (
            _CHUNK_WEIGHT * parts["chunk"] + _HEAT_WEIGHT * parts["heat"] + _AIM_WEIGHT * parts["aim"]
            + _FINISHED_WEIGHT * parts["finished"]
        )  # fmt: skip
        return total, {key: float(value.detach()) for key, value in parts.items()}

    def state() -> dict[str, Any]:
        return {
            "seed": seed,
            "flat": data.flat,
            "mean": data.mean,
            "std": data.std,
            "vocabulary": data.vocabulary.words,
        }

    made_from = {"seed": seed, "batch_size": batch_size, "dataset": dataset}
    twin = train(
        model, loss, out, steps=steps, rate=rate, name="flat" if data.flat else "encoder", state=state,
        made_from=made_from,
        report=lambda averaged: validate(averaged, data),  # type: ignore[arg-type]
    )  # fmt: skip
    assert isinstance(twin, Regression)
    return twin


def load(path: Path) -> tuple[Regression, dict[str, Any]]:
    """The averaged network of a stage-one checkpoint, ready to infer, and the checkpoint's other entries."""
    saved = torch.load(path, weights_only=False)
    words = len(saved["vocabulary"]) + 2
    condition = TextCondition(words) if saved["flat"] else CallCondition(API.token_counts())
    model = Regression(condition, saved["mean"], saved["std"])
    model.load_state_dict(saved["averaged"])
    return model.eval(), saved
