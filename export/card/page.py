"""A report card as one HTML file that needs nothing else: no script, no font, no picture, no network."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib import resources

from export.card.data import Card
from export.card.headline import figures, verdicts
from export.card.layout import Bar, Cell, Column, Figure, Table
from export.card.tables import tables

_MARK = {True: ("good", "✓", "yes: "), False: ("bad", "✗", "no: "), None: ("open", "·", "unknown: ")}

_MANY = 4
"""Columns from which on a telephone leaves the bars out: the figures are beside them."""


def render(card: Card) -> str:
    """The page, UTF-8 when it is written."""
    style = resources.files("export.card").joinpath("card.css").read_text(encoding="utf-8")
    shown = list(tables(card))
    body = [
        *_head(card),
        *(line for table in shown if not table.aside for line in _section(table)),
        "<details>",
        "<summary>For a closer look</summary>",
        *(line for table in shown if table.aside for line in _section(table)),
        "</details>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Nothing of this page is ever fetched or run, whatever a manifest says.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(card.name)}: report card</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _head(card: Card) -> Iterator[str]:
    yield "<header>"
    yield '<p class="kind">Report card of a bundle</p>'
    yield f"<h1>{escape(card.name)}</h1>"
    yield (
        f"<p>for <b>{escape(card.robot)}</b>, policy in {escape(card.precision)}, "
        f"robot API <code>{escape(card.api_hash[:12])}</code></p>"
    )
    yield "</header>"
    yield '<dl class="figures">'
    yield from (_figure(figure) for figure in figures(card))
    yield "</dl>"
    yield '<ul class="verdicts">'
    for good, text in verdicts(card):
        kind, mark, words = _MARK[good]
        yield (
            f'<li class="{kind}"><span class="mark" aria-hidden="true">{mark}</span>'
            f'<span><span class="aloud">{words}</span>{escape(text)}</span></li>'
        )
    yield "</ul>"


def _figure(figure: Figure) -> str:
    return (
        f"<div><dt>{escape(figure.what)}</dt><dd><b>{escape(figure.value)}</b>"
        f"<small>{escape(figure.detail)}</small></dd></div>"
    )


def _section(table: Table) -> Iterator[str]:
    yield "<section>"
    yield f"<h2>{escape(table.title)}</h2>"
    if table.rows:
        yield f'<div class="wide" role="region" tabindex="0" aria-label="{escape(table.title)}">'
        many = ' class="many"' if len(table.columns) > _MANY else ""
        yield f"<table{many}>"
        yield f'<caption class="aloud">{escape(table.title)}</caption>'
        heads = (f'<th scope="col"{_classes(column)}>{escape(column.name)}</th>' for column in table.columns)
        yield f"<thead><tr>{''.join(heads)}</tr></thead>"
        yield "<tbody>"
        for row in table.rows:
            cells = (_cell(*pair) for pair in zip(row, table.columns, strict=True))
            yield f"<tr>{_named(next(cells))}{''.join(cells)}</tr>"
        yield "</tbody>"
        yield "</table>"
        yield "</div>"
    if table.note:
        yield f'<p class="note">{escape(table.note)}</p>'
    yield "</section>"


def _cell(cell: Cell, column: Column) -> str:
    if cell.bar is not None:
        return f'<td class="bar">{_bar(cell.bar)}</td>'
    text = escape(cell.text)
    if column.code:
        text = f"<code>{text}</code>"
    if cell.good is not None:
        kind, mark, _ = _MARK[cell.good]
        text = f'<span class="{kind}">{text} <span aria-hidden="true">{mark}</span></span>'
        text += f'<span class="aloud"> {"within" if cell.good else "beyond"} what is allowed</span>'
    return f"<td{_classes(column)}>{text}</td>"


def _named(cell: str) -> str:
    """The first cell of a row, as its head."""
    return f'<th scope="row"{cell.removeprefix("<td").removesuffix("</td>")}</th>'


def _classes(column: Column) -> str:
    return ' class="number"' if column.number else ' class="bar"' if column.bars else ""


def _bar(bar: Bar) -> str:
    """The figures stand beside it, so that it says nothing to who does not see it."""
    parts = ['<rect class="track" width="100" height="8"/>', _rectangle("share", 0.0, bar.share, 0, 8)]
    if bar.low is not None and bar.high is not None:
        parts.append(_rectangle("range", bar.low, bar.high, 2, 4))
    return (
        '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f"{''.join(parts)}</svg>"
    )


def _rectangle(kind: str, begin: float, end: float, top: int, height: int) -> str:
    begin, end = (100 * min(1.0, max(0.0, value)) for value in (begin, end))
    return f'<rect class="{kind}" x="{begin:.2f}" y="{top}" width="{max(0.0, end - begin):.2f}" height="{height}"/>'
