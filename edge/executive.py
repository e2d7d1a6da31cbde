"""The hierarchical step: when to plan, what the policy is conditioned on, how a subtask and the task end.

Pure: no clock, no thread, no I/O. The real-time runtime and the lock-step evaluation drive this very code.

    start(task) ──► planning ── give_plan(call) ──► acting ── subtask ended ──► planning …
                       │  done()                      │ │
                       ▼                              │ └─ it failed ──► retreating ──► planning …
                    finished                          ▼
                                                   failed (a budget ran out, with the reason)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.api import Call, Entry, Outcome, RobotApi, Transcript
from edge.config import Budgets
from edge.errors import TaskError
from edge.manifest import MonitorNumbers
from edge.memory import PoseTuple, Remembers, recall
from edge.policy.headway import Headway
from edge.policy.monitor import GRIPPER, Grip, Kind, SubtaskMonitor
from edge.policy.retreat import Retreat, retreat
from edge.types import Chunk, Observation, Pose

DEFAULT_BUDGETS = Budgets()
DEFAULT_NUMBERS = MonitorNumbers()

CLEARLY_LOWER_M = 0.005


class Infers(Protocol):
    """The policy: `edge.policy.policy.Policy`, or the oracle's hands in an evaluation."""

    def infer(self, observation: Observation, call_tokens: NDArray[np.int32], goal: Pose | None) -> Chunk:
        """A chunk of joint targets for one observation."""


class State(str, Enum):
    """Where a task stands."""

    IDLE = "idle"
    PLANNING = "planning"
    ACTING = "acting"
    RETREATING = "retreating"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """Something a person or a log wants to know.

    `kind` is one of task, call, end, refused, grasped, released, finished, failed.
    """

    time_ns: int
    kind: str
    text: str
    data: dict[str, Any]


def kind_of(call: Call) -> Kind:
    """What a call does to the gripper, from its name: `pick…` grasps, `place…` lets go."""
    if call.subtask.startswith("pick"):
        return Kind.GRASP
    return Kind.PLACE if call.subtask.startswith("place") else Kind.OTHER


