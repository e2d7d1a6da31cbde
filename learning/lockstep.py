"""The runtime's lock-step twin: the same executive and the same C++ loop over the simulated table, on a virtual clock.

One thread, no sleeping: a second of the robot's life costs a few hundredths. What the real-time runtime does in threads
happens here at the same rates: the loop steps at 1 kHz, the arm gets its goals at 250 Hz, the policy runs every few
targets, and what it computes arrives `delay_ns` later than the picture it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from edge import _core
from edge.api import Call, Entry, Outcome, Transcript
from edge.config import Budgets
from edge.errors import PlannerError
from edge.executive import DEFAULT_NUMBERS, Executive, Infers
from edge.manifest import MonitorNumbers
from edge.tabletop import API
from edge.types import Chunk, Frame, Observation
from learning.sim.hands import OracleHands
from learning.sim.model import TIMESTEP_S
from learning.sim.scene import Scene
from learning.sim.world import READY, World
from learning.tasks import Items, Task, judge

PERIOD_NS = 50_000_000
_PHYSICS_NS = round(TIMESTEP_S * 1e9)
_LOOP_STEPS = 4
_SETTLE_NS = 400_000_000

Plan = Callable[[NDArray[np.uint8], Task, Items, Transcript], Call]
"""Chooses the next call from the front image (192, 192, 3), the task, where things were at the start, and transcript.
A learned planner ignores where things were; the oracle ignores the image."""


@dataclass(frozen=True)
class Result:
    """How one episode went. `seconds` is the robot's time."""

    success: bool
    entries: tuple[Entry, ...]
    reason: str
    seconds: float


@dataclass(frozen=True)
class Pace:
    """Rates and delays, in targets of 50 ms and in nanoseconds.

    Attributes:
        every: The policy runs once in so many targets.
        delay_ns: Age of a chunk's picture when the chunk reaches the loop.
        plan_ns: How long the arm rests while the planner thinks.
        limit_s: The robot's patience with a whole task.
    """

    every: int = 8
    delay_ns: int = 20_000_000
    plan_ns: int = 200_000_000
    limit_s: float = 120.0


class Rig:
    """A table, an arm and the C++ loop between them, under a virtual clock."""

    def __init__(self, pace: Pace = Pace()) -> None:
        self.world = World()
        self.pace = pace
        self.now_ns = 0
        with as_file(files("edge").joinpath("robots/so101.json")) as path:
            self.arm = _core.Arm(path)
        self._loop = _core.ControlLoop(self.arm)
        self._pending: list[tuple[int, Chunk]] = []

    def begin(self, scene: Scene) -> None:
        """A new scene, a fresh loop, time zero."""
        self.world.reset(scene)
        self.now_ns = 0
        self.restart()

    def restart(self) -> None:
        """The runtime starts anew, from wherever the arm is: a fresh loop that knows of no chunk."""
        self._pending = []
        self._loop = _core.ControlLoop(self.arm)
        self._loop.start()
        self.wait(100_000_000)

    def observe(self) -> Observation:
        """What the cameras and the servos say now."""
        frames = {name: Frame(name, self.world.render(name), self.now_ns) for name in ("front", "wrist")}
        return Observation(self.now_ns, frames, self.world.joints())

    def follow(self, chunk: Chunk, see: Callable[[Observation], None] | None = None) -> None:
        """Let the arm have a chunk once its delay has passed, and go on until the next one is due.

        Args:
            chunk: To follow.
            see: Is shown what there is to see after every period of the chunk but the last.
        """
        self._pending.append((self.now_ns + self.pace.delay_ns, chunk))
        begun_ns = self.now_ns
        if see is not None:
            for past in range(1, self.pace.every):
                self.wait(begun_ns + past * chunk.period_ns - self.now_ns)
                see(self.observe())
        self.wait(begun_ns + self.pace.every * chunk.period_ns - self.now_ns)

    def wait(self, duration_ns: int) -> None:
        """Let the loop and the arm run."""
        end = self.now_ns + duration_ns
        while self.now_ns < end:
            while self._pending and self._pending[0][0] <= self.now_ns:
                self._loop.offer(self._pending.pop(0)[1])
            command = self._loop.advance(self.now_ns, _LOOP_STEPS, self.world.joints())
            self.world.advance(command)
            self.now_ns += _PHYSICS_NS


