"""The tables of a report card."""

from __future__ import annotations

from collections.abc import Iterator

from export.card.data import Card, Success
from export.card.layout import Bar, Cell, Column, Table, cell_name, main_cell, megabytes, milliseconds, percent, small
from export.card.measure import Measured, Timing

_BUSY = 0.8
"""Load a core above which figures are mostly those of what else runs."""


def tables(card: Card) -> Iterator[Table]:
    """Every table, what matters most first, those marked `aside` last."""
    main = main_cell(card)
    yield _success(main, [row for row in card.success if row.cell == main])
    yield parity(card)
    yield _latency(card)
    yield _files(card)
    yield _needs(card)
    yield _rows("What made it", card.made_by, numbered=card.commands)
    if rest := [row for row in card.success if row.cell != main]:
        for cell in dict.fromkeys(row.cell for row in rest):
            yield _success(cell, [row for row in rest if row.cell == cell], aside=True)
    if card.training:
        yield _rows("Training", card.training, aside=True)
    if card.measured is not None:
        yield _machine(card.measured)
    yield _rows("Runs as", card.runs_as, aside=True)
    yield _ports(card)
    yield _rows("Checksums, sha256", tuple((file.name, file.sha256) for file in card.files), aside=True)
    if card.other:
        yield _rows("Other results", card.other, aside=True)


def _success(cell: str, successes: list[Success], *, aside: bool = False) -> Table:
    columns = (
        Column("task"),
        Column("done", number=True),
        Column("95 % interval", number=True),
        Column("share", bars=True),
    )
    rows = []
    for row in successes:
        interval = f"{100 * row.low:.0f}–{100 * row.high:.0f} %"
        share = row.done / row.n
        rows.append(
            (
                Cell(row.kind.replace("_", " ")),
                Cell(f"{row.done} / {row.n}"),
                Cell(interval),
                _bar(share, row.low, row.high),
            )
        )
    note = "As the evaluation noted it; Wilson intervals." if rows else "No evaluation came with this bundle."
    return Table(f"Success: {cell_name(cell)}" if rows else "Success", columns, tuple(rows), note, aside)


def parity(card: Card) -> Table:
    """How the exported parts compare with what was trained, each row judged where something is allowed."""
    columns = (
        Column("what"),
        Column("found", number=True),
        Column("allowed", number=True),
        Column("cases", number=True),
    )
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
            found = Cell(small(row.embedding_error), good=good)
            rows.append((Cell(f"{name}: picture embeddings (mmproj), relative"), found, Cell(limit), n))
    for port in card.policy_parity:
        unit = "" if port.output == "finished" else ", rad"
        what = f"policy, {port.precision}: {port.output} against {port.against}{unit}"
        p99 = "" if port.p99 is None else f"p99 {small(port.p99)}, worst "
        good = None if port.allowed is None else port.worst <= port.allowed
        allowed = "" if port.allowed is None else f"≤ {small(port.allowed)}"
        found = Cell(p99 + small(port.worst), good=good)
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
        *(Column("worst ms", number=True), Column("n", number=True), Column("p50, to p99", bars=True)),
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
        return name, Cell(milliseconds(row.p50)), Cell(""), Cell(""), Cell("1"), Cell("")
    bar = _bar(row.p50 / longest, row.p50 / longest, row.p99 / longest)
    return (
        name,
        Cell(milliseconds(row.p50)),
        Cell(milliseconds(row.p99)),
        Cell(milliseconds(row.worst)),
        Cell(str(row.n)),
        bar,
    )


def _circumstances(card: Card, measured: Measured) -> str:
    machine = measured.machine
    processor, cores = machine["processor"], machine["cores"]
    text = f"On {processor}, {cores} cores; {_threads(measured)}, load {machine['load before']} before."
    if measured.answer_tokens is not None:
        text += f" An answer had {measured.answer_tokens:.0f} tokens."
    text += f" A chunk is due every {card.between_chunks_ms:.0f} ms."
    try:
        busy = float(machine["load before"]) > _BUSY * int(cores.split()[0])
    except ValueError:
        return text
    if busy:
        text += " The machine was busy with other work: these figures are worse than what it can do."
    return text


def _threads(measured: Measured) -> str:
    return "1 thread" if measured.threads == 1 else f"{measured.threads} threads each"


def _machine(measured: Measured) -> Table:
    backend = measured.backend + (f" ({measured.note})" if measured.note else "")
    how = (
        ("threads", _threads(measured)),
        ("policy by", backend),
        ("loading", "from the disk or its cache, whatever the machine had"),
    )
    return _rows("Measured on", (*measured.machine.items(), *how), aside=True)


def _files(card: Card) -> Table:
    columns = (
        *(Column("file", code=True), Column("what"), Column("type"), Column("MB", number=True)),
        *(Column("share", number=True), Column("of all", bars=True)),
    )
    rows = tuple(
        (
            *(Cell(file.name), Cell(file.role), Cell(file.precision), Cell(f"{file.bytes / 1e6:.2f}")),
            *(Cell(percent(file.share)), _bar(file.share)),
        )
        for file in card.files
    )
    note = f"Together {megabytes(card.bytes)}; every checksum is the manifest's."
    return Table("Sizes", columns, rows, note)


def _needs(card: Card) -> Table:
    rows = [("disk", megabytes(card.bytes))]
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