class Executive:
    """One task at a time, from its words to its end.

    Args:
        api: The robot API.
        policy: Turns an observation into a chunk.
        memory: Keeps what was called, how it ended, and where things were grasped.
        pinch_pose: Forward kinematics, joints (6,) → (x, y, z, yaw) of the pinch point: `edge._core.Arm.pinch_pose`.
        budgets: How long and how often to try.
        numbers: Thresholds of the subtask monitor, from the bundle.
        ready: Joints (6,) that the arm goes back to after a failed call, from the bundle; None stays where it is.
        remember: False for the ablation "without memory": no transcript for the planner, no pose for the policy.
    """

    def __init__(
        self,
        api: RobotApi,
        policy: Infers,
        memory: Remembers,
        *,
        pinch_pose: Callable[[NDArray[np.float64]], Sequence[float]],
        budgets: Budgets = DEFAULT_BUDGETS,
        numbers: MonitorNumbers = DEFAULT_NUMBERS,
        ready: Sequence[float] | None = None,
        remember: bool = True,
    ) -> None:
        self._api, self._policy, self._memory, self._pinch_pose = api, policy, memory, pinch_pose
        self._budgets, self._remember = budgets, remember
        self._numbers = numbers
        self._ready = None if ready is None else np.array(ready, dtype=float)
        self._reset("")

    def _reset(self, task: str) -> None:
        self.task = task
        self.state = State.IDLE
        self.call: Call | None = None
        """The call the arm is doing, None while planning."""
        self.goal: Pose | None = None
        """Remembered pinch pose the current call is to reach, if it has one."""
        self.reason = ""
        """Why the task ended, empty before."""
        self.events: list[Event] = []
        """Everything that happened in this task, oldest first; only ever appended to."""
        self.entries: list[Entry] = []
        """Calls that ended and how, whether or not the planner may see them."""
        self.carried: str | None = None
        """Name under which the thing in the gripper was grasped."""
        self._monitor = SubtaskMonitor(self._numbers, self._budgets.call_s)
        self._headway = Headway()
        self._before = 0
        """How many of the entries an earlier run left, which count towards no budget of this one."""
        self._refusals = 0
        self._trail: list[tuple[int, NDArray[np.float64]]] = []
        self._retreat: Retreat | None = None

    @property
    def needs_plan(self) -> bool:
        """Whether the planner is to be asked for the next call."""
        return self.state is State.PLANNING

    @property
    def over(self) -> bool:
        """Whether the task ended, well or not."""
        return self.state in (State.FINISHED, State.FAILED)

    @property
    def transcript(self) -> Transcript:
        """What the planner is shown of the calls so far; empty without memory."""
        return tuple(self.entries) if self._remember else ()

    def start(self, task: str, now_ns: int) -> None:
        """Begins a task; what an earlier one remembered is cleared.

        Raises:
            TaskError: The task is empty.
        """
        if not task.strip():
            raise TaskError(
                "the task is empty",
                expected="a sentence",
                got=repr(task),
                fix='e.g. "put the red cube on the blue plate"',
            )
        self._reset(task)
        self._memory.clear(task)
        self.state = State.PLANNING
        self._say(now_ns, "task", task)

    def resume(self, now_ns: int) -> None:
        """Goes on with the task that the memory holds, with fresh budgets; `edge.memory.recall` says how and raises."""
        held = recall(self._memory, self._api, now_ns)
        self._reset(held.task)
        self.entries, self.carried, self._before = list(held.entries), held.carried, len(held.entries)
        self.state = State.PLANNING
        self._say(now_ns, "task", held.task, resumed=[f"{call} -> {outcome}" for call, outcome in held.entries])

    def give_plan(self, call: Call, now_ns: int) -> None:
        """Takes the planner's next call. A call that cannot be done now is refused, and the planner is asked again."""
        if self.state is not State.PLANNING:
            raise RuntimeError(f"a plan came while {self.state.value}")
        call = self._api.check(call)
        if call.subtask == "done":
            self._end_task(State.FINISHED, "the planner says it is done", now_ns)
            return
        if len(self.entries) - self._before >= self._budgets.calls:
            self._end_task(State.FAILED, f"{self._budgets.calls} calls were made and the task is not done", now_ns)
            return
        goal: Pose | None = None
        if call.subtask == "place_at" and self._remember:
            place = self._memory.place_of(call.object or "")
            if place is None:
                self.refuse_plan(
                    f"{call}: {call.object} was never grasped in this task, so its place is unknown", now_ns
                )
                return
            goal = Pose(*place)
        self._refusals = 0
        self.call, self.goal, self.state = call, goal, State.ACTING
        self._trail.clear()
        self._memory.begin(str(call), call.object or "", now_ns)
        self._monitor.begin(kind_of(call), now_ns)
        self._headway.begin()
        self._say(now_ns, "call", str(call), goal=None if goal is None else [goal.x, goal.y, goal.z, goal.yaw])

    def refuse_plan(self, reason: str, now_ns: int) -> None:
        """Notes that the planner gave nothing usable; it is asked again, and after its attempts the task stops."""
        self._say(now_ns, "refused", reason)
        self._refusals += 1
        if self._refusals > self._budgets.plan_attempts:
            self._end_task(State.FAILED, reason, now_ns)

    def act(self, observation: Observation, now_ns: int) -> Chunk | None:
        """One policy step of the current call, or one of the way back after a failed one.

        Returns:
            The chunk to follow, or None when there is nothing to follow: the call just ended, or none is running. The
            arm then follows what is left of the chunk before and comes to rest.
        """
        if self.state is State.RETREATING and self._retreat is not None:
            way_back = self._retreat.chunk(observation.time_ns)
            if way_back is None:
                self._retreat, self.state = None, State.PLANNING
            return way_back
        if self.state is not State.ACTING or self.call is None:
            return None
        newest = self._policy.infer(observation, self._api.encode(self.call), self.goal)
        chunk = self._headway.choose(observation, newest)
        held_before = self._monitor.holding
        self._trail.append((observation.time_ns, observation.joints))
        seen = self._monitor.update(observation, chunk)
        if seen.grip is Grip.HELD and not held_before:
            self._grasped(seen.contact_ns, now_ns)
        elif held_before and seen.grip is not Grip.HELD:
            self._released(observation, seen.grip, now_ns)
        if seen.outcome is None:
            return chunk
        self._end_call(self.call, seen.outcome, now_ns)
        if seen.outcome is Outcome.OK or self.over or self._ready is None:
            return None
        grip = float(chunk.joints[0, GRIPPER]) if seen.grip is Grip.HELD else None
        self._retreat = retreat(observation.joints, self._ready, grip, observation.time_ns, chunk.period_ns)
        self.state = State.RETREATING
        return self._retreat.chunk(observation.time_ns)

    def stop(self, reason: str, now_ns: int) -> None:
        """Ends the task from outside: a person, a camera, the link."""
        if not self.over:
            self._end_task(State.FAILED, reason, now_ns)

    def _grasped(self, contact_ns: int | None, now_ns: int) -> None:
        """Remembers where the pads met the object: it is known to be held only later, when the arm may be lifting.

        Contact was seen at `contact_ns`. When observations are late even that one may be from above; a grasp from above
        is lowest where the pads close, so a neighbouring observation that is clearly lower is nearer to the truth.
        """
        times = [time_ns for time_ns, _ in self._trail]
        met = times.index(contact_ns) if contact_ns in times else len(times) - 1
        pose = self._pose(self._trail[met][1])
        for _, joints in self._trail[max(0, met - 1) :]:
            other = self._pose(joints)
            pose = other if other[2] < pose[2] - CLEARLY_LOWER_M else pose
        if self.call is not None and kind_of(self.call) is Kind.GRASP:
            self.carried = self.call.object
        if self.carried is not None:
            self._memory.grasped(self.carried, pose)
            self._say(now_ns, "grasped", self.carried, pose=list(pose))

    def _released(self, observation: Observation, grip: Grip, now_ns: int) -> None:
        if self.carried is not None:
            pose = self._pose(observation.joints)
            self._memory.released(self.carried, pose)
            self._say(now_ns, "released", self.carried, pose=list(pose), grip=grip.value)
            self.carried = None

    def _end_call(self, call: Call, outcome: Outcome, now_ns: int) -> None:
        self._memory.end(outcome.value, now_ns)
        self.entries.append((call, outcome))
        self._say(now_ns, "end", f"{call} -> {outcome.value}", call=str(call), outcome=outcome.value)
        self.call, self.goal, self.state = None, None, State.PLANNING
        failures = 0
        for _, past in reversed(self.entries[self._before :]):
            if past is Outcome.OK:
                break
            failures += 1
        if failures > self._budgets.retries:
            self._end_task(State.FAILED, f"{failures} calls in a row failed, the last with {outcome.value}", now_ns)

    def _end_task(self, state: State, reason: str, now_ns: int) -> None:
        cut_short = self.call is not None
        self.call, self.goal, self.state, self.reason = None, None, state, reason
        self._say(now_ns, state.value, reason)
        if cut_short:
            self._memory.end(Outcome.TIMEOUT.value, now_ns)
        self._memory.conclude(state.value, now_ns)

    def _pose(self, joints: NDArray[np.float64]) -> PoseTuple:
        x, y, z, yaw = (float(value) for value in self._pinch_pose(joints))
        return x, y, z, yaw

    def _say(self, now_ns: int, kind: str, text: str, **data: Any) -> None:
        self.events.append(Event(now_ns, kind, text, data))
