"""Checks the words of a task against the robot's vocabulary, before anything is loaded or moved."""

from __future__ import annotations

import difflib
import re

from edge.api import RobotApi
from edge.errors import TaskError

# Words people use for things that a robot may not know. A word here that is in the robot's vocabulary is fine.
_COLOURS = {
    "red", "green", "blue", "yellow", "orange", "purple", "pink", "black", "white", "brown", "grey", "gray", "cyan",
    "magenta", "violet", "turquoise", "gold", "silver", "beige", "teal",
}  # fmt: skip
_SHAPES = {
    "cube", "plate", "ball", "sphere", "cylinder", "block", "box", "bowl", "mug", "cup", "can", "bottle", "pyramid",
    "cone", "ring", "peg", "bin", "tray", "basket", "glass", "spoon",
}  # fmt: skip
_EXAMPLE = 'e.g. "put the red cube on the blue plate"'


def check_task(task: str, api: RobotApi) -> str:
    """The task with surrounding blanks removed.

    The language itself is the planner's business; only names are checked, so that "put the pink cube away" fails here
    and not as a wrong motion.

    Raises:
        TaskError: The task is empty, names no kind of object this robot knows, or names one it does not know.
    """
    words = re.findall(r"[a-z]+", task.lower())
    known = ", ".join(api.colours) + "; " + ", ".join(api.shapes)
    if not words:
        raise TaskError("the task is empty", expected="a sentence", got=repr(task), fix=_EXAMPLE)
    shapes = {form: shape for shape in api.shapes for form in (shape, shape + "s")}
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        if word in shapes and before not in api.colours and (before in _COLOURS or _near(before, api.colours)):
            raise _unknown(f"{before} {word}", before, api.colours, known)
        if word in shapes or before not in api.colours:
            continue
        if word in _SHAPES or word.removesuffix("s") in _SHAPES or _near(word, api.shapes):
            raise _unknown(f"{before} {word}", word, api.shapes, known)
    if not shapes.keys() & set(words):
        raise TaskError("the task names no object this robot knows", expected=known, got=repr(task), fix=_EXAMPLE)
    return task.strip()


def _near(word: str, known: tuple[str, ...]) -> str:
    found = difflib.get_close_matches(word, known, 1, 0.75) if len(word) > 2 else []
    return found[0] if found else ""


def _unknown(phrase: str, word: str, known: tuple[str, ...], vocabulary: str) -> TaskError:
    near = _near(word, known)
    fix = (
        f"did you mean {phrase.replace(word, near)!r}?"
        if near
        else "ask for one of the objects the robot was trained with"
    )
    return TaskError(f"the robot knows no {phrase}", expected=vocabulary, got=repr(phrase), fix=fix)
