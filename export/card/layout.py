"""What a report card is laid out in, for whatever draws it, and how its numbers are written."""

from __future__ import annotations

from dataclasses import dataclass

from export.card.data import Card

_CELLS = {
    "both": "planner + policy",
    "both-no-memory": "planner + policy, no memory",
    "planner": "planner, oracle's hands",
    "policy": "policy, oracle's plan",
    "flat": "flat policy, no planner",
    "": "evaluation",
}
"""`learning.evaluate`'s names of its cells, in a person's words."""


@dataclass(frozen=True)
class Bar:
    """A share to draw, 0 to 1; `low` and `high` bound it where it is uncertain or spread."""

    share: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Cell:
    """What stands in a table; `good` is None where nothing is judged."""

    text: str
    bar: Bar | None = None
    good: bool | None = None


@dataclass(frozen=True)
class Column:
    """Head of a column; numbers stand to the right, `code` is in letters of one width, and `bars` are drawn."""

    name: str
    number: bool = False
    code: bool = False
    bars: bool = False


@dataclass(frozen=True)
class Table:
    """One table. The first cell of a row names it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    aside: bool = False
    """Of use to who looks closer only."""


@dataclass(frozen=True)
class Figure:
    """A headline figure."""

    value: str
    what: str
    detail: str = ""


def main_cell(card: Card) -> str:
    """The cell of the evaluation that is the whole robot, or the first there is."""
    cells = [row.cell for row in card.success]
    return next((cell for cell in ("both", "flat", "") if cell in cells), cells[0] if cells else "")


def cell_name(name: str) -> str:
    """A cell of an evaluation in a person's words."""
    return _CELLS.get(name, name)


def percent(share: float) -> str:
    """Of a share; 100 only for all of it."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def megabytes(count: int) -> str:
    """Of bytes, 10⁶ each."""
    return f"{count / 1e6:.1f} MB"


def milliseconds(value: float) -> str:
    """With as many places as one can use."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def small(value: float) -> str:
    """A number that is hoped to be near zero."""
    return "0" if value == 0 else f"{value:.2g}"
