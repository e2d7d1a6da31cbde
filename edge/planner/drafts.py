"""Guesses of what the planner will write, so that one decode checks many of its tokens.

Speculative decoding (Leviathan et al. 2023) without a draft model: an API has few calls, and a task and what was done
so far leave fewer. A guess decides nothing: only what the model writes by itself is kept (`edge.planner.writer`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.api import Call, Outcome, RobotApi, Transcript


@dataclass(frozen=True)
class Guesses:
    """Token ids of likely answers to one question, the likeliest first; without the end token."""

    answers: tuple[tuple[int, ...], ...] = ()

    def after(self, written: Sequence[int]) -> tuple[int, ...]:
        """What the likeliest answer that begins with `written` goes on with; nothing if none does."""
        begun = tuple(written)
        return next((answer[len(begun) :] for answer in self.answers if answer[: len(begun)] == begun), ())


class Drafts:
    """Guesses for every question about one API.

    Args:
        api: Its calls without a hint are what is guessed: where things are is for the model to see.
        encode: Text to token ids, adding no special tokens.
    """

    def __init__(self, api: RobotApi, encode: Callable[[str], Sequence[int]]) -> None:
        self._answers = {call: tuple(encode(api.format(call))) for call in api.calls()}

    def guesses(self, task: str, transcript: Transcript) -> Guesses:
        """For a task in words and the calls made so far."""
        return Guesses(tuple(self._answers[call] for call in by_likelihood(tuple(self._answers), task, transcript)))


def by_likelihood(calls: Sequence[Call], task: str, transcript: Transcript) -> list[Call]:
    """Calls, the likeliest first.

    After a failure the same call comes again, after a success one of another subtask. Objects come in the order in
    which the task names them, first those that no call has named yet.
    """
    named = {entry.object for entry, _ in transcript if entry.object is not None}
    names = _Names(task.lower(), frozenset(named), frozenset(name.split(" ")[0] for name in named))
    last, outcome = transcript[-1] if transcript else (None, Outcome.OK)

    def rank(call: Call) -> tuple[bool, int, int]:
        if last is None:
            unlikely = False
        elif outcome is Outcome.OK:
            unlikely = call.subtask == last.subtask
        else:
            unlikely = call != last.without_hint()
        return unlikely, *names.rank(call.object)

    return sorted(calls, key=rank)


@dataclass(frozen=True)
class _Names:
    """What a task names, and the objects that calls have named: whole, and their first words."""

    words: str
    done: frozenset[str]
    done_words: frozenset[str]

    def rank(self, name: str | None) -> tuple[int, int]:
        """The smaller, the likelier: whole names, first words (`the red one`), none, what had its turn, the rest."""
        if name is None:
            return 2, 0
        word = name.split(" ")[0]
        for level, spelling, done in ((0, name, name in self.done), (1, word, word in self.done_words)):
            if found := re.search(rf"\b{re.escape(spelling)}\b", self.words):
                return (3 if done else level), found.start()
        return 4, 0
