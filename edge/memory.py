"""The subtask memory as the executive sees it, and taking up a task that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.api import Entry, Outcome, RobotApi
from edge.errors import TaskError

PoseTuple = tuple[float, float, float, float]
"""x, y, z in metres, yaw in radians: a `Pose` as the C++ core speaks it."""

FINISHED, FAILED = "finished", "failed"
"""How a task ended. In a run that was cut short it is neither."""


class Remembers(Protocol):
    """The subtask memory: `edge._core.SubtaskMemory`."""

    def begin(self, call_text: str, object: str, now_ns: int) -> None: ...
    def end(self, outcome: str, now_ns: int) -> None: ...
    def grasped(self, object: str, pose: PoseTuple) -> None: ...
    def released(self, object: str, pose: PoseTuple) -> None: ...
    def place_of(self, object: str) -> PoseTuple | None: ...
    def clear(self, task: str) -> None: ...
    def conclude(self, ending: str, now_ns: int) -> None: ...
    def transcript(self) -> Sequence[tuple[str, str]]: ...
    @property
    def task(self) -> str: ...
    @property
    def running(self) -> str | None: ...
    @property
    def held(self) -> str | None: ...
    @property
    def ending(self) -> str | None: ...


@dataclass(frozen=True)
class Recalled:
    """A task that the memory holds: its words, the calls that ended, and what is in the gripper unless it fell out."""

    task: str
    entries: tuple[Entry, ...]
    carried: str | None


def recall(memory: Remembers, api: RobotApi, now_ns: int) -> Recalled:
    """What is to go on, as a journal restored it. A call that was cut short ends as `timeout`: the planner looks at the
    table and decides what is left to do.

    Raises:
        TaskError: The memory holds no task, or one that was finished.
        CallError: It holds a call that this robot API does not know.
    """
    if not memory.task:
        fix = "start it with --task"
        raise TaskError("there is no task to resume", expected="the journal of a run", got="an empty one", fix=fix)
    if memory.ending == FINISHED:
        fix = "start it again with --task"
        raise TaskError("there is nothing left to resume", expected="a task half done", got="a finished one", fix=fix)
    entries = [(api.parse(call), Outcome(outcome)) for call, outcome in memory.transcript()]
    if memory.running is not None:
        entries.append((api.parse(memory.running), Outcome.TIMEOUT))
        memory.end(Outcome.TIMEOUT.value, now_ns)
    return Recalled(memory.task, tuple(entries), memory.held)
