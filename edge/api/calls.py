"""What the API speaks about: one call, how it ended, and the lines of a transcript."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Cell = tuple[int, int]
"""A cell of the hint grid over the front image: (column from the left, row from the top)."""


@dataclass(frozen=True)
class Call:
    """One call of the robot API, e.g. `pick("red cube", at=(3, 7))`.

    Nothing is checked here: `RobotApi.check` (and `format`, `encode`, which use it) tell whether the robot knows it.

    Args:
        subtask: Name of the subtask.
        arguments: Its object names, in order.
        at: Cell of the object on the hint grid, or None.
    """

    subtask: str
    arguments: tuple[str, ...] = ()
    at: Cell | None = None

    @property
    def object(self) -> str | None:
        """The object the call names, or None."""
        return self.arguments[0] if self.arguments else None

    def without_hint(self) -> Call:
        """The same call with no cell."""
        return Call(self.subtask, self.arguments)

    def __str__(self) -> str:
        """The canonical text: double quotes, one space after each comma, nothing else."""
        written = [f'"{name}"' for name in self.arguments]
        if self.at is not None:
            written.append(f"at=({self.at[0]}, {self.at[1]})")
        return f"{self.subtask}({', '.join(written)})"


class Outcome(str, Enum):
    """How a subtask ended."""

    OK = "ok"
    MISSED = "missed"  #: the gripper closed on nothing
    LOST = "lost"  #: the object left the gripper before it was placed
    TIMEOUT = "timeout"  #: the subtask did not finish in its time

    def __str__(self) -> str:
        return self.value


Entry = tuple[Call, Outcome]
Transcript = tuple[Entry, ...]
"""The calls made in this task and how each ended, oldest first."""
