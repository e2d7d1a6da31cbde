"""The gate for any vision-language model: what llama.cpp reads, sees and writes against the checkpoint in PyTorch.

Full precision is compared with PyTorch: the same tokens, embeddings within 1e-3, logits along llama.cpp's own greedy
answer. PyTorch reads that answer in one pass; if it would have chosen each of its tokens, it would have written it.
Quantized files are compared with full precision, answer by answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.errors import ParityError
from export.gguf_importance import Gatherer, Importance
from export.llama_vlm import MARKER, LlamaVlm, Piece
from export.planner_parity import FULL_LIMITS, Limits, Parity, divergence, judge, largest_difference, relative_error
from export.planner_sides import Logits
from export.torch_vlm import TorchVlm
from export.vlm_prompts import Prompt

_Row = tuple[bool, float, float, float, float]
"""Of a prompt: equal answers, logits error, logits scale, divergence, embedding error."""


@dataclass(frozen=True)
class Written:
    """A greedy answer: token ids, and the logits that each was chosen from."""

    ids: tuple[int, ...]
    logits: tuple[Logits, ...]


class VlmGate:
    """Judges pairs of GGUF files.

    Args:
        checkpoint: Hugging Face folder.
        prompts: Evaluation prompts.
        answer_tokens: Tokens that each is answered with, at most.
        context: Positions of a prompt and its answer.
        threads: CPU threads of llama.cpp.
    """

    def __init__(
        self,
        checkpoint: Path,
        prompts: Sequence[Prompt],
        *,
        answer_tokens: int = 32,
        context: int = 2048,
        threads: int = 1,
    ) -> None:
        self._reference = TorchVlm(checkpoint)
        self._tokens, self._context, self._threads = answer_tokens, context, threads
        self.parameters = sum(weight.numel() for weight in self._reference.model.parameters())
        self._prompts = [self._native(prompt) for prompt in prompts]
        self._full = list[Written]()

    def full(self, files: tuple[Path, Path], limits: Limits = FULL_LIMITS) -> Parity:
        """Judge unquantized files against PyTorch, and keep their answers for `quantized`.

        Raises:
            ParityError: If tokens, embeddings, logits or answers differ.
        """
        rows, lines = list[_Row](), list[str]()
        self._full = []
        with self._open(files) as side:
            for number, prompt in enumerate(self._prompts):
                written, pieces = self._write(side, prompt)
                self._same_tokens(number, prompt, pieces)
                theirs = self._reference.logits(pieces, prompt.image, written.ids)
                error = max(largest_difference(a, b) for a, b in zip(written.logits, theirs, strict=True))
                equal = tuple(map(self._best, theirs)) == written.ids
                kl = float(np.mean([divergence(b, a) for a, b in zip(written.logits, theirs, strict=True)]))
                rows.append((equal, error, float(np.abs(theirs).max()), kl, self._sight(prompt, pieces)))
                lines.append(f"prompt {number}: logits error {error:.3g}, answer {'equal' if equal else 'differs'}")
                self._full.append(written)
        worst = [line for _, line in sorted(zip(rows, lines, strict=True), key=lambda pair: (pair[0][0], -pair[0][1]))]
        return self._parity(rows, limits, "full precision", worst)

    def quantized(self, files: tuple[Path, Path], name: str, limits: Limits) -> Parity:
        """Judge other files against what `full` wrote.

        Raises:
            ParityError: If too few answers are equal.
        """
        rows, lines = list[_Row](), list[str]()
        with self._open(files) as side:
            for number, (prompt, full) in enumerate(zip(self._prompts, self._full, strict=True)):
                written, pieces = self._write(side, prompt)
                along = written.logits if written.ids == full.ids else self._along(side, prompt, full.ids)
                pairs = list(zip(along, full.logits, strict=True))
                error = max(largest_difference(a, b) for a, b in pairs)
                kl = float(np.mean([divergence(b, a) for a, b in pairs]))
                scale = max(float(np.abs(row).max()) for row in full.logits)
                equal = written.ids == full.ids
                rows.append((equal, error, scale, kl, self._sight(prompt, pieces)))
                if not equal:
                    texts = [self._reference.text(ids) for ids in (full.ids, written.ids)]
                    lines.append(f"prompt {number}: full precision {texts[0]!r}, {name} {texts[1]!r}")
        return self._parity(rows, limits, name, lines)

    def importance(self, files: tuple[Path, Path], prompts: Sequence[Prompt]) -> Importance:
        """Run prompts and their answers; how much each weight column was used (`gguf_importance`)."""
        gatherer = Gatherer()
        with LlamaVlm(files, context=self._context, threads=self._threads, observer=gatherer.callback) as side:
            for prompt in prompts:
                self._write(side, self._native(prompt))
        return gatherer.result()

    def _native(self, prompt: Prompt) -> Prompt:
        return prompt if prompt.image is None else Prompt(prompt.text, self._reference.native(prompt.image))

    def _open(self, files: tuple[Path, Path]) -> LlamaVlm:
        return LlamaVlm(files, context=self._context, threads=self._threads)

    def _write(self, side: LlamaVlm, prompt: Prompt) -> tuple[Written, list[Piece]]:
        pieces, first = side.start(prompt.text, prompt.image)
        ids, logits = [self._best(first)], [first]
        while len(ids) < self._tokens and not side.vocabulary.ends(ids[-1]):
            logits.append(side.step(ids[-1]))
            ids.append(self._best(logits[-1]))
        return Written(tuple(ids), tuple(logits)), pieces

    def _best(self, logits: Logits) -> int:
        """The likeliest token, the one that stands for a picture left out: PyTorch would look for the picture."""
        token = self._reference.image_token
        return int(np.where(np.arange(len(logits)) == token, -np.inf, logits).argmax())

    @staticmethod
    def _along(side: LlamaVlm, prompt: Prompt, ids: Sequence[int]) -> tuple[Logits, ...]:
        """The logits that a given answer would have been chosen from."""
        return (side.start(prompt.text, prompt.image)[1], *(side.step(token) for token in ids[:-1]))

    def _sight(self, prompt: Prompt, pieces: Sequence[Piece]) -> float:
        """Relative error of the embeddings of the prompt's picture."""
        ours = [piece.embeddings for piece in pieces if piece.embeddings is not None]
        if prompt.image is None or not ours:
            return 0.0
        theirs = self._reference.see(prompt.image)
        whole: NDArray[np.float32] = np.concatenate(ours)
        if len(whole) > len(theirs) > 0 and len(whole) % len(theirs) == 0:  # the same picture, shown more than once
            theirs = np.tile(theirs, (len(whole) // len(theirs), 1))
        return relative_error(whole, theirs)

    def _same_tokens(self, number: int, prompt: Prompt, pieces: Sequence[Piece]) -> None:
        """The user's text, and the text that llama.cpp puts around a picture, must be the tokenizer's tokens.

        Raises:
            ParityError: If one is not.
        """
        before, _, after = prompt.text.partition(MARKER)
        head, tail = self._reference.ids(before), self._reference.ids(after)
        texts = [list(piece.ids) for piece in pieces if piece.embeddings is None]
        if not texts:
            texts = [[]]
        if tuple(texts[0][: len(head)]) != head:
            self._other_tokens(number, head, texts[0])
        del texts[0][: len(head)]
        if tuple(texts[-1][len(texts[-1]) - len(tail) :]) != tail:
            self._other_tokens(number, tail, texts[-1])
        del texts[-1][len(texts[-1]) - len(tail) :]
        if prompt.image is None and texts[0]:
            self._other_tokens(number, (), texts[0])
        for ids in texts:
            if ids and list(again := self._reference.ids(self._reference.text(ids))) != ids:
                self._other_tokens(number, again, ids)

    def _other_tokens(self, number: int, expected: Sequence[int], got: Sequence[int]) -> None:
        raise ParityError(
            f"prompt {number}: llama.cpp reads other tokens than the checkpoint's tokenizer",
            expected=f"{list(expected)}, {self._reference.text(expected)!r}",
            got=f"{list(got)}, {self._reference.text(got)!r}",
            fix="name the right --pre-tokenizer; see docs/planner-export.md",
        )

    @staticmethod
    def _parity(rows: Sequence[_Row], limits: Limits, name: str, lines: Sequence[str]) -> Parity:
        equal, errors, scales, kls, sights = zip(*rows, strict=True)
        parity = Parity(
            len(rows),
            sum(equal),
            max(errors),
            max(scales),
            float(np.mean(kls)),
            max(sights),
            right=None,
            right_torch=None,
        )
        judge(parity, limits, name, lines)
        return parity
