"""Many trees behind one image: token ids, positions, and a mask under which none sees another.

prefix | image 64 | EDGE | trunk  branch branch … | trunk  branch … | padding
         everyone sees these   a branch sees its trunk up to where it leaves it, and itself
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from edge.planner.prompt import Specials, clean_task, prefix_ids
from edge.tabletop import API
from learning.planner.model import IMAGE_TOKENS
from learning.planner.names import OTHERS
from learning.planner.programs import Tree
from learning.planner.tokenizer import specials

GROUPS = ("text", "nearest", "all_on_plates", "look")
_WEIGHTS = {"text": 1.0, "nearest": 2.5, "all_on_plates": 2.5, "look": 0.6}
_NAME_WEIGHT = 2.0
"""The words that name an object carry the decision; brackets and quotes follow by themselves."""


@dataclass(frozen=True)
class Row:
    """One packed image.

    Attributes:
        ids: (T,) token ids after the image, the first being EDGE.
        positions: (T,) positions.
        owner: (T,) tree of each token; −1 for EDGE.
        limit: (T,) how many trunk tokens of its tree it sees (its own included when it is one).
        branch: (T,) branch of each token, 0 in the trunk.
        trunk: (T,) index in the trunk, or a large number in a branch.
        at, label, weight, group, answer: (L,) where to predict, what, how heavily, of which group, and of which answer.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    owner: NDArray[np.int64]
    limit: NDArray[np.int64]
    branch: NDArray[np.int64]
    trunk: NDArray[np.int64]
    at: NDArray[np.int64]
    label: NDArray[np.int64]
    weight: NDArray[np.float32]
    group: NDArray[np.int64]
    answer: NDArray[np.int64]


_FAR = 1 << 20


class Packer:
    """Packs trees for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.specials: Specials = specials(tokenizer)
        self.encode: Callable[[str], tuple[int, ...]] = lru_cache(200_000)(
            lambda text: tuple(tokenizer.encode(text, add_special_tokens=False))
        )
        self.prefix = np.array(prefix_ids(API, self.encode, self.specials))
        self._base = len(self.prefix) + IMAGE_TOKENS
        self._ask = self.encode("\nnext:")
        words = (*API.colours, *OTHERS)
        self._names = {self.encode(f"{before}{word}")[-1] for word in words for before in ('("', "", " ")}

    def length(self, tree: Tree) -> int:
        """Tokens of a tree."""
        trunk = len(self.encode(f"task: {clean_task(tree.task)}")) + sum(len(self.encode(f"\n{x}")) for x in tree.lines)
        return trunk + sum(len(self._ask) + len(self.encode(branch.answer)) + 1 for branch in tree.branches)

    def pack(self, trees: Sequence[Tree]) -> Row:
        """All trees in one row."""
        cells: list[tuple[int, int, int, int, int, int]] = [(self.specials.edge, self._base, -1, 0, 0, 0)]
        marks: list[tuple[int, int, float, int, int]] = []
        answers = 0
        for owner, tree in enumerate(trees):
            pieces = [self.encode(f"task: {clean_task(tree.task)}"), *(self.encode(f"\n{line}") for line in tree.lines)]
            ends = np.cumsum([len(piece) for piece in pieces])
            for i, token in enumerate(token for piece in pieces for token in piece):
                cells.append((token, self._base + 1 + i, owner, i + 1, 0, i))
            for number, branch in enumerate(tree.branches, start=1):
                start, limit = len(cells), int(ends[branch.at])
                answer = (*self.encode(branch.answer), self.specials.end)
                for i, token in enumerate((*self._ask, *answer[:-1])):
                    cells.append((token, self._base + 1 + limit + i, owner, limit, number, _FAR))
                first = start + len(self._ask) - 1
                for i, token in enumerate(answer):
                    heavy = _NAME_WEIGHT if token in self._names or i == 0 else 1.0
                    weight = heavy * _WEIGHTS[branch.group]
                    marks.append((first + i, token, weight, GROUPS.index(branch.group), answers))
                answers += 1
        columns = np.array(cells, np.int64).T
        at, label, weight, group, answer_of = (np.array(column) for column in zip(*marks, strict=True))
        return Row(*columns[:6], at, label, weight.astype(np.float32), group, answer_of)  # type: ignore[call-arg]


def visible(row: Row, total: int, prefix: int) -> NDArray[np.bool_]:
    """(64 + total, prefix + 64 + total) mask of a row padded to `total` tokens: true where a query may look."""
    size = IMAGE_TOKENS + total
    mask = np.zeros((size, prefix + size), np.bool_)
    mask[:, :prefix] = True
    shared = IMAGE_TOKENS + 1
    mask[:shared, prefix : prefix + shared] = np.tri(shared, dtype=np.bool_)
    mask[shared:, prefix : prefix + shared] = True
    owner, order = row.owner[1:], np.arange(len(row.owner) - 1)
    same = owner[:, None] == owner[None]
    in_trunk = row.trunk[1:][None] < row.limit[1:][:, None]
    itself = (row.branch[1:][:, None] == row.branch[1:][None]) & (order[None] <= order[:, None])
    used = slice(shared, shared + len(owner))
    mask[used, prefix + shared : prefix + shared + len(owner)] = same & (in_trunk | itself)
    return mask
