"""A report card laid out: headline figures and tables, for whatever draws them (terminal, HTML)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from export.card import Card, Success
from export.card_measure import Measured, Timing

_CELLS = {
    "both": "planner + policy",
    "both-no-memory": "the same without memory",
    "planner": "planner, oracle's hands",
    "policy": "policy, oracle's plan",
    "flat": "flat policy, no planner",
    "": "evaluation",
}
"""`learning.evaluate`'s names of its cells, in a person's words."""
_BUSY = 0.8
"""Load a core above which figures are mostly those of what else runs."""


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
    """Head of a column; numbers stand to the right, and `code` is in letters of one width."""

    name: str
    number: bool = False
    code: bool = False


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


def figures(card: Card) -> Iterator[Figure]:
    """What is read first, at most six."""
    if main := [row for row in card.success if row.cell == _main(card)]:
        done, n = sum(row.done for row in main), sum(row.n for row in main)
        yield Figure(_percent(done / n), "of tasks done", f"{_cell(main[0].cell)}, n = {n}")
    if card.planner_parity:
        row = card.planner_parity[-1]
        for shown in card.planner_parity:
            if any(shown.precision == file.precision for file in card.files):
                row = shown
        yield Figure(f"{row.equal} / {row.cases}", "calls as in PyTorch", f"planner, {row.precision}")
    if card.policy_parity:
        worst = max(card.policy_parity, key=lambda row: row.worst)
        yield Figure(_small(worst.worst), "largest difference, rad", f"policy, {worst.precision}, n = {worst.cases}")
    yield Figure(_megabytes(card.bytes), "on disk", f"{len(card.files)} files")
    if card.measured is not None:
        if (plan := card.measured.timing("planner", "re-plan, warm")) is not None:
            yield Figure(f"{_ms(plan.p50)} ms", "to re-plan", f"p99 {_ms(plan.p99)}, this machine")
        if (step := card.measured.timing("policy", "evaluation")) is not None:
            yield Figure(f"{_ms(step.p50)} ms", "to act", f"policy; p99 {_ms(step.p99)}, this machine")


def verdicts(card: Card) -> Iterator[tuple[bool | None, str]]:
    """What a person may conclude, a line each; None where nothing can be said."""
    yield True, f"all {len(card.files)} files are those that the manifest was written for"
    judged = [cell.good for row in _parity(card).rows for cell in row if cell.good is not None]
    if not judged:
        yield None, "nothing is known of how the parts compare with what was trained"
    elif all(judged):
        yield True, "the exported parts do what was trained, within what is allowed"
    else:
        yield False, f"{judged.count(False)} of {len(judged)} comparisons with what was trained are beyond what is allowed"
    if not card.success:
        yield None, "no evaluation came with it"
    if card.measured is None:
        yield None, f"speed was not measured: {card.not_measured}"
        return
    step = card.measured.timing("policy", "evaluation")
    if step is not None:
        fast = step.p99 < card.between_chunks_ms
        yield fast, (
            f"the policy is {'fast enough' if fast else 'too slow'} here: p99 {_ms(step.p99)} ms, "
            f"a chunk is due every {card.between_chunks_ms:.0f} ms"
        )


def tables(card: Card) -> Iterator[Table]:
    """Every table, what matters most first, those marked `aside` last."""
    main = _main(card)
    yield _success("Success", [row for row in card.success if row.cell == main])
    yield _parity(card)
    yield _latency(card)
    yield _files(card)
    yield _needs(card)
    yield _rows("What made it", card.made_by, numbered=card.commands)
    if rest := [row for row in card.success if row.cell != main]:
        yield _success("Success, part by part", rest, aside=True)
    if card.training:
        yield _rows("Training", card.training, aside=True)
    yield _rows("Runs as", card.runs_as, aside=True)
    yield _ports(card)
    yield _rows("Checksums, sha256", tuple((file.name, file.sha256) for file in card.files), aside=True)
    if card.other:
        yield _rows("Other results", card.other, aside=True)


def _main(card: Card) -> str:
    """The cell of the evaluation that is the whole robot, or the first there is."""
    cells = [row.cell for row in card.success]
    return next((cell for cell in ("both", "flat", "") if cell in cells), cells[0] if cells else "")


def _success(title: str, successes: list[Success], *, aside: bool = False) -> Table:
    columns = (Column("task"), Column("done", number=True), Column("95 % interval", number=True), Column("share"))
    rows = []
    for row in successes:
        shown = f"{_cell(row.cell)}: {row.kind.replace('_', ' ')}"
        interval = f"{100 * row.low:.0f}–{100 * row.high:.0f} %"
        share = row.done / row.n
        rows.append((Cell(shown), Cell(f"{row.done} / {row.n}"), Cell(interval), _bar(share, row.low, row.high)))
    note = "As the evaluation noted it; Wilson intervals." if rows else "No evaluation came with this bundle."
    return Table(title, columns, tuple(rows), note, aside)


def _cell(name: str) -> str:
    return _CELLS.get(name, name)


def _parity(card: Card) -> Table:
    columns = (Column("what"), Column("found", number=True), Column("allowed", number=True), Column("cases", number=True))
    rows = []
    for row in card.planner_parity:
        name, n = f"planner, {row.precision}", Cell(str(row.cases))
        found = Cell(f"{row.equal} / {row.cases}", good=row.equal >= 0.99 * row.cases)
        rows.append((Cell(f"{name}: calls equal to PyTorch's"), found, Cell("≥ 99 %"), n))
        if row.right is not None:
            torch = "" if row.right_torch is None else f" (PyTorch's: {row.right_torch})"
            rows.append((Cell(f"{name}: calls right{torch}"), Cell(f"{row.right} / {row.cases}"), Cell(""), n))
        if row.logits_error is not None:
            limit = "≤ 2 %" if row.precision == "full" else ""
            good = row.logits_error <= 0.02 if limit else None
            found = Cell(f"{100 * row.logits_error:.2f} %", good=good)
            rows.append((Cell(f"{name}: logits, of the largest"), found, Cell(limit), n))
        if row.embedding_error is not None:
            limit = "< 0.001" if row.precision == "full" else ""
            good = row.embedding_error < 1e-3 if limit else None
            found = Cell(_small(row.embedding_error), good=good)
            rows.append((Cell(f"{name}: picture embeddings (mmproj), relative"), found, Cell(limit), n))
    for port in card.policy_parity:
        what = f"policy, {port.precision}: {port.output} against {port.against}, rad"
        p99 = "" if port.p99 is None else f"p99 {_small(port.p99)}, worst "
        good = None if port.allowed is None else port.worst <= port.allowed
        allowed = "" if port.allowed is None else f"≤ {_small(port.allowed)}"
        found = Cell(p99 + _small(port.worst), good=good)
        rows.append((Cell(what), found, Cell(allowed), Cell(str(port.cases))))
    note = (
        "As the export noted it. A planner is not exported at all unless its tokens are those of the trainer."
        if card.planner_parity
        else "As the export noted it."
    )
    return Table("Parity with what was trained", columns, tuple(rows), note if rows else "The parts brought no report.")


def _latency(card: Card) -> Table:
    columns = (
        *(Column("what"), Column("p50 ms", number=True), Column("p99 ms", number=True)),
        *(Column("worst ms", number=True), Column("n", number=True), Column("p50, to p99")),
    )
    measured = card.measured
    if measured is None:
        return Table("Speed on this machine", columns, (), f"Not measured: {card.not_measured}.")
    longest = max((row.p99 for row in measured.timings if row.what != "load"), default=1.0)
    rows = tuple(_timing(row, longest) for row in measured.timings)
    return Table("Speed on this machine", columns, rows, _circumstances(card, measured))


def _timing(row: Timing, longest: float) -> tuple[Cell, ...]:
    name = Cell(f"{row.part}: {row.what}")
    if row.n == 1:
        return name, Cell(_ms(row.p50)), Cell(""), Cell(""), Cell("1"), Cell("")
    bar = _bar(row.p50 / longest, row.p50 / longest, row.p99 / longest)
    return name, Cell(_ms(row.p50)), Cell(_ms(row.p99)), Cell(_ms(row.worst)), Cell(str(row.n)), bar


def _circumstances(card: Card, measured: Measured) -> str:
    text = f"{measured.threads} thread{'s' if measured.threads > 1 else ''}; {measured.backend}"
    text += f" ({measured.note})" if measured.note else ""
    if measured.answer_tokens is not None:
        text += f"; {measured.answer_tokens:.0f} tokens an answer"
    text += f". A chunk is due every {card.between_chunks_ms:.0f} ms. Files may have come from the disk cache. "
    return text + ", ".join(f"{key} {value}" for key, value in measured.machine.items()) + _busy(measured)


def _busy(measured: Measured) -> str:
    try:
        load, cores = float(measured.machine["load before"]), int(measured.machine["cores"].split()[0])
    except (KeyError, ValueError):
        return "."
    if load <= _BUSY * cores:
        return "."
    return f". The machine was busy (load {load:g} on {cores} cores): these figures are worse than what it can do."


def _files(card: Card) -> Table:
    columns = (
        *(Column("file", code=True), Column("what"), Column("type"), Column("MB", number=True)),
        *(Column("share", number=True), Column("of all")),
    )
    rows = tuple(
        (
            *(Cell(file.name), Cell(file.role), Cell(file.precision), Cell(f"{file.bytes / 1e6:.2f}")),
            *(Cell(_percent(file.share)), _bar(file.share)),
        )
        for file in card.files
    )
    note = f"Together {_megabytes(card.bytes)}; every checksum is the manifest's."
    return Table("Sizes", columns, rows, note)


def _needs(card: Card) -> Table:
    rows = [("disk", _megabytes(card.bytes))]
    if card.measured is None:
        rows.append(("memory", f"not measured: {card.not_measured}"))
    else:
        found = card.measured
        rows.append(("memory", f"{found.memory_mb:.0f} MB to load and use it, {found.process_mb:.0f} MB the process"))
    planner = " and llama-cpp-python" if any(file.role.startswith("planner") for file in card.files) else ""
    rows.append(("libraries", f"onnxruntime (or TensorRT){planner}; no PyTorch"))
    rows.append(("time", f"a chunk every {card.between_chunks_ms:.0f} ms"))
    return _rows("What it needs", tuple(rows))


def _ports(card: Card) -> Table:
    columns = (Column("tensor", code=True), Column("type"), Column("shape"), Column("kind", code=True), Column("unit"))
    rows = tuple(
        (
            *(Cell(f"{'→' if port.direction == 'in' else '←'} {port.name}"), Cell(port.dtype)),
            *(Cell("×".join(map(str, port.shape))), Cell(port.kind), Cell(port.unit)),
        )
        for port in card.ports
    )
    return Table(f"Policy graph, {card.precision}", columns, rows, aside=True)


def _rows(
    title: str, rows: tuple[tuple[str, str], ...], *, numbered: tuple[str, ...] = (), aside: bool = False
) -> Table:
    steps = [(f"command {number}", line) for number, line in enumerate(numbered, 1)]
    cells = tuple((Cell(name), Cell(text)) for name, text in (*steps, *rows))
    return Table(title, (Column("what"), Column("it is")), cells, aside=aside)


def _bar(share: float, low: float | None = None, high: float | None = None) -> Cell:
    return Cell("", Bar(share, low, high))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 1 else "100 %"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _small(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}"