class LockStep:
    """A policy under an executive, on a rig of its own that is reused over episodes."""

    def __init__(
        self,
        policy: Infers,
        *,
        pace: Pace = Pace(),
        remember: bool = True,
        numbers: MonitorNumbers = DEFAULT_NUMBERS,
        ready: Sequence[float] | None = READY,
    ) -> None:
        self.rig = Rig(pace)
        self.executive = Executive(
            API, policy, _core.SubtaskMemory(), pinch_pose=self.rig.arm.pinch_pose, budgets=Budgets(), numbers=numbers,
            ready=ready, remember=remember,
        )  # fmt: skip

    def run(self, scene: Scene, task: Task, plan: Plan) -> Result:
        """Do one task and let the simulator judge it."""
        rig, executive = self.rig, self.executive
        rig.begin(scene)
        history = [rig.world.items()]
        executive.start(task.text, rig.now_ns)
        while not executive.over:
            if rig.now_ns > rig.pace.limit_s * 1e9:
                executive.stop("out of time", rig.now_ns)
            elif executive.needs_plan:
                image = rig.world.render("front")
                rig.wait(rig.pace.plan_ns)
                try:
                    executive.give_plan(plan(image, task, history[0], executive.transcript), rig.now_ns)
                except PlannerError as error:
                    executive.refuse_plan(str(error), rig.now_ns)
            else:
                done = len(executive.entries)
                chunk = executive.act(rig.observe(), rig.now_ns)
                if chunk is not None:
                    rig.follow(chunk)
                if len(executive.entries) > done:
                    history.append(rig.world.items())
        rig.wait(_SETTLE_NS)
        history.append(rig.world.items())
        success = judge(task, history, rig.world.held())
        return Result(success, tuple(executive.entries), executive.reason, rig.now_ns / 1e9)


def run_flat(
    rig: Rig,
    scene: Scene,
    task: Task,
    act: Callable[[Observation], Chunk],
    limit_s: float,
    see: Callable[[Observation], None] | None = None,
) -> Result:
    """A policy without calls: it runs until the simulator, asked twice a second, is content, or time is up.

    One with a history is shown through `see` what there is between two chunks.
    """
    rig.begin(scene)
    history = [rig.world.items()]
    while rig.now_ns < limit_s * 1e9:
        for _ in range(3):
            rig.follow(act(rig.observe()), see)
        history.append(rig.world.items())
        if judge(task, history, rig.world.held()):
            return Result(True, (), "", rig.now_ns / 1e9)
    return Result(False, (), "out of time", rig.now_ns / 1e9)


@dataclass
class OracleArm:
    """The oracle's hands under someone else's plan."""

    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.hands = OracleHands(self.world)

    def run(self, scene: Scene, task: Task, plan: Plan, *, max_calls: int = 16) -> Result:
        """Do one task with perfect hands."""
        self.world.reset(scene)
        self.hands.places.clear()
        history: list[Items] = [self.world.items()]
        entries: list[Entry] = []
        reason = "too many calls"
        while len(entries) < max_calls:
            try:
                call = plan(self.world.render("front"), task, history[0], tuple(entries))
            except PlannerError as error:  # a plan refused ends the task, as in LockStep
                reason = str(error)
                break
            if call.subtask == "done":
                reason = ""
                break
            if not self._possible(call):
                reason = f"{call} cannot be done here"
                break
            motion: Iterator[NDArray[np.float64]] = API.run(call, self.hands)
            for target in motion:
                self.world.step(target)
            entries.append((call, self._outcome(call)))
            history.append(self.world.items())
        return Result(judge(task, history, self.world.held()), tuple(entries), reason, self.world.time_s)

    def _possible(self, call: Call) -> bool:
        if call.subtask == "place_at":
            return call.object in self.hands.places
        return call.object is None or any(item.name == call.object for item in self.world.items())

    def _outcome(self, call: Call) -> Outcome:
        if call.subtask == "pick":
            return Outcome.OK if self.world.held() == call.object else Outcome.MISSED
        return Outcome.OK if self.world.held() is None else Outcome.TIMEOUT
