"""The robot API: declare subtasks once; text, parser, grammar, prompt, token ids and hash follow."""

from __future__ import annotations

from edge.api.calls import Call, Cell, Entry, Outcome, Transcript
from edge.api.declaration import Grid, Noun, Parameter, Subtask, subtask
from edge.api.parser import MAX_CHARACTERS
from edge.api.robot_api import RobotApi

__all__ = [
    "MAX_CHARACTERS",
    "Call",
    "Cell",
    "Entry",
    "Grid",
    "Noun",
    "Outcome",
    "Parameter",
    "RobotApi",
    "Subtask",
    "Transcript",
    "subtask",
]
