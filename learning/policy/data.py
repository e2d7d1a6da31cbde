"""Batches for training: random steps of the demonstrations, each with the chunk that follows it inside its subtask."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.tabletop import API
from learning.dataset import Cache
from learning.policy.heads import HORIZON

HELD_BACK = 25
"""Every 25th episode is for validation."""
HINT_KEPT = 0.5
TEXT_LENGTH = 24


@dataclass(frozen=True)
class Batch:
    """B steps: images (B, 96, 96, 3) uint8, chunk (B, HORIZON, 6) joint targets.

    `aim` and `pixel` are the auxiliary labels of `learning.demonstrations`.
    """

    front: Tensor
    wrist: Tensor
    joints: Tensor
    words: Tensor
    goal: Tensor
    chunk: Tensor
    finished: Tensor
    aim: Tensor
    pixel: Tensor


class Vocabulary:
    """Words of the training tasks, for the flat policy. 0 is padding, 1 an unknown word."""

    def __init__(self, texts: list[str]) -> None:
        self.words = sorted({word for text in texts for word in self.split(text)})
        self._ids = {word: i + 2 for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words) + 2

    @staticmethod
    def split(text: str) -> list[str]:
        return re.findall(r"[a-z']+", text.lower())

    def encode(self, text: str) -> NDArray[np.int64]:
        """(TEXT_LENGTH,) ids."""
        ids = [self._ids.get(word, 1) for word in self.split(text)][:TEXT_LENGTH]
        return np.pad(np.array(ids, np.int64), (0, TEXT_LENGTH - len(ids)))


class Demonstrations:
    """A dataset cache, with what training derives from it.

    Args:
        cache: Decoded demonstrations.
        flat: Condition on the task's words in place of the call, and remember nothing.
    """

    def __init__(self, cache: Cache, *, flat: bool = False) -> None:
        self.cache, self.flat = cache, flat
        count = len(cache.state)
        changed = np.flatnonzero((np.diff(cache.call) != 0) | (np.diff(cache.episode) != 0)) + 1
        bounds = np.concatenate([[0], changed, [count]])
        self._end = np.repeat(bounds[1:], np.diff(bounds))
        if flat:
            self._end = np.repeat(cache.bounds[1:], np.diff(cache.bounds))
        held_back = cache.episode % HELD_BACK == HELD_BACK - 1
        self.training, self.validation = np.flatnonzero(~held_back), np.flatnonzero(held_back)
        self.vocabulary = Vocabulary(list(cache.tasks))
        self._texts = np.array([self.vocabulary.encode(text) for text in cache.tasks])
        self._tokens = np.array([API.encode(API.parse(text)) for text in cache.calls]).astype(np.int64)
        self.mean = cache.action[:].mean(axis=0)
        self.std = cache.action[:].std(axis=0) + 1e-3

    def words(self, rows: NDArray[np.int64], rng: np.random.Generator | None) -> NDArray[np.int64]:
        """The condition of some steps: call tokens, hints dropped at random (always without `rng`), or task words."""
        if self.flat:
            return np.asarray(self._texts[self.cache.task[rows]])
        tokens = self._tokens[self.cache.call[rows]].copy()
        hint = self.cache.hint[rows].astype(np.int64)
        if rng is not None:
            kept = (hint[:, 0] >= 0) & (rng.random(len(rows)) < HINT_KEPT)
            tokens[:, 3:5] = np.where(kept[:, None], hint + 1, 0)
        return np.asarray(tokens)

    def chunk(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, HORIZON, 6) targets from each step on; the last one of the subtask is repeated past its end."""
        steps = np.minimum(rows[:, None] + np.arange(HORIZON), self._end[rows, None] - 1)
        return np.asarray(self.cache.action[steps])

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator | None = None) -> Batch:
        """Some steps as tensors; sorted rows read faster. With `rng`, hints are dropped and images vary in exposure."""
        cache = self.cache
        images = [np.asarray(cache.front[rows]), np.asarray(cache.wrist[rows])]
        if rng is not None:
            images = [_expose(image, rng) for image in images]
        goal = np.zeros((len(rows), 6), np.float32) if self.flat else np.asarray(cache.goal[rows])
        return Batch(
            *(torch.from_numpy(image) for image in images),
            torch.from_numpy(np.asarray(cache.state[rows])),
            torch.from_numpy(self.words(rows, rng)),
            torch.from_numpy(goal),
            torch.from_numpy(self.chunk(rows)),
            torch.from_numpy(np.asarray(cache.finished[rows])),
            torch.from_numpy(np.asarray(cache.extra["aim"][rows])),
            torch.from_numpy(np.asarray(cache.extra["pixel"][rows])),
        )


def _expose(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each image its own gain per channel and its own offset, as cameras differ from day to day."""
    count = len(images)
    gain = rng.uniform(0.85, 1.15, (count, 1, 1, 1)) * rng.uniform(0.96, 1.04, (count, 1, 1, 3))
    offset = rng.uniform(-12, 12, (count, 1, 1, 1))
    return np.asarray(np.clip(images * gain.astype(np.float32) + offset.astype(np.float32), 0, 255).astype(np.uint8))
