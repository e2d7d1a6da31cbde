"""A gripper, a policy and a memory small enough to reason about, following the contracts of docs/architecture.md.

The gripper is a finger that moves at a bounded speed and is stopped by an object of known width. The policy is a
script of openings for each kind of call. Neither knows how the code under test decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge.executive import Executive
from edge.memory import PoseTuple
from edge.tabletop import API
from edge.types import Chunk, Observation, Pose

PERIOD_NS = 50_000_000
REPLAN = 4
CUBE_WIDTH = 0.19
SPEED = 0.25
"""Largest change of the opening in one period."""


class ToyArm:
    """Six joints; the gripper is stopped by `width` if something is between the pads."""

    def __init__(self) -> None:
        self.joints = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.46])
        self.width = 0.0
        self.now_ns = 1_000_000_000

    def follow(self, chunk: Chunk | None, periods: int = REPLAN) -> None:
        """Moves along a chunk for a while; stands still without one."""
        for _ in range(periods):
            self.now_ns += PERIOD_NS
            if chunk is None:
                continue
            index = min(max((self.now_ns - chunk.start_ns) // PERIOD_NS - 1, 0), len(chunk.joints) - 1)
            goal = chunk.joints[index].copy()
            goal[5] = max(goal[5], self.width)
            step = goal - self.joints
            self.joints = self.joints + np.array([*step[:5], np.clip(step[5], -SPEED, SPEED)])

    def observe(self) -> Observation:
        return Observation(self.now_ns, {}, self.joints.copy())


Script = Callable[[], Iterator[tuple[float, float, float]]]
"""Yields (pan, opening, finished probability), one a policy step; the last one is repeated."""


def grasp_script() -> Iterator[tuple[float, float, float]]:
    yield from [(0.0, 0.46, 0.0)] * 2
    yield from [(0.3, 0.46, 0.0)] * 2
    yield from [(0.3, 0.12, 0.0)] * 4
    yield from [(0.4, 0.12, 0.0)] * 2
    yield from [(0.5, 0.12, 0.9)] * 9


def place_script() -> Iterator[tuple[float, float, float]]:
    yield from [(-0.4, 0.12, 0.0)] * 3
    yield from [(-0.4, 0.46, 0.0)] * 3
    yield from [(0.0, 0.46, 0.9)] * 9


class ToyPolicy:
    """Plays a script for each new call and keeps what it was conditioned on."""

    def __init__(self, scripts: dict[int, Script] | None = None) -> None:
        self.scripts = scripts or {1: grasp_script, 2: place_script, 3: place_script, 4: place_script}
        self.seen: list[tuple[tuple[int, ...], Pose | None]] = []
        self.restart = True
        self._steps: Iterator[tuple[float, float, float]] = iter(())
        self._last = (0.0, 0.46, 0.0)

    def infer(self, observation: Observation, call_tokens: NDArray[np.int32], goal: Pose | None) -> Chunk:
        key = (tuple(int(t) for t in call_tokens), goal)
        if self.restart or not self.seen or self.seen[-1] != key:
            self._steps = self.scripts[int(call_tokens[0])]()
            self.restart = False
        self.seen.append(key)
        self._last = next(self._steps, self._last)
        pan, opening, finished = self._last
        target = np.array([pan, 0.0, 0.0, 0.0, 0.0, opening])
        return Chunk(observation.time_ns, PERIOD_NS, np.tile(target, (16, 1)), finished)


class ToyMemory:
    """The contract of `edge._core.SubtaskMemory`: the place of an object is its *first* grasp in the task."""

    def __init__(self) -> None:
        self.places: dict[str, PoseTuple] = {}
        self.log: list[str] = []
        self.task = ""
        self.running: str | None = None
        self.held: str | None = None
        self.ending: str | None = None
        self.ended: list[tuple[str, str]] = []

    def transcript(self) -> list[tuple[str, str]]:
        return self.ended

    def clear(self, task: str) -> None:
        self.places.clear()
        self.log = [f"clear {task}"]
        self.task, self.running, self.ended = task, None, []
        self.held = self.ending = None

    def begin(self, call_text: str, object: str, now_ns: int) -> None:
        self.running, self.ending = call_text, None
        self.log.append(f"begin {call_text}")

    def end(self, outcome: str, now_ns: int) -> None:
        assert self.running is not None
        self.ended.append((self.running, outcome))
        self.running = None
        self.log.append(f"end {outcome}")

    def grasped(self, object: str, pose: PoseTuple) -> None:
        self.places.setdefault(object, pose)
        self.held = object
        self.log.append(f"grasped {object}")

    def released(self, object: str, pose: PoseTuple) -> None:
        self.held = None if self.held == object else self.held
        self.log.append(f"released {object}")

    def conclude(self, ending: str, now_ns: int) -> None:
        assert self.running is None
        self.ending = ending
        self.log.append(f"conclude {ending}")

    def place_of(self, object: str) -> PoseTuple | None:
        return self.places.get(object)


def pinch_pose(joints: NDArray[np.float64]) -> PoseTuple:
    """A pose that tells which joints it was computed from."""
    return float(joints[0]), 0.0, 0.01, 0.0


def run(
    executive: Executive, arm: ToyArm, policy: ToyPolicy, plan: list[str], between: Callable[[str], None] | None = None
) -> None:
    """Drives a task in lock-step until it ends, or until the plan is used up."""
    texts = iter(plan)
    for _ in range(1000):
        if executive.over:
            return
        if executive.needs_plan:
            text = next(texts, None)
            if text is None:
                return
            if between is not None:
                between(text)
            policy.restart = True
            executive.give_plan(API.parse(text), arm.now_ns)
        arm.follow(executive.act(arm.observe(), arm.now_ns))
    raise AssertionError("the task never ended")
