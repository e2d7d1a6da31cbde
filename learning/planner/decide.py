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
        self._answers = [(*self._packer.encode(text), self._packer.specials.end) for text in _TEXTS]
        self._asked, self._where = _forks(self._answers)

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
            branches = tuple(Branch(len(lines), _TEXTS[number], "text") for number in self._asked)
            trees.append(Tree(situation.task, lines, branches))
        packed = collate_rows([self._packer.pack([tree]) for tree in trees], len(self._prefix))
        images = torch.from_numpy(np.stack([situation.image for situation in situations]))
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = image_embeddings(self._model, see(self._model, images))
            hidden = packed_hidden(self._model, self._prefix, embeddings, packed.ids, packed.positions, packed.mask)
            logits = self._model.lm_head(hidden.flatten(0, 1)[packed.at]).float()
        count = len(self._asked)
        return [self._greedy(logits, packed.answer, i * count) for i in range(len(situations))]

    def _greedy(self, logits: Tensor, answer: Tensor, first: int) -> Call:
        """Walk the tree of legal answers: at each fork the likeliest token that some legal call goes on with."""
        left, depth = list(range(len(self._answers))), 0
        while len(left) > 1:
            legal = sorted({self._answers[k][depth] for k in left})
            best = legal[0]
            if len(legal) > 1:
                branch = self._where[self._answers[left[0]][:depth]]
                best = legal[int(logits[answer == first + branch][depth][legal].argmax())]
            left = [k for k in left if self._answers[k][depth] == best]
            depth += 1
        return _CALLS[left[0]]


def _forks(answers: Sequence[tuple[int, ...]]) -> tuple[list[int], dict[tuple[int, ...], int]]:
    """Few answers that pass every point where answers part, and which of these passes each such point."""
    following: dict[tuple[int, ...], set[int]] = {}
    for answer in answers:
        for depth, token in enumerate(answer):
            following.setdefault(answer[:depth], set()).add(token)
    asked: list[int] = []
    where: dict[tuple[int, ...], int] = {}
    for number in sorted(range(len(answers)), key=lambda k: -len(answers[k])):
        passed = [answers[number][:depth] for depth in range(len(answers[number]))]
        new = [start for start in passed if len(following[start]) > 1 and start not in where]
        if new:
            where |= dict.fromkeys(new, len(asked))
            asked.append(number)
    return asked, where
