"""Tasks: what a person asks for, the program of calls that does it, and how the simulator judges it.

`next_call` is the teacher of the planner and the oracle's plan; `judge` looks only at where things are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.api import Call, Outcome
from learning.phrasings import phrase
from learning.sim.model import CUBE_HALF_M
from learning.sim.scene import COLOURS, PAN_AXIS_X_M, Item, Scene, free_spot, sample_names, sample_scene

KINDS = ("pick", "put", "stack", "swap", "move", "restore", "nearest", "all_on_plates")
PICTURE_ONLY = ("nearest", "all_on_plates")
"""Kinds whose answer is in the image and nowhere in the text."""

PAIRED = ("put", "stack", "swap", "restore")
"""Kinds that name two objects; some pairs of colours are kept out of training, see `pair_is_held_out`."""

Transcript = Sequence[tuple[Call, Outcome]]
Items = Sequence[Item]

ON_PLATE_M, ON_CUBE_M, SAME_PLACE_M, LIFTED_M = 0.040, 0.020, 0.030, 0.035
"""Judging tolerances: horizontal distances, and the height that counts as lifted."""


@dataclass(frozen=True)
class Task:
    """`objects` fill the text's slots: the first is moved, the second is where to (or what to swap with)."""

    kind: str
    objects: tuple[str, ...]
    text: str


def pair_is_held_out(task: Task) -> bool:
    """Whether a task names a pair of colours that training never sees together in this order (5 of 36)."""
    if task.kind not in PAIRED:
        return False
    a, b = (COLOURS.index(name.split()[0]) for name in task.objects)
    return (a + 2 * b) % 7 == 3


def find(items: Items, name: str) -> Item:
    return next(item for item in items if item.name == name)


def apart(a: Item, b: Item) -> float:
    """Horizontal distance of two objects, metres."""
    return float(np.hypot(a.x - b.x, a.y - b.y))


def cubes(items: Items) -> list[Item]:
    return [item for item in items if item.shape == "cube"]


def plates(items: Items) -> list[Item]:
    return [item for item in items if item.shape == "plate"]


def rests_on(cube: Item, support: Item) -> bool:
    """Whether a cube lies on a plate or on another cube."""
    if support.shape == "plate":
        return apart(cube, support) < ON_PLATE_M and -0.002 < cube.z < CUBE_HALF_M
    return apart(cube, support) < ON_CUBE_M and abs(cube.z - support.z - 2 * CUBE_HALF_M) < 0.006


def distance_to_arm(item: Item) -> float:
    """From the pan axis, metres."""
    return float(np.hypot(item.x - PAN_AXIS_X_M, item.y))


def _call(subtask: str, *arguments: str) -> Call:
    return Call(subtask, arguments)


def _steps(task: Task, items: Items) -> list[Call]:
    """The whole program when nothing fails, from where things are at the start."""
    a, b = (*task.objects, "", "")[:2]
    match task.kind:
        case "pick":
            return [_call("pick", a)]
        case "put" | "stack":
            return [_call("pick", a), _call("place_on", b)]
        case "move":
            return [_call("pick", a), _call("place_free")]
        case "restore":
            return [_call("pick", a), _call("place_on", b), _call("pick", a), _call("place_at", a)]
        case "swap":
            return [
                _call("pick", a), _call("place_free"), _call("pick", b), _call("place_at", a), _call("pick", a),
                _call("place_at", b),
            ]  # fmt: skip
        case "nearest":
            return [
                _call("pick", min(cubes(items), key=distance_to_arm).name),
                _call("place_on", plates(items)[0].name),
            ]
        case "all_on_plates":
            # Left to right in the front image, which is increasing y.
            loose = sorted(
                (c for c in cubes(items) if not any(rests_on(c, p) for p in plates(items))), key=lambda i: i.y
            )
            empty = sorted(
                (p for p in plates(items) if not any(rests_on(c, p) for c in cubes(items))), key=lambda i: i.y
            )
            pairs = zip(loose, empty, strict=False)
            return [call for c, p in pairs for call in (_call("pick", c.name), _call("place_on", p.name))]
    raise ValueError(f"unknown kind {task.kind!r}; one of {', '.join(KINDS)}")


