"""How a robot API is declared: `@subtask` on a plain typed function, whose types have a finite vocabulary."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edge.errors import ApiError

#: A subtask body: the arm's hands, then what the call says; yields joint targets (6,), see `edge.types.JOINTS`.
Body = Callable[..., Iterator[Any]]

_WORD = re.compile(r"[a-z]+")
_NAME = re.compile(r"[a-z][a-z_]*")
HINT = "at"


def _check_words(what: str, words: tuple[str, ...]) -> None:
    if not isinstance(words, tuple) or not words:
        raise ApiError(f"{what} is not a vocabulary", expected="a non-empty tuple of words", got=repr(words))
    for word in words:
        if not isinstance(word, str) or not _WORD.fullmatch(word):
            raise ApiError(f"{what} holds a word that cannot be written in a call", expected="a-z only", got=repr(word))
    if len(set(words)) != len(words):
        raise ApiError(f"{what} says a word twice", got=", ".join(words), fix="name each word once")


@dataclass(frozen=True)
class Noun:
    """The vocabulary of an object argument: every colour with every shape, written `"red cube"`."""

    colours: tuple[str, ...]
    shapes: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_words("colours of a noun", self.colours)
        _check_words("shapes of a noun", self.shapes)

    @property
    def objects(self) -> tuple[str, ...]:
        """All names, shape by shape."""
        return tuple(f"{colour} {shape}" for shape in self.shapes for colour in self.colours)


@dataclass(frozen=True)
class Grid:
    """The vocabulary of the hint `at`: cells (column, row) over the front image, (0, 0) at the top left."""

    columns: int
    rows: int

    def __post_init__(self) -> None:
        for name, size in (("columns", self.columns), ("rows", self.rows)):
            if not isinstance(size, int) or not 1 <= size <= 100:
                raise ApiError(f"the hint grid cannot have {size!r} {name}", expected="1 to 100")


@dataclass(frozen=True)
class Parameter:
    """One object argument of a subtask."""

    name: str
    noun: Noun


@dataclass(frozen=True)
class Subtask:
    """One declared skill: what the call may say, what it does, and the scripted body that does it in simulation."""

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    hint: Grid | None
    body: Body

    @property
    def signature(self) -> str:
        """As a person reads it, e.g. `pick(cube, at)`."""
        names = [parameter.name for parameter in self.parameters] + ([HINT] if self.hint else [])
        return f"{self.name}({', '.join(names)})"


def subtask(body: Body) -> Subtask:
    """Declare a robot skill from a plain typed function.

    The first parameter is the arm's hands. Each further one is an object, annotated `Annotated[str, Noun(...)]`; an
    optional keyword-only `at: Annotated[Cell, Grid(...)] | None = None` lets a call carry a hint. The docstring's first
    line tells the planner what the skill does. The function itself is the scripted oracle.

    Raises:
        ApiError: If a name, a type or the docstring cannot be turned into a grammar.
    """
    name = body.__name__
    if not _NAME.fullmatch(name):
        raise ApiError(f"{name!r} cannot be a subtask", expected="a name of a-z and _", fix="rename the function")
    doc = (inspect.getdoc(body) or "").split("\n")[0].strip()
    if not doc:
        raise ApiError(f"{name} has no docstring", expected="one line saying what it does", fix="the planner reads it")
    parameters = list(inspect.signature(body).parameters.values())
    if not parameters or parameters[0].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise ApiError(f"{name} takes no hands", expected=f"def {name}(hands: Hands, ...)")
    hints = typing.get_type_hints(body, include_extras=True)
    objects: list[Parameter] = []
    grid: Grid | None = None
    for parameter in parameters[1:]:
        annotation = hints.get(parameter.name)
        if parameter.name == HINT:
            grid = _grid(name, parameter, annotation)
        else:
            objects.append(Parameter(parameter.name, _noun(name, parameter, annotation)))
    if len(objects) > 1:
        raise ApiError(
            f"{name} names {len(objects)} objects",
            expected="at most one: the policy is conditioned on one object a call",
        )
    if grid is not None and not objects:
        raise ApiError(
            f"{name} has a hint but no object", fix="`at` is the cell of the named object; drop one or add the other"
        )
    return Subtask(name, doc, tuple(objects), grid, body)


def _noun(name: str, parameter: inspect.Parameter, annotation: Any) -> Noun:
    found = [extra for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, Noun)]
    plain = parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and parameter.default is inspect.Parameter.empty
    if len(found) != 1 or not plain:
        raise ApiError(
            f"parameter {parameter.name!r} of {name} has no finite vocabulary",
            expected="a required positional parameter annotated Annotated[str, Noun(colours, shapes)]",
            got=str(parameter),
        )
    return found[0]


def _grid(name: str, parameter: inspect.Parameter, annotation: Any) -> Grid:
    options = typing.get_args(annotation)
    found = [extra for option in options for extra in getattr(option, "__metadata__", ()) if isinstance(extra, Grid)]
    optional = len(options) == 2 and type(None) in options and parameter.default is None
    if len(found) != 1 or not optional or parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        raise ApiError(
            f"the hint of {name} is not optional and keyword-only",
            expected="*, at: Annotated[Cell, Grid(columns, rows)] | None = None",
            got=str(parameter),
        )
    return found[0]
