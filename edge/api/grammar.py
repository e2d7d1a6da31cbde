"""The declaration as a GBNF grammar (llama.cpp): it makes the canonical text of every legal call, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.api.declaration import Grid, Noun, Subtask


def gbnf(subtasks: Sequence[Subtask]) -> str:
    """Grammar text with the root rule `root`.

    Vocabulary words are a-z and Python names hold no dash, so rule names cannot clash and nothing needs escaping.
    """
    nouns = list(dict.fromkeys(parameter.noun for task in subtasks for parameter in task.parameters))
    grids = list(dict.fromkeys(task.hint for task in subtasks if task.hint is not None))
    rules = ["root ::= " + " | ".join(_rule(task.name) for task in subtasks)]
    rules += [_subtask(task, nouns, grids) for task in subtasks]
    for index, noun in enumerate(nouns):
        rules.append(f'noun-{index} ::= ({_either(noun.colours)}) " " ({_either(noun.shapes)})')
    for index, grid in enumerate(grids):
        columns, rows = (_either(str(n) for n in range(size)) for size in (grid.columns, grid.rows))
        rules.append(f'hint-{index} ::= ", at=(" ({columns}) ", " ({rows}) ")"')
    return "\n".join(rules) + "\n"


def _subtask(task: Subtask, nouns: list[Noun], grids: list[Grid]) -> str:
    if not task.parameters:
        return f'{_rule(task.name)} ::= "{task.name}()"'
    noun = f'"{task.name}(\\"" noun-{nouns.index(task.parameters[0].noun)} "\\""'
    hint = f" hint-{grids.index(task.hint)}?" if task.hint is not None else ""
    return f'{_rule(task.name)} ::= {noun}{hint} ")"'


def _rule(name: str) -> str:
    return "call-" + name.replace("_", "-")


def _either(words: Iterable[str]) -> str:
    return " | ".join(f'"{word}"' for word in words)