def next_call(task: Task, items: Items, transcript: Transcript) -> Call:
    """The right next call.

    Args:
        task: What was asked for.
        items: Where things were when the task began.
        transcript: What was called since, and how it ended. A missed grasp or a timeout is tried again; an object lost
            on the way is picked up again.
    """
    steps, at = _steps(task, items), 0
    for call, outcome in transcript:
        if outcome == Outcome.OK:
            at += 1
        elif outcome == Outcome.LOST and call.subtask.startswith("place"):
            at -= 1
    return steps[at] if at < len(steps) else _call("done")


def judge(task: Task, history: Sequence[Items], held: str | None) -> bool:
    """Whether the task was done. `history` is where things were at the start, after each call, and now."""
    before, now = history[0], history[-1]
    a = find(now, task.objects[0]) if task.objects else None
    b = task.objects[1] if len(task.objects) > 1 else ""
    if task.kind == "pick":
        return a is not None and held == a.name and a.z > LIFTED_M
    if held is not None:
        return False
    match task.kind:
        case "put" | "stack":
            return a is not None and rests_on(a, find(now, b))
        case "move":
            assert a is not None
            others = [i for i in now if i.name != a.name]
            return apart(a, find(before, a.name)) > 0.05 and a.z < 0.004 and all(apart(a, i) > 0.035 for i in others)
        case "restore":
            assert a is not None
            was_on = any(rests_on(find(items, a.name), find(items, b)) for items in history)
            return was_on and a.z < 0.004 and apart(a, find(before, a.name)) < SAME_PLACE_M
        case "swap":
            assert a is not None
            pairs = ((a, find(before, b)), (find(now, b), find(before, a.name)))
            return all(x.z < 0.004 and apart(x, y) < SAME_PLACE_M for x, y in pairs)
        case "nearest":
            return rests_on(find(now, min(cubes(before), key=distance_to_arm).name), plates(now)[0])
        case "all_on_plates":
            return all(any(rests_on(c, p) for p in plates(now)) for c in cubes(now))
    raise ValueError(f"unknown kind {task.kind!r}; one of {', '.join(KINDS)}")


_COUNTS: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "pick": ((2, 4), (0, 2)),
    "put": ((1, 4), (1, 2)),
    "stack": ((2, 4), (0, 2)),
    "swap": ((2, 4), (0, 1)),
    "move": ((1, 4), (0, 2)),
    "restore": ((1, 4), (1, 2)),
    "nearest": ((2, 4), (1, 1)),
    "all_on_plates": ((1, 2), (2, 3)),
}


def sample(kind: str, rng: np.random.Generator, *, held_out: bool = False) -> tuple[Scene, Task]:
    """A random scene and a task to do in it.

    Args:
        kind: One of `KINDS`.
        rng: All randomness.
        held_out: Use the phrasings that training never sees.
    """
    (low_c, high_c), (low_p, high_p) = _COUNTS[kind]
    names = sample_names(rng, int(rng.integers(low_c, high_c + 1)), int(rng.integers(low_p, high_p + 1)))
    scene = sample_scene(rng, names)
    while not _is_clear_cut(kind, scene, names[0]):
        scene = sample_scene(rng, names)
    cube = [n for n in names if n.endswith("cube")]
    plate = [n for n in names if n.endswith("plate")]
    objects: tuple[str, ...] = {
        "pick": (cube[0],), "put": (cube[0], (plate or [""])[0]), "stack": tuple(cube[:2]), "swap": tuple(cube[:2]),
        "move": (cube[0],), "restore": (cube[0], (plate or [""])[0]),
    }.get(kind, ())  # fmt: skip
    return scene, Task(kind, objects, phrase(kind, objects, rng, held_out=held_out))


def _is_clear_cut(kind: str, scene: Scene, moved: str) -> bool:
    """Whether a person would see at once what is asked: which cube is nearest, or that aside is elsewhere."""
    if kind == "nearest":
        near = sorted(distance_to_arm(item) for item in cubes(scene.items))
        return near[1] - near[0] > 0.015
    if kind == "move":
        cube = scene.item(moved)
        x, y = free_spot([item for item in scene.items if item.name != moved])
        return bool(np.hypot(cube.x - x, cube.y - y) > 0.08)
    return True
