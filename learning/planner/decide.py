"""The planner's choice in PyTorch, many situations at once: greedy under the grammar, all legal calls in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from edge.api import Call, Transcript
from edge.planner.prompt import MAX_TRANSCRIPT
from edge.tabletop import API
from learning.planner.language import collate_rows
from learning.planner.model import image_embeddings, packed_hidden, see
from learning.planner.packing import Packer
from learning.planner.programs import Branch, Tree

_CALLS = tuple(API.calls())
_TEXTS = tuple(API.format(call) for call in _CALLS)


@dataclass(frozen=True)
class Situation:
    """What the planner is asked: image (192, 192, 3) uint8 RGB, the task in words, the transcript."""

    image: NDArray[np.uint8]
    task: str
    transcript: Transcript


class Decider:
    """Answers situations with one model.

    Args:
        model: The planner.
        tokenizer: Its tokenizer.
        batch: Situations in one forward pass.
    """

    def __init__(
        self, model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, batch: int = 8
    ) -> None:
        self._model, self._packer, self._batch = model, Packer(tokenizer), batch
        self._prefix = torch.from_numpy(self._packer.prefix)
        ends = self._packer.specials.end
        self._answers = [(*self._packer.encode(text), ends) for text in _TEXTS]

    @torch.no_grad()
    def decide(self, situations: Sequence[Situation]) -> list[Call]:
        """The next call of each situation."""
        chosen: list[Call] = []
        for start in range(0, len(situations), self._batch):
            chosen += self._some(situations[start : start + self._batch])
        return chosen

    def _some(self, situations: Sequence[Situation]) -> list[Call]:
        trees = []
        for situation in situations:
            lines = tuple(API.format_entry(entry) for entry in situation.transcript[-MAX_TRANSCRIPT:])
            trees.append(Tree(situation.task, lines, tuple(Branch(len(lines), text, "text") for text in _TEXTS)))
        packed = collate_rows([self._packer.pack([tree]) for tree in trees], len(self._prefix))
        images = torch.from_numpy(np.stack([situation.image for situation in situations]))
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = image_embeddings(self._model, see(self._model, images))
            hidden = packed_hidden(self._model, self._prefix, embeddings, packed.ids, packed.positions, packed.mask)
            logits = self._model.lm_head(hidden.flatten(0, 1)[packed.at]).float()
        answers = len(self._answers)
        return [self._greedy(logits, packed.answer, i * answers) for i in range(len(situations))]

    def _greedy(self, logits: Tensor, answer: Tensor, first: int) -> Call:
        """Walk the tree of legal answers: at each step the likeliest token that some legal call goes on with."""
        rows = [logits[answer == first + k] for k in range(len(self._answers))]
        left, depth = list(range(len(self._answers))), 0
        while len(left) > 1:
            legal = sorted({self._answers[k][depth] for k in left})
            best = legal[int(rows[left[0]][depth][legal].argmax())]
            left = [k for k in left if self._answers[k][depth] == best]
            depth += 1
        return _CALLS[left[0]]
