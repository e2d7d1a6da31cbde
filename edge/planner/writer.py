"""The planner's answer: the best token the grammar allows, again and again, several at once where one can guess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.planner.drafts import Guesses
from edge.planner.sampler import GrammarSampler
from edge.planner.session import Session


def write(
    session: Session,
    sampler: GrammarSampler,
    image: NDArray[np.float32],
    suffix: Sequence[int],
    guesses: Guesses,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields each token, the end token last, with the logits (vocabulary,) that it was chosen from.

    A guessed continuation is decoded together with what came before it. Where the model writes the same, its tokens are
    there already; at the first other one the rest of the guess is taken back.

    Args:
        session: With its prefix kept.
        sampler: Reset here.
        image: What `session.encode_image` gave.
        suffix: Token ids between the image and the answer.
        guesses: Likely answers; without any, every token is a decode of its own.
    """
    written: list[int] = []
    sampler.reset()
    draft = guesses.after(written)
    rows = session.start_drafted(image, suffix, draft)
    while True:
        for place, logits in enumerate(rows):
            written.append(sampler.choose(logits))
            yield written[-1], logits
            if session.vocabulary.ends(written[-1]):
                return
            if place + 1 == len(rows) or written[-1] != draft[place]:
                break
        session.take_back(len(rows) - 1 - place)
        draft = guesses.after(written)
        rows = session.steps((written[-1], *draft))
