"""How people ask for a task: templates per kind, the last two of each never seen in training.

`{a}` and `{b}` are filled with object names of the robot API ("red cube", "blue plate"), which keep their wording so
that the runtime can check a task against the vocabulary before the arm moves. Only the words around them vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "pick": (
        "pick up the {a}",
        "pick the {a}",
        "grab the {a}",
        "take the {a}",
        "grasp the {a}",
        "lift the {a}",
        "get the {a} and hold it",
        "pick the {a} up",
        "lift up the {a}",
        "hold the {a}",
        "raise the {a} off the table",
        "take hold of the {a}",
        "i need the {a} in the gripper",
        "grip the {a}",
        "lift the {a} up off the table",
        "get hold of the {a}",
    ),
    "put": (
        "put the {a} on the {b}",
        "place the {a} on the {b}",
        "set the {a} on the {b}",
        "move the {a} to the {b}",
        "lay the {a} on the {b}",
        "put the {a} onto the {b}",
        "take the {a} and put it on the {b}",
        "pick up the {a} and place it on the {b}",
        "the {a} goes on the {b}",
        "drop the {a} on the {b}",
        "transfer the {a} to the {b}",
        "i want the {a} on the {b}",
        "bring the {a} to the {b}",
        "on the {b} put the {a}",
        "grab the {a} and set it on the {b}",
        "move the {a} over to the {b} and put it there",
    ),
    "stack": (
        "stack the {a} on the {b}",
        "put the {a} on top of the {b}",
        "place the {a} on top of the {b}",
        "stack the {a} on top of the {b}",
        "put the {a} on the {b}",
        "build a tower with the {a} on the {b}",
        "set the {a} on top of the {b}",
        "pile the {a} on the {b}",
        "the {a} goes on top of the {b}",
        "take the {a} and stack it on the {b}",
        "pick up the {a} and put it on top of the {b}",
        "i want the {a} on top of the {b}",
        "make a stack with the {b} below and the {a} on top",
        "on top of the {b} put the {a}",
        "grab the {a} and stack it on top of the {b}",
        "make a tower of the {b} with the {a} on top",
    ),
    "swap": (
        "swap the {a} and the {b}",
        "swap the {a} with the {b}",
        "exchange the {a} and the {b}",
        "switch the {a} and the {b}",
        "make the {a} and the {b} trade places",
        "switch the places of the {a} and the {b}",
        "put the {a} where the {b} is and the {b} where the {a} is",
        "let the {a} and the {b} change places",
        "interchange the {a} and the {b}",
        "swap the positions of the {a} and the {b}",
        "trade the {a} with the {b}",
        "i want the {a} and the {b} swapped",
        "the {a} and the {b} should switch places",
        "exchange the positions of the {a} and the {b}",
        "switch the {a} with the {b}",
        "have the {a} and the {b} swap places",
    ),
    "move": (
        "move the {a} somewhere else",
        "put the {a} somewhere free",
        "move the {a} to a free spot",
        "place the {a} at a free spot",
        "put the {a} aside",
        "move the {a} out of the way",
        "set the {a} aside",
        "put the {a} somewhere else",
        "put the {a} down at an empty spot",
        "find a free spot for the {a}",
        "take the {a} to an empty place",
        "relocate the {a}",
        "move the {a} away",
        "clear the {a} out of the way",
        "place the {a} somewhere else on the table",
        "move the {a} to an empty spot",
    ),
    "restore": (
        "lift the {a} onto the {b}, then put it back where it was",
        "put the {a} on the {b}, then put it back where it was",
        "place the {a} on the {b} and then return it to where it was",
        "put the {a} on the {b} and bring it back",
        "set the {a} on the {b}, then put it back",
        "move the {a} to the {b} and back again",
        "move the {a} to the {b}, then back to where it was",
        "show the {a} on the {b}, then put it back in its place",
        "take the {a} to the {b} and back",
        "put the {a} on the {b} for a moment, then return it",
        "the {a} visits the {b} and goes back to its place",
        "lay the {a} on the {b}, then restore it",
        "place the {a} onto the {b} for a moment and put it back where it was",
        "drop the {a} on the {b}, then bring it back to its place",
        "set the {a} on the {b} for a moment, then put it back in its place",
        "lift the {a} to the {b} and then return it to its place",
    ),
    "nearest": (
        "put the cube that is nearest to the arm on the plate",
        "put the nearest cube on the plate",
        "place the closest cube on the plate",
        "put the cube closest to the robot on the plate",
        "take the cube nearest to you and put it on the plate",
        "move the cube nearest to the arm onto the plate",
        "set the cube that is closest to the arm on the plate",
        "the nearest cube goes on the plate",
        "pick up the closest cube and place it on the plate",
        "put whichever cube is nearest on the plate",
        "lay the cube that is closest to you on the plate",
        "put the cube with the shortest distance to the arm on the plate",
        "on the plate put the nearest cube",
        "grab the cube nearest to the robot and put it on the plate",
        "put the cube that is closest to the robot on the plate",
        "place the cube nearest to the arm on the plate",
    ),
    "all_on_plates": (
        "put all the cubes on plates",
        "put all cubes on plates",
        "put every cube on a plate",
        "place each cube on its own plate",
        "put the cubes on the plates",
        "all the cubes go on plates",
        "set every cube on a plate",
        "move all of the cubes onto plates",
        "one cube on each plate until no cube is left on the table",
        "clear the cubes off the table onto the plates",
        "distribute the cubes over the plates",
        "every cube should be on a plate",
        "place all the cubes on the plates",
        "take all the cubes and put them on plates",
        "move each cube to a plate",
        "i want every cube on its own plate",
    ),
}
"""Per task kind, at least ten ways to ask for it."""

TRAIN: Mapping[str, tuple[str, ...]] = {kind: rows[:-2] for kind, rows in TEMPLATES.items()}
HELD_OUT: Mapping[str, tuple[str, ...]] = {kind: rows[-2:] for kind, rows in TEMPLATES.items()}

_OPENINGS = ("please ", "now ", "robot, ", "can you ", "could you please ", "next, ")
_ENDINGS = (".", " please", ", please", "!", " now")
_NOT_IMPERATIVE = ("i", "the", "every", "each", "all", "no", "on", "onto", "one")
"""First words of templates that "please" cannot stand before."""


def phrase(
    kind: str,
    objects: Sequence[str],
    rng: np.random.Generator | None = None,
    *,
    held_out: bool = False,
) -> str:
    """One way to ask for a task.

    Args:
        kind: A key of `TEMPLATES`.
        objects: Names for `{a}`, `{b}`; names a kind does not use are ignored.
        rng: Chooses the template and a polite opening or ending. None gives the plainest template.
        held_out: Take one of the templates that training never sees.

    Raises:
        KeyError: The kind has no templates.
    """
    rows = (HELD_OUT if held_out else TRAIN)[kind]
    names = dict(zip("ab", objects, strict=False))
    if rng is None:
        return rows[0].format(**names)
    text = rows[rng.integers(len(rows))].format(**names)
    return text if held_out else decorate(text, rng)


def decorate(text: str, rng: np.random.Generator) -> str:
    """Small talk around a request; the request itself stays word for word."""
    draw = rng.random()
    if draw < 0.12 and text.split()[0] not in _NOT_IMPERATIVE:
        text = _OPENINGS[rng.integers(len(_OPENINGS))] + text
    elif draw < 0.24:
        text = text + _ENDINGS[rng.integers(len(_ENDINGS))]
    return text[0].upper() + text[1:] if rng.random() < 0.15 else text
