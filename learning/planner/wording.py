"""How training tasks are worded: the phrasings of the demonstrations, and more that only the planner hears.

A robot meets more wordings than demonstrations have. What the words share (who goes where, whichever is named first) is
learned from their variety, so the planner, which needs no robot to practise, gets more of it. The held-out phrasings of
`learning.phrasings` are in neither list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from learning.phrasings import TRAIN, decorate

MORE: Mapping[str, tuple[str, ...]] = {
    "pick": (
        "pick out the {a}",
        "seize the {a}",
        "close the gripper on the {a}",
        "take the {a} in the gripper",
        "hold up the {a}",
        "i want the {a} in the gripper",
        "the {a} should be in the gripper",
        "fetch the {a} and keep hold of it",
    ),
    "put": (
        "grab the {a} and put it on the {b}",
        "lift the {a} and set it down on the {b}",
        "the {a} belongs on the {b}",
        "the {b} gets the {a}",
        "the {b} is where the {a} goes",
        "onto the {b} with the {a}",
        "fill the {b} with the {a}",
        "use the {b} for the {a}",
        "take the {a} over to the {b}",
        "pick the {a} up and lay it on the {b}",
        "on the {b} i want the {a}",
        "let the {b} carry the {a}",
        "leave the {a} on the {b}",
        "i want to see the {b} with the {a} on it",
        "show me the {b} with the {a} on it",
        "the {b} needs the {a} on it",
    ),
    "stack": (
        "build a tower of the {a} on the {b}",
        "build a tower from the {b} and put the {a} on top",
        "make a pile with the {b} below and the {a} above",
        "make a pile of the {b} and the {a} with the {a} above",
        "use the {b} as a base and put the {a} on it",
        "with the {b} below, stack the {a} on top",
        "on the {b} goes the {a}",
        "the {b} goes below the {a}",
        "the {b} carries the {a}",
        "the {b} should be below the {a}",
        "the {a} should be above the {b}",
        "lift the {a} and set it on the {b}",
        "grab the {a} and put it on the {b}",
        "start a tower with the {b} and add the {a}",
        "balance the {a} on the {b}",
        "on the {b} i want the {a}",
        "i want to see the {b} with the {a} on top",
        "show me the {b} with the {a} on it",
        "the {b} needs the {a} on top of it",
        "make a pile of the {b} with the {a} above it",
        "use the {b} as the bottom of a tower and the {a} as its top",
        "make a tower whose top is the {a} and whose bottom is the {b}",
        "a tower of two with the {b} below the {a}",
        "build a pile from the {b} with the {a} on top of it",
        "put up a tower, the {b} at the bottom and the {a} on top",
        "i want a pile of the {b} and the {a} with the {a} on top",
        "let the {b} have the {a} on top",
    ),
    "swap": (
        "the {a} goes where the {b} is and the {b} where the {a} is",
        "let the {a} and the {b} trade places",
        "change the places of the {a} and the {b}",
        "the {a} and the {b} should be exchanged",
        "exchange the {a} with the {b}",
        "reverse the places of the {a} and the {b}",
        "have the {a} and the {b} exchange positions",
        "move the {a} to the place of the {b} and the {b} to the place of the {a}",
    ),
    "move": (
        "lay the {a} down somewhere else",
        "take the {a} away",
        "shift the {a} to a free place",
        "drop the {a} at an empty place",
        "the {a} is in the way",
        "find another spot for the {a}",
        "get the {a} out of the way",
    ),
    "restore": (
        "carry the {a} to the {b} and back to its place",
        "lay the {a} on the {b} for a moment, then bring it back",
        "lift the {a} to the {b} and bring it back to where it was",
        "set the {a} onto the {b} and return it to its place",
        "put the {a} on the {b} and back where it was",
        "on the {b} put the {a} for a moment, then return it",
        "the {b} gets the {a} for a moment, then put it back",
    ),
    "nearest": (
        "grab the closest cube and lay it on the plate",
        "the cube closest to the arm goes on the plate",
        "on the plate goes the closest cube",
        "find the nearest cube and put it on the plate",
        "the plate gets the cube that is nearest to the robot",
        "place whichever cube is closest to the arm on the plate",
    ),
    "all_on_plates": (
        "every cube goes on its own plate",
        "no cube should be left on the table, put them on plates",
        "lay the cubes on plates",
        "place the cubes on plates, one each",
        "bring all the cubes to the plates",
        "each plate gets a cube",
    ),
}
"""Per task kind, what only the planner's training says."""

WORDINGS: Mapping[str, tuple[str, ...]] = {kind: TRAIN[kind] + MORE[kind] for kind in TRAIN}
_TURNED = {
    kind: tuple(row for row in rows if 0 <= row.find("{b}") < row.rfind("{a}")) for kind, rows in WORDINGS.items()
}
_TURNED_SHARE = 0.3
"""Wordings that name the second object before the first are hard, and drawn more often."""


def say(kind: str, objects: Sequence[str], rng: np.random.Generator) -> str:
    """A task in words, for training."""
    rows = _TURNED[kind] if _TURNED[kind] and rng.random() < _TURNED_SHARE else WORDINGS[kind]
    return decorate(rows[rng.integers(len(rows))].format(**dict(zip("ab", objects, strict=False))), rng)
