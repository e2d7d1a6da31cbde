"""Task, image and transcript in; the next call of the robot API out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.api import Call, RobotApi, Transcript
from edge.errors import CallError, PlannerError
from edge.planner.drafts import Drafts, Guesses
from edge.planner.prompt import Specials, fingerprint, prefix_ids, suffix_ids
from edge.planner.sampler import GrammarSampler
from edge.planner.session import Session
from edge.planner.writer import write


@dataclass(frozen=True)
class Budget:
    """How long the planner may write. The longest legal call has 20 to 30 tokens."""

    tokens: int = 48
    milliseconds: float = 3000.0


@dataclass(frozen=True)
class Plan:
    """What the planner decided, and what it took.

    Attributes:
        call: The next call.
        raw_text: The text it was read from.
        encode_ms: Time of the image encoder.
        decode_ms: Time of prompt and answer.
        tokens: Answer tokens, the end token included.
    """

    call: Call
    raw_text: str
    encode_ms: float
    decode_ms: float
    tokens: int


class Planner:
    """A loaded planner for one robot API. Not thread-safe; `close` it or use a `with` block.

    Args:
        api: The robot API that it was trained for.
        model: Text GGUF.
        mmproj: Vision GGUF.
        image_size: Side of the square image in pixels, from the manifest.
        threads: CPU threads, pinned.
        gpu: Run on the GPU where llama.cpp has one.
        budget: Limits of one plan.

    Raises:
        PlannerError: If the files cannot be loaded, or were trained for another API or on another prompt.
    """

    def __init__(
        self,
        api: RobotApi,
        model: Path,
        mmproj: Path,
        *,
        image_size: int = 192,
        threads: int = 1,
        gpu: bool = False,
        budget: Budget = Budget(),
    ) -> None:
        self.api, self.budget = api, budget
        self._at_work = threading.Lock()
        self._session = Session(model, mmproj, image_size=image_size, threads=threads, gpu=gpu)
        try:
            vocabulary = self._session.vocabulary
            if self._session.stamp != fingerprint(api):
                raise PlannerError(
                    "the planner was trained on another prompt",
                    expected=fingerprint(api),
                    got=self._session.stamp or "no fingerprint",
                    fix="retrain and export it with this version of the robot API and of edge/planner/prompt.py",
                )
            self._specials = Specials.of(vocabulary.special)
            self._sampler = GrammarSampler(vocabulary, api.grammar())
            self._drafts = Drafts(api, vocabulary.encode)
            self._session.keep_prefix(prefix_ids(api, vocabulary.encode, self._specials))
        except BaseException:
            self.close()
            raise

    def next_call(self, image: NDArray[np.uint8], task: str, transcript: Transcript = ()) -> Plan:
        """The call to make next.

        Args:
            image: Front camera, (image_size, image_size, 3) uint8 RGB.
            task: What the person wants, in words.
            transcript: The calls made so far and how they ended.

        Raises:
            PlannerError: If no valid call was written within the budget; holds the raw text and the reason.
            TaskError: If the task is empty or too long.
        """
        session = self._session
        suffix = suffix_ids(self.api, session.vocabulary.encode, self._specials, task, transcript)
        guesses = self._drafts.guesses(task, transcript)
        begin = time.perf_counter()
        with self._at_work:
            embeddings = session.encode_image(image)
            encoded = time.perf_counter()
            ids = self._write(embeddings, suffix, guesses, begin)
        text = session.vocabulary.text(ids)
        try:
            call = self.api.parse(text)
        except CallError as error:
            raise PlannerError("the planner wrote no valid call", expected=error.expected, got=repr(text)) from error
        return Plan(call, text, (encoded - begin) * 1e3, (time.perf_counter() - encoded) * 1e3, len(ids))

    def _write(self, image: NDArray[np.float32], suffix: Sequence[int], guesses: Guesses, begin: float) -> list[int]:
        """Answer token ids under the grammar, with the end token."""
        vocabulary, ids = self._session.vocabulary, list[int]()
        for token, _ in write(self._session, self._sampler, image, suffix, guesses):
            ids.append(token)
            spent_ms = (time.perf_counter() - begin) * 1e3
            unfinished = not vocabulary.ends(token)
            if unfinished and (len(ids) >= self.budget.tokens or spent_ms > self.budget.milliseconds):
                raise PlannerError(
                    "the planner wrote no whole call within its budget",
                    expected=f"{self.budget.tokens} tokens and {self.budget.milliseconds:.0f} ms",
                    got=f"{vocabulary.text(ids)!r} after {len(ids)} tokens and {spent_ms:.0f} ms",
                )
        return ids

    def close(self) -> None:
        """Free everything, unless a thread hangs in it: that one still uses it. Calling it again does nothing."""
        if self._at_work.acquire(blocking=False):
            try:
                if hasattr(self, "_sampler"):
                    self._sampler.close()
                self._session.close()
            finally:
                self._at_work.release()

    def __enter__(self) -> Planner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
