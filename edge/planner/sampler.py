"""Greedy choice under a grammar: the best token if the grammar takes it; the vocabulary is filtered only if not."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from edge.errors import PlannerError
from edge.planner.native import Vocabulary, last_log, libraries


class GrammarSampler:
    """A GBNF grammar as a state that accepts one token after another.

    Raises:
        PlannerError: If llama.cpp does not accept the grammar.
    """

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        self._llama, _ = libraries()
        if not grammar.strip():  # llama.cpp would take it and allow everything
            raise PlannerError("the grammar is empty", expected="GBNF with a rule root")
        self._sampler = self._llama.llama_sampler_init_grammar(vocabulary.handle, grammar.encode(), b"root")
        if not self._sampler:
            raise PlannerError("llama.cpp does not accept the grammar", expected="GBNF", got=last_log())
        self._ids = np.arange(vocabulary.size, dtype=np.int32)
        # Same memory layout as `llama_token_data`: id, logit, probability.
        self._candidates = np.zeros(vocabulary.size, [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
        # Nearly every token is the best one and allowed: asking about one candidate costs no arrays.
        self._one = self._llama.llama_token_data(0, 0.0, 0.0)
        self._only = self._llama.llama_token_data_array(ctypes.pointer(self._one), 1, -1, False)

    def reset(self) -> None:
        """Back to the start of the grammar."""
        self._llama.llama_sampler_reset(self._sampler)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The most likely token that the grammar allows next, accepted into its state.

        Raises:
            PlannerError: If it allows none, or the logits are not finite.
        """
        if not np.isfinite(logits).all():
            raise PlannerError(
                "the planner's logits are not finite", fix="the model file is damaged: verify the bundle"
            )
        best = int(logits.argmax())
        if not self._allows(best):
            allowed = self._filter(logits)
            best = int(allowed.argmax())
            if np.isneginf(allowed[best]):
                raise PlannerError(
                    "the grammar allows no token of the vocabulary", fix="the tokenizer lacks some bytes"
                )
        self._llama.llama_sampler_accept(self._sampler, best)
        return best

    def _allows(self, token: int) -> bool:
        """Whether the grammar takes a token next."""
        self._one.id, self._one.logit = token, 0.0
        self._llama.llama_sampler_apply(self._sampler, ctypes.byref(self._only))
        return bool(self._one.logit == 0.0)

    def _filter(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits with -inf where the grammar refuses the token."""
        rows = self._candidates
        rows["id"], rows["logit"] = self._ids, logits
        data = ctypes.cast(rows.ctypes.data, self._llama.llama_token_data_p)
        array = self._llama.llama_token_data_array(data, len(rows), -1, False)
        self._llama.llama_sampler_apply(self._sampler, ctypes.byref(array))
        filtered: NDArray[np.float32] = rows["logit"].copy()
        return filtered

    def close(self) -> None:
        """Free the grammar; calling it again does nothing."""
        if self._sampler:
            self._llama.llama_sampler_free(self._sampler)
            self._sampler = None
