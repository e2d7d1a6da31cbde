"""A task without a planner: the policy alone decides what to do, until it says that it is done, rests, or time is up.

Pure, as `edge.executive`, whose place it takes in a run: no clock, no thread, no I/O.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from edge.config import Budgets
from edge.errors import TaskError
from edge.executive import DEFAULT_BUDGETS, DEFAULT_NUMBERS, Event, Infers, State
from edge.manifest import MonitorNumbers
from edge.policy.headway import Headway
from edge.policy.stillness import Stillness
from edge.types import Chunk, Observation

_NO_CALL = np.zeros(5, np.int32)


class Remembers(Protocol):
    """What is kept of such a task: its words and how it ended (`edge._core.SubtaskMemory`)."""

    def clear(self, task: str) -> None:
        """Begins a task."""

    def conclude(self, state: str, now_ns: int) -> None:
        """Ends it."""


class Flat:
    """One task at a time, from its words to its end.

    Args:
        policy: Turns an observation into a chunk.
        memory: Keeps the task's words and its end.
        budgets: Of them `task_s`.
        numbers: Of the bundle: when the policy's word counts and what counts as rest.
    """

    needs_plan = False

    def __init__(
        self,
        policy: Infers,
        memory: Remembers,
        *,
        budgets: Budgets = DEFAULT_BUDGETS,
        numbers: MonitorNumbers = DEFAULT_NUMBERS,
    ) -> None:
        self._policy, self._memory, self._budgets, self._numbers = policy, memory, budgets, numbers
        self._reset("")

    def _reset(self, task: str) -> None:
        self.task, self.state, self.reason = task, State.IDLE, ""
        self.events: list[Event] = []
        """Everything that happened in this task, oldest first; only ever appended to."""
        self._headway = Headway()
        self._agreed = 0
        self._begun_ns = 0
        self._stillness = Stillness(self._numbers.rest_within)

    @property
    def over(self) -> bool:
        """Whether the task ended, well or not."""
        return self.state in (State.FINISHED, State.FAILED)

    def start(self, task: str, now_ns: int) -> None:
        """Begins a task.

        Raises:
            TaskError: The task is empty.
        """
        if not task.strip():
            raise TaskError("the task is empty", expected="a sentence", got=repr(task), fix="say what is to be done")
        self._reset(task)
        self._memory.clear(task)
        self.state = State.ACTING
        self._begun_ns = now_ns
        self._stillness.begin(now_ns)
        self._say(now_ns, "task", task)

    def resume(self, now_ns: int) -> None:
        """Raises TaskError: what a policy without calls had done when it was cut short is not known."""
        raise TaskError(
            "this bundle cannot resume a task", expected="a bundle with a planner", got="a policy alone",
            fix="look at the table, then run the task again without --resume",
        )  # fmt: skip

    def act(self, observation: Observation, now_ns: int) -> Chunk | None:
        """One policy step; None once the task is over."""
        if self.state is not State.ACTING:
            return None
        newest = self._policy.infer(observation, _NO_CALL, None)
        chunk = self._headway.choose(observation, newest)
        numbers = self._numbers
        self._stillness.update(observation, chunk)
        self._agreed = self._agreed + 1 if newest.finished >= numbers.finished_probability else 0
        if self._agreed >= numbers.finished_count:
            self._end(State.FINISHED, "the policy says it is done", now_ns)
        elif observation.time_ns - self._stillness.moved_ns >= numbers.rest_for_s * 1e9:
            self._end(State.FINISHED, "the policy lets the arm rest", now_ns)
        elif now_ns - self._begun_ns >= self._budgets.task_s * 1e9:
            self._end(State.FAILED, f"not done within {self._budgets.task_s:g} s", now_ns)
        return None if self.over else chunk

    def stop(self, reason: str, now_ns: int) -> None:
        """Ends the task from outside: a person, a camera, the link."""
        if not self.over:
            self._end(State.FAILED, reason, now_ns)

    def _end(self, state: State, reason: str, now_ns: int) -> None:
        self.state, self.reason = state, reason
        self._say(now_ns, state.value, reason)
        self._memory.conclude(state.value, now_ns)

    def _say(self, now_ns: int, kind: str, text: str, **data: Any) -> None:
        self.events.append(Event(now_ns, kind, text, data))
