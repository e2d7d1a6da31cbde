"""`RobotApi`: the declared subtasks as one language, with everything that is derived from it."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.api.calls import Call, Entry, Outcome
from edge.api.declaration import Grid, Subtask
from edge.api.grammar import gbnf
from edge.api.parser import read_call
from edge.errors import ApiError, CallError


class RobotApi:
    """The robot's instruction set: parser, canonical text, grammar, prompt text and token ids of the declared subtasks.

    Args:
        subtasks: Functions decorated with `@subtask`. Their order fixes the verb ids.

    Raises:
        ApiError: If there are none, two share a name, or they disagree on the hint grid.
    """

    def __init__(self, subtasks: Iterable[Subtask]) -> None:
        declared = tuple(subtasks)
        for item in declared:
            if not isinstance(item, Subtask):
                raise ApiError("not a subtask", expected="a function decorated with @subtask", got=repr(item))
        self.subtasks: dict[str, Subtask] = {task.name: task for task in declared}
        if not declared or len(self.subtasks) != len(declared):
            names = ", ".join(task.name for task in declared) or "none"
            raise ApiError("an API needs subtasks of different names", got=names)
        grids = {task.hint for task in declared if task.hint is not None}
        if len(grids) > 1:
            raise ApiError(
                "subtasks disagree on the hint grid", expected="one Grid for all", got=str(sorted(map(str, grids)))
            )
        self.grid = next(iter(grids), None)
        nouns = [parameter.noun for task in declared for parameter in task.parameters]
        self.colours: tuple[str, ...] = tuple(dict.fromkeys(word for noun in nouns for word in noun.colours))
        self.shapes: tuple[str, ...] = tuple(dict.fromkeys(word for noun in nouns for word in noun.shapes))
        #: Every object name a call can hold.
        self.objects: tuple[str, ...] = tuple(dict.fromkeys(name for noun in nouns for name in noun.objects))
        #: Names a planner, a policy and a robot must share: sha256 (hex) of the canonical declaration.
        self.hash: str = hashlib.sha256(self._spec().encode()).hexdigest()

    def parse(self, text: str) -> Call:
        """The call a text spells; nothing is ever executed.

        Raises:
            CallError: If the text is not exactly one legal call; says what was expected and the nearest name.
        """
        return self.check(read_call(text))

    def format(self, call: Call) -> str:
        """The one canonical text of a call: `format(parse(text)) == text` for all text the grammar makes.

        Raises:
            CallError: If the call is not legal.
        """
        return str(self.check(call))

    def check(self, call: Call) -> Call:
        """The call itself if this robot knows it.

        Raises:
            CallError: Otherwise.
        """
        task = self.subtasks.get(call.subtask)
        if task is None:
            raise _unknown("subtask", call.subtask, tuple(self.subtasks))
        if len(call.arguments) != len(task.parameters):
            counts = f"{len(task.parameters)} object name(s): {task.signature}"
            raise CallError(f"wrong number of arguments for {task.name}", expected=counts, got=f"{call}")
        for name, parameter in zip(call.arguments, task.parameters, strict=True):
            if name not in parameter.noun.objects:
                raise _unknown(f"{parameter.name} for {task.name}", name, parameter.noun.objects)
        if call.at is not None:
            if task.hint is None:
                raise CallError(
                    f"{task.name} takes no hint", expected=task.signature, got=f"{call}", fix="leave out at="
                )
            if not _on_grid(call.at, task.hint):
                cells = f"column 0 to {task.hint.columns - 1}, row 0 to {task.hint.rows - 1}"
                raise CallError("the cell is off the grid", expected=cells, got=f"at={call.at}")
        return call

    def grammar(self) -> str:
        """GBNF whose sentences are exactly the canonical texts of all legal calls."""
        return gbnf(tuple(self.subtasks.values()))

    def prompt(self) -> str:
        """The API as the planner reads it: one line a subtask, then the words."""
        lines = [f"{task.signature}: {task.doc}" for task in self.subtasks.values()]
        if self.objects:
            lines += [f"colours: {' '.join(self.colours)}", f"shapes: {' '.join(self.shapes)}"]
        return "\n".join(lines)

    def encode(self, call: Call) -> NDArray[np.int32]:
        """Token ids of a call, int32 (5,): verb, colour, shape, hint column, hint row; 0 means absent.

        Raises:
            CallError: If the call is not legal.
        """
        self.check(call)
        ids = np.zeros(5, np.int32)
        ids[0] = 1 + list(self.subtasks).index(call.subtask)
        if call.object is not None:
            colour, shape = call.object.split(" ")
            ids[1:3] = 1 + self.colours.index(colour), 1 + self.shapes.index(shape)
        if call.at is not None:
            ids[3:5] = 1 + call.at[0], 1 + call.at[1]
        return ids

    def token_counts(self) -> tuple[int, int, int, int, int]:
        """Sizes of the five embedding tables that `encode` indexes, each with its 0 for absent."""
        columns, rows = (self.grid.columns, self.grid.rows) if self.grid else (0, 0)
        return 1 + len(self.subtasks), 1 + len(self.colours), 1 + len(self.shapes), 1 + columns, 1 + rows

    def calls(self) -> Iterator[Call]:
        """Every legal call without a hint."""
        for task in self.subtasks.values():
            if not task.parameters:
                yield Call(task.name)
            for parameter in task.parameters:
                yield from (Call(task.name, (name,)) for name in parameter.noun.objects)

    def run(self, call: Call, hands: object) -> Iterator[Any]:
        """The scripted oracle of a call: joint targets (6,) from the subtask's own body.

        Raises:
            CallError: If the call is not legal.
        """
        task = self.subtasks[self.check(call).subtask]
        hint = {} if task.hint is None else {"at": call.at}
        return task.body(hands, *call.arguments, **hint)

    def format_entry(self, entry: Entry) -> str:
        """A transcript line: `pick("red cube") -> ok`."""
        call, outcome = entry
        return f"{self.format(call)} -> {outcome.value}"

    def parse_entry(self, line: str) -> Entry:
        """The call and outcome of a transcript line.

        Raises:
            CallError: If the line is not `call -> outcome`.
        """
        text, arrow, word = line.rpartition(" -> ")
        if not arrow:
            raise CallError("not a transcript line", expected='such as pick("red cube") -> ok', got=repr(line))
        try:
            outcome = Outcome(word)
        except ValueError:
            raise _unknown("outcome", word, tuple(item.value for item in Outcome)) from None
        return self.parse(text), outcome

    def _spec(self) -> str:
        """Canonical declaration: everything that what was trained depends on."""
        spec = [
            {
                "name": task.name,
                "doc": task.doc,
                "parameters": [[p.name, p.noun.colours, p.noun.shapes] for p in task.parameters],
                "hint": [task.hint.columns, task.hint.rows] if task.hint else None,
            }
            for task in self.subtasks.values()
        ]
        return json.dumps(spec, separators=(",", ":"), sort_keys=True)


def _on_grid(cell: Sequence[int], grid: Grid) -> bool:
    """Whether a hand-built cell is two whole numbers on the grid (numpy integers count, booleans and floats do not)."""
    whole = all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in cell)
    return len(cell) == 2 and whole and 0 <= cell[0] < grid.columns and 0 <= cell[1] < grid.rows


def _unknown(what: str, got: str, legal: tuple[str, ...]) -> CallError:
    near = difflib.get_close_matches(got, legal, n=1, cutoff=0.5)
    fix = f"did you mean {near[0]!r}?" if near else ""
    return CallError(f"unknown {what}", expected=", ".join(legal), got=repr(got), fix=fix)
