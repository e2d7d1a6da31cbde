"""Programs as trees: one task with its transcript as the trunk, and at every valid step the next call as a branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.api import Call, Entry, Outcome
from edge.tabletop import API
from learning.planner.moments import Moment, Teleport
from learning.planner.wording import say
from learning.sim.scene import Item
from learning.tasks import (
    KINDS,
    PICTURE_ONLY,
    Task,
    cubes,
    distance_to_arm,
    next_call,
    pair_is_held_out,
    plates,
    rests_on,
)

TEXT_KINDS = tuple(kind for kind in KINDS if kind not in PICTURE_ONLY)
_TEXT_SHARES = {"pick": 0.05, "put": 0.18, "stack": 0.2, "swap": 0.3, "move": 0.07, "restore": 0.2}
FAILURES = (0.0, 0.1, 0.3)
"""How often calls fail in a training transcript; one of these each."""
MAX_CALLS = 20
_CLEAR_MARGIN_M = 0.008
"""Nearer differences in distance are no lesson: the picture does not settle them."""


@dataclass(frozen=True)
class Branch:
    """What to write after the first `at` lines of a trunk; `group` is for the report."""

    at: int
    answer: str
    group: str


@dataclass(frozen=True)
class Tree:
    """One task, its transcript, and the answers to learn along it."""

    task: str
    lines: tuple[str, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Walk:
    """One way a task may go: `moments` and `calls` (the right next one) before each entry, and after the last."""

    task: Task
    entries: tuple[Entry, ...]
    moments: tuple[Moment, ...]
    calls: tuple[Call, ...]


def walk(task: Task, items: Sequence[Item], rng: np.random.Generator, failure: float | None = None) -> Walk:
    """Follow the program from `items`, with failures, to its end (or to `MAX_CALLS`)."""
    failure = FAILURES[rng.integers(len(FAILURES))] if failure is None else failure
    hands, start = Teleport(tuple(items), rng), tuple(items)
    entries: list[Entry] = []
    moments, calls = [hands.moment()], [next_call(task, start, ())]
    while calls[-1].subtask != "done" and len(entries) < MAX_CALLS:
        outcome = hands.draw_outcome(calls[-1], failure)
        hands.apply(calls[-1], outcome)
        entries.append((calls[-1], outcome))
        moments.append(hands.moment())
        calls.append(next_call(task, start, entries))
    return Walk(task, tuple(entries), tuple(moments), tuple(calls))


def tree_of(walked: Walk, seen: int) -> Tree:
    """The lesson of a walk when the picture shows its moment `seen`: only steps that this picture can answer.

    Text-only kinds are answered by the transcript, whatever the picture shows.
    """
    kind = walked.task.kind
    steps = [j for j in range(len(walked.calls)) if kind not in PICTURE_ONLY or _answerable(walked, seen, j)]
    lines = tuple(API.format_entry(entry) for entry in walked.entries[: max(steps)])
    group = kind if kind in PICTURE_ONLY else "text"
    return Tree(walked.task.text, lines, tuple(Branch(j, API.format(walked.calls[j]), group) for j in steps))


def text_lesson(walked: Walk, rng: np.random.Generator) -> Tree:
    """A walk of a text-only kind cut off at a random step, with few branches.

    Half of the cuts that can come after a lost object do: which one it was is hard to read off a transcript. What goes
    where is learned from many tasks; one long transcript learned whole costs as much as several of these.
    """
    last = int(rng.integers(len(walked.calls), size=2).max())
    lost = [i + 1 for i, (_, outcome) in enumerate(walked.entries) if outcome is Outcome.LOST]
    if lost and rng.random() < 0.5:
        last = lost[rng.integers(len(lost))]
    lines = tuple(API.format_entry(entry) for entry in walked.entries[:last])
    steps = sorted({0, max(last - 1, 0), last})
    return Tree(walked.task.text, lines, tuple(Branch(j, API.format(walked.calls[j]), "text") for j in steps))


def _answerable(walked: Walk, seen: int, step: int) -> bool:
    now, then = walked.moments[seen], walked.moments[step]
    if now.items == then.items and now.held == then.held:
        return True
    if walked.task.kind != "nearest":
        return False
    named_before = any(call == walked.calls[step] for call, _ in walked.entries[:step])
    return walked.calls[step].subtask != "pick" or named_before


def text_task(names: Sequence[str], rng: np.random.Generator) -> Task | None:
    """A task of a text-only kind about objects of the scene, never a held-out pair; None if nothing fits."""
    cube = [str(n) for n in rng.permutation([n for n in names if n.endswith("cube")])]
    plate = [str(n) for n in rng.permutation([n for n in names if n.endswith("plate")])]
    for kind in rng.choice(TEXT_KINDS, 6, p=[_TEXT_SHARES[k] for k in TEXT_KINDS]):
        takes = {"pick": cube[:1], "move": cube[:1], "put": cube[:1] + plate[:1], "restore": cube[:1] + plate[:1]}
        objects = tuple(takes.get(str(kind), cube[:2]))
        task = Task(str(kind), objects, "")
        if len(objects) == (1 if kind in ("pick", "move") else 2) and not pair_is_held_out(task):
            return Task(str(kind), objects, say(str(kind), objects, rng))
    return None


def picture_task(moment: Moment, rng: np.random.Generator) -> Task | None:
    """A picture-only task that this moment can be the beginning of, or None."""
    if moment.held is not None:
        return None
    cube, plate = cubes(moment.items), plates(moment.items)
    empty = [p for p in plate if not any(rests_on(c, p) for c in cube)]
    loose = [c for c in cube if not any(rests_on(c, p) for p in plate)]
    near = sorted(distance_to_arm(c) for c in cube)
    if len(plate) == 1 and len(loose) == len(cube) >= 2 and near[1] - near[0] > _CLEAR_MARGIN_M:
        return Task("nearest", (), say("nearest", (), rng))
    if len(plate) >= 2 and cube and len(empty) >= len(loose) and all(c.z < 0.01 for c in cube):
        return Task("all_on_plates", (), say("all_on_plates", (), rng))
    return None


def questions(moment: Moment, rng: np.random.Generator, count: int) -> list[Tree]:
    """Questions about what is seen; no robot asks them, but each teaches the language model to read the picture."""
    free = [item for item in moment.items if item.name != moment.held]
    cube, plate = cubes(free), plates(free)
    empty = [p for p in plate if not any(rests_on(c, p) for c in cube)]
    loose = [c for c in cube if not any(rests_on(c, p) for p in plate)]
    rows: list[tuple[str, Sequence[Item]]] = [
        ("name the cubes from left to right", sorted(cube, key=lambda i: i.y)),
        ("name the cubes from near to far", sorted(cube, key=distance_to_arm)),
        ("name the loose cubes from left to right", sorted(loose, key=lambda i: i.y)),
        ("name the empty plates from left to right", sorted(empty, key=lambda i: i.y)),
        ("name the plates from left to right", sorted(plate, key=lambda i: i.y)),
        ("name the held cube", [i for i in moment.items if i.name == moment.held]),
    ]
    chosen = rng.choice(len(rows), count, replace=False, p=[0.14, 0.3, 0.2, 0.2, 0.08, 0.08])
    return [_question(*rows[int(i)]) for i in chosen]


def _question(text: str, items: Sequence[Item]) -> Tree:
    return Tree(text, (), (Branch(0, ", ".join(item.name for item in items) or "none", "look"),))
