"""Measures the planner alone: it plans, an oracle's hands carry out, the simulator's judge decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from edge.api import Call, Entry
from learning.intervals import wilson
from learning.phrasings import phrase
from learning.planner.decide import Decider, Situation
from learning.planner.moments import Teleport
from learning.planner.pictures import Studio
from learning.planner.save import Asked
from learning.sim.scene import Item, Scene
from learning.tasks import KINDS, PAIRED, Task, judge, next_call, pair_is_held_out, sample

SPLITS = ("seen", "phrasings", "pairs")
"""Seen phrasings and object pairs in unseen scenes; phrasings that training never saw; object pairs it never saw."""

FAILURE = 0.1
SEED = 1_000_003
"""First word of every seed used here; training uses small ones."""
_LIFTED_Z_M = 0.08
_SLACK = 14
"""Calls beyond the shortest program that a task may take."""


@dataclass(frozen=True)
class Score:
    """Successes of n, with a 95 % Wilson interval."""

    right: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, right: int, n: int) -> Score:
        """Counts to a score."""
        return cls(right, n, *wilson(right, n))

    def __str__(self) -> str:
        share = 100 * self.right / max(self.n, 1)
        return f"{share:.0f} % ({self.right}/{self.n}, {100 * self.low:.0f}–{100 * self.high:.0f})"


@dataclass
class Episode:
    """One task being done by the planner."""

    scene: Scene
    task: Task
    hands: Teleport
    history: list[tuple[Item, ...]]
    transcript: tuple[Entry, ...] = ()
    on_program: int = 0
    asked: int = 0
    ended: bool = False

    @classmethod
    def begin(cls, kind: str, split: str, rng: np.random.Generator) -> Episode:
        """A random task of a split."""
        while True:
            scene, task = sample(kind, rng, held_out=split == "phrasings")
            if pair_is_held_out(task) == (split == "pairs"):
                break
        if split != "phrasings":
            task = replace(task, text=phrase(kind, task.objects, rng))
        return cls(scene, task, Teleport(scene.items, rng), [scene.items])

    def right_call(self) -> Call:
        """What the program does next."""
        return next_call(self.task, self.scene.items, self.transcript)

    def go(self, call: Call) -> None:
        """Carry out the planner's call."""
        self.asked += 1
        self.on_program += call == self.right_call()
        if call.subtask == "done" or len(self.transcript) >= _SLACK:
            self.ended = True
            return
        outcome = self.hands.draw_outcome(call, FAILURE)
        self.hands.apply(call, outcome)
        self.transcript = (*self.transcript, (call, outcome))
        held = self.hands.held
        lifted = (replace(item, z=_LIFTED_Z_M) if item.name == held else item for item in self.hands.items)
        self.history.append(tuple(lifted))

    def succeeded(self) -> bool:
        """Whether the planner said `done` and the judge agrees."""
        finished = self.ended and len(self.transcript) < _SLACK
        return finished and judge(self.task, self.history, self.hands.held)


@dataclass(frozen=True)
class Result:
    """Scores of one kind in one split: whole programs, and calls equal to the program's along the planner's own way."""

    kind: str
    split: str
    programs: Score
    calls: Score

    def as_dict(self) -> dict[str, object]:
        """For a report."""
        return asdict(self)


def evaluate(
    decider: Decider,
    studio: Studio,
    *,
    episodes: int,
    kinds: Sequence[str] = KINDS,
    splits: Sequence[str] = SPLITS,
    seed: int = 0,
) -> list[Result]:
    """Let the planner do `episodes` tasks of each kind and split. Kinds without two objects have no held-out pairs."""
    results = []
    for kind in kinds:
        for split in splits:
            key = [SEED, seed, KINDS.index(kind), SPLITS.index(split)]
            if split == "pairs" and kind not in PAIRED:
                continue
            running = [Episode.begin(kind, split, np.random.default_rng([*key, i])) for i in range(episodes)]
            play(decider, studio, running)
            done = sum(episode.succeeded() for episode in running)
            on, asked = sum(e.on_program for e in running), sum(e.asked for e in running)
            results.append(Result(kind, split, Score.of(done, episodes), Score.of(on, asked)))
    return results


def play(decider: Decider, studio: Studio, episodes: Sequence[Episode]) -> None:
    """Play all episodes to their end, one call each at a time."""
    while left := [episode for episode in episodes if not episode.ended]:
        asked = [Situation(studio.image(e.scene, e.hands.moment()), e.task.text, e.transcript) for e in left]
        for episode, call in zip(left, decider.decide(asked), strict=True):
            episode.go(call)


def cases(studio: Studio, count: int, seed: int = 0) -> list[Asked]:
    """Situations along the program with the right call, of every kind in turn, for the parity gate."""
    asked = []
    for i in range(count):
        rng = np.random.default_rng([SEED, seed, 77, i])
        episode = Episode.begin(KINDS[i % len(KINDS)], "seen", rng)
        for _ in range(int(rng.integers(0, 6))):
            if (call := episode.right_call()).subtask == "done":
                break
            episode.go(call)
        image = studio.image(episode.scene, episode.hands.moment())
        asked.append(Asked(Situation(image, episode.task.text, episode.transcript), episode.right_call()))
    return asked
