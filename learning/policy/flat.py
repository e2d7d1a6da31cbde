"""The baseline without calls: task text straight to actions, as a policy that can be run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edge.policy.transforms import square
from edge.types import Chunk, Observation
from learning.policy import vision
from learning.policy.data import Vocabulary

_PERIOD_NS, _SIZE = 50_000_000, 96


class FlatPolicy:
    """Runs `flat.pt` of a checkpoint directory in PyTorch. Set `task`, then `act`."""

    def __init__(self, directory: Path) -> None:
        torch.set_num_threads(1)
        self._model, saved = vision.load(directory / "flat.pt")
        self._vocabulary = Vocabulary([" ".join(saved["vocabulary"])])
        self.task = ""

    @torch.no_grad()
    def act(self, observation: Observation) -> Chunk:
        """A chunk for one observation, under the current task's words."""
        images = [torch.from_numpy(square(observation.frames[name].image, _SIZE)[None]) for name in ("front", "wrist")]
        joints = torch.from_numpy(np.asarray(observation.joints, np.float32)[None])
        words = torch.from_numpy(self._vocabulary.encode(self.task)[None])
        found = self._model.encoder(images[0], images[1], joints, words, torch.zeros(1, 6))
        zero = torch.zeros(1, self._model.head.enter.in_features)
        chunk = self._model.normal.unsquash(self._model.head(found.vector, zero, zero[:, 0]))[0]
        return Chunk(observation.time_ns, _PERIOD_NS, chunk.double().numpy(), float(found.finished.sigmoid()))
