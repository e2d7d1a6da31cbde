"""A report card in the terminal."""

from __future__ import annotations

from typing import Any

from export.card.data import Card
from export.card.headline import figures, verdicts
from export.card.layout import Bar, Cell
from export.card.tables import tables

_BAR = 16
"""Characters of a whole bar."""
_MARK = {True: "✓", False: "✗", None: "·"}
_STYLE = {True: "green", False: "bold red", None: "yellow"}


def show(card: Card, console: Any = None, *, details: bool = False) -> None:
    """Prints a card, with `details` the tables for who looks closer too. No text of it is taken for markup."""
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    console.print(
        Text.assemble("\n", (card.name, "bold"), f"  {card.path}, for {card.robot}, API {card.api_hash[:12]}")
    )
    head = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    for figure in figures(card):
        head.add_row(Text(figure.value, "bold cyan"), Text(figure.what), Text(figure.detail, "dim"))
    console.print(Padding(head, (1, 0, 1, 2)))
    for good, text in verdicts(card):
        console.print(Text.assemble("  ", (_MARK[good], _STYLE[good]), f" {text}"))
    for table in tables(card):
        if table.aside and not details:
            continue
        console.print(Text(f"\n{table.title}", "bold"))
        if table.rows:
            drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="dim")
            for column in table.columns:
                drawn.add_column(Text(column.name), justify="right" if column.number else "left", overflow="fold")
            for row in table.rows:
                drawn.add_row(*(_cell(cell) for cell in row))
            console.print(drawn)
        if table.note:
            console.print(Padding(Text(table.note, "dim"), (0, 0, 0, 2)))


def _cell(cell: Cell) -> Any:
    from rich.text import Text

    if cell.bar is not None:
        return _bar(cell.bar)
    mark = "" if cell.good is None else f" {_MARK[cell.good]}"
    return Text(cell.text + mark, "" if cell.good is None else _STYLE[cell.good])


def _bar(bar: Bar) -> Any:
    """Full to the share; then, or within it, the range that the share may be in."""
    from rich.text import Text

    full, low, high = (_columns(value) for value in (bar.share, bar.low or bar.share, bar.high or bar.share))
    sure = min(full, low) if bar.low is not None else full
    return Text.assemble(("━" * sure, "cyan"), ("╍" * (max(full, high) - sure), "cyan dim"))


def _columns(share: float) -> int:
    return round(_BAR * min(1.0, max(0.0, share)))
