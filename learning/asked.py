"""A task from a person's words: which kind it is, so that the simulator can set the table for it and judge it."""

from __future__ import annotations

import re

import numpy as np

from edge.errors import TaskError
from learning.phrasings import TEMPLATES, phrase
from learning.sim.scene import COLOURS, Scene, sample_scene
from learning.tasks import PICTURE_ONLY, Task, sample

_OBJECT = rf"(?:{'|'.join(COLOURS)}) (?:cube|plate)"
_POLITE = re.compile(r"^(?:please|now|robot|next|can you|could you(?: please)?)[, ]+|[ ,.!?]+(?:please|now)?[.!? ]*$")


def read_task(text: str) -> Task:
    """The task that a sentence asks for, if it is one of the phrasings of `learning.phrasings`.

    The robot itself understands sentences as far as its planner does; only the *judge* needs to know the kind.

    Raises:
        TaskError: None of the phrasings.
    """
    plain = _POLITE.sub("", _POLITE.sub("", " ".join(text.lower().split())))
    for kind, templates in TEMPLATES.items():
        for template in templates:
            pattern = re.escape(template)
            for name in "ab":  # the first mention names the object, a second one must agree
                pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{_OBJECT})", 1)
                pattern = pattern.replace(rf"\{{{name}\}}", f"(?P={name})")
            found = re.fullmatch(pattern, plain)
            if found and _fits(kind, objects := tuple(found.group(name) for name in "ab" if name in found.groupdict())):
                return Task(kind, objects, text)
    examples = "; ".join(
        phrase(kind, ("red cube", "blue plate" if kind != "stack" else "green cube")) for kind in TEMPLATES
    )
    raise TaskError(
        "the simulator cannot judge this task", expected=examples, got=repr(text), fix="say it in such words"
    )


def scene_for(task: Task, rng: np.random.Generator) -> Scene:
    """A random table for a task: what it names, and now and then something else beside it."""
    if task.kind in PICTURE_ONLY:
        return sample(task.kind, rng)[0]
    names = list(task.objects)
    for shape, most in (("cube", 2), ("plate", 1)):
        others = [f"{colour} {shape}" for colour in COLOURS if f"{colour} {shape}" not in names]
        names += rng.choice(others, int(rng.integers(0, most + 1)), replace=False).tolist()
    return sample_scene(rng, tuple(names))


def _fits(kind: str, objects: tuple[str, ...]) -> bool:
    """Whether the objects have the shapes that the kind is about; "put a on b" alone could be two kinds."""
    shapes = tuple(name.split()[1] for name in objects)
    return len(set(objects)) == len(objects) and shapes == {
        "pick": ("cube",),
        "put": ("cube", "plate"),
        "stack": ("cube", "cube"),
        "swap": ("cube", "cube"),
        "move": ("cube",),
        "restore": ("cube", "plate"),
    }.get(kind, ())
