"""What is read first of a report card: a few figures, and what may be concluded."""

from __future__ import annotations

from collections.abc import Iterator

from export.card.data import Card
from export.card.layout import Figure, cell_name, main_cell, megabytes, milliseconds, percent, small
from export.card.tables import parity


def figures(card: Card) -> Iterator[Figure]:
    """What is read first, at most six."""
    if main := [row for row in card.success if row.cell == main_cell(card)]:
        done, n = sum(row.done for row in main), sum(row.n for row in main)
        yield Figure(percent(done / n), "of tasks done", f"{cell_name(main[0].cell)}, n = {n}")
    if card.planner_parity:
        row = card.planner_parity[-1]
        for shown in card.planner_parity:
            if any(shown.precision == file.precision for file in card.files):
                row = shown
        yield Figure(f"{row.equal} / {row.cases}", "calls as in PyTorch", f"planner, {row.precision}")
    if rows := [row for row in card.policy_parity if row.output != "finished"]:
        worst = max(rows, key=lambda row: row.worst)
        yield Figure(small(worst.worst), "largest difference, rad", f"policy, {worst.precision}, n = {worst.cases}")
    yield Figure(megabytes(card.bytes), "on disk", f"{len(card.files)} files")
    if card.measured is not None:
        if (plan := card.measured.timing("planner", "re-plan, warm")) is not None:
            yield Figure(f"{milliseconds(plan.p50)} ms", "to re-plan", f"p99 {milliseconds(plan.p99)}, this machine")
        if (step := card.measured.timing("policy", "evaluation")) is not None:
            yield Figure(
                f"{milliseconds(step.p50)} ms", "to act", f"policy; p99 {milliseconds(step.p99)}, this machine"
            )


def verdicts(card: Card) -> Iterator[tuple[bool | None, str]]:
    """What a person may conclude, a line each; None where nothing can be said."""
    yield True, f"all {len(card.files)} files are those that the manifest was written for"
    judged = [cell.good for row in parity(card).rows for cell in row if cell.good is not None]
    if not judged:
        yield None, "nothing is known of how the parts compare with what was trained"
    elif all(judged):
        yield True, f"all {len(judged)} comparisons with what was trained are within what is allowed"
    else:
        yield False, f"{judged.count(False)} of {len(judged)} comparisons with what was trained exceed what is allowed"
    if not card.success:
        yield None, "no evaluation came with it"
    if card.measured is None:
        yield None, f"speed was not measured: {card.not_measured}"
        return
    step = card.measured.timing("policy", "evaluation")
    if step is not None:
        fast = step.p99 < card.between_chunks_ms
        words = "fast enough" if fast else "too slow"
        due = f"a chunk is due every {card.between_chunks_ms:.0f} ms"
        yield fast, f"the policy is {words} here: p99 {milliseconds(step.p99)} ms, {due}"
