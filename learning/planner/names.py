"""Other names for the objects of a lesson, so that what goes where is copied from the task and not remembered.

Six colours make 36 pairs, and a few of them are held out. A small language model that has seen every other pair ten
thousand times learns that these never come: it then does all of the tasks but theirs. So every name, a colour's or
another, comes about as often as any other: among 900 pairs, that one has not come says nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from edge.tabletop import COLOURS
from learning.planner.programs import Tree

OTHERS = (
    "white", "black", "pink", "brown", "grey", "cyan", "golden", "silver", "violet", "beige", "olive", "teal", "maroon",
    "navy", "lime", "coral", "amber", "ivory", "wooden", "glass", "small", "large", "shiny", "striped",
)  # fmt: skip
"""Words that stand where a colour stands; no robot API here has them."""

_SHARE = len(OTHERS) / (len(OTHERS) + len(COLOURS))
_COLOUR = re.compile(rf"\b({'|'.join(COLOURS)})\b", re.IGNORECASE)


def renamed(tree: Tree, rng: np.random.Generator) -> Tree:
    """The same lesson with most colours, each everywhere in it, replaced by other words: all names are as likely."""
    drawn = rng.choice(OTHERS, len(COLOURS), replace=False)
    words = {colour: str(other) for colour, other in zip(COLOURS, drawn, strict=True) if rng.random() < _SHARE}

    def put(text: str) -> str:
        return _COLOUR.sub(lambda found: words.get(found[0].lower(), found[0]), text)

    branches = tuple(replace(branch, answer=put(branch.answer)) for branch in tree.branches)
    return Tree(put(tree.task), tuple(map(put, tree.lines)), branches)
