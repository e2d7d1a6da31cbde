"""Stage 1: the eyes alone, taught patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learning.planner.model import PatchHeads
from learning.planner.moments import Moment, shuffled
from learning.planner.pictures import CLASSES, FLAGS, Picture, Studio
from learning.sim.scene import sample_names, sample_scene

BATCH = 24
_UNTOUCHED = 0.4
"""Share of pictures of a table that nothing has happened to: what the nearest-cube question is asked about."""


@dataclass(frozen=True)
class Views:
    """Stacked pictures: images (B, 192, 192, 3) uint8 and the dense labels of `Picture`."""

    images: Tensor
    classes: Tensor
    flags: Tensor
    measures: Tensor

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Views:
        """Stack pictures."""
        return cls(
            torch.from_numpy(np.stack([p.image for p in pictures])),
            torch.from_numpy(np.stack([p.classes for p in pictures])),
            torch.from_numpy(np.stack([p.flags for p in pictures])),
            torch.from_numpy(np.stack([p.measures for p in pictures])),
        )


def draw_views(studio: Studio, rng: np.random.Generator, count: int = BATCH) -> Views:
    """Random tables in random states."""
    pictures = []
    for _ in range(count):
        scene = sample_scene(rng, sample_names(rng, int(rng.integers(1, 5)), int(rng.integers(0, 4))))
        moment = Moment(scene.items) if rng.random() < _UNTOUCHED else shuffled(scene.items, rng)
        pictures.append(studio.picture(scene, moment))
    return Views.of(pictures)


@torch.no_grad()
def scores(heads: PatchHeads, features: Tensor, views: Views) -> dict[str, float]:
    """How well patches are read: class of object patches, and per flag whether the right object stands out."""
    logits, flags, measures = heads(features.float())
    there = views.classes > 0
    result = {"sees_class": float((logits.argmax(-1) == views.classes)[there].float().mean())}
    cube = there & (views.classes <= CLASSES // 2)
    for name, group in (("nearest", cube), ("leftmost_loose", cube), ("leftmost_loose", there & ~cube)):
        column = FLAGS.index(name)
        asked = (views.flags[..., column] > 0) & group
        best = flags[..., column].masked_fill(~group, -1e9).argmax(-1)
        hits = views.flags[torch.arange(len(best)), best, column][asked.any(-1)]
        if len(hits):
            result[f"sees_{name}" + ("" if group is cube else "_plate")] = float(hits.mean())
    result["off"] = float((measures - views.measures)[there].abs().mean())
    return result
