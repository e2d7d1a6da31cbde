"""What the planner's times are measured against: the same checkpoint in transformers, and bare llama.cpp and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.api import RobotApi
from edge.planner.native import existing, libraries, model_options
from edge.planner.session import CONTEXT_TOKENS
from export.planner_cases import Case
from export.planner_sides import TorchSide

ANSWER = 48


class Transformers:
    """The checkpoint as a user of transformers runs it: the whole prompt and the image into `generate`, every time."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch, self._side = torch, TorchSide(checkpoint)

    def answer(self, api: RobotApi, case: Case) -> str:
        """The greedy call, without a grammar."""
        torch, side = self._torch, self._side
        before, after = side.prompt(api, case)
        ids = torch.tensor([[*before, *[side.specials.image] * side.image_tokens, *after]])
        pixels = torch.from_numpy((case.image.astype(np.float32) / 255 - 0.5) / 0.5).permute(2, 0, 1)[None, None]
        with torch.inference_mode():
            out = side.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=pixels,
                do_sample=False,
                max_new_tokens=ANSWER,
                eos_token_id=side.specials.end,
                pad_token_id=side.specials.end,
            )
        return str(side.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


class RawLlama:
    """The text file in llama.cpp and nothing else: one token after another, no logits read, no choice made."""

    def __init__(self, model: Path, threads: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._llama, _ = libraries()
        self._model: Any = self._llama.llama_model_load_from_file(
            existing(model, "planner model"), model_options(gpu=False)
        )
        options = self._llama.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = CONTEXT_TOKENS
        options.n_seq_max = 1
        options.n_threads = options.n_threads_batch = threads
        options.offload_kqv = options.op_offload = False
        self._context: Any = self._llama.llama_init_from_model(self._model, options)

    def decode(self, before: int, tokens: Sequence[int]) -> float:
        """Seconds that these tokens take one by one, after a prompt of so many positions, which is not counted.

        The prompt is decoded each time, as the planner's is: the step from many tokens to one has a price of its own.
        """
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)
        self._decode([1] * before)
        begin = self._clock()
        for token in tokens:
            self._decode([token])
        return self._clock() - begin

    def _decode(self, tokens: Sequence[int]) -> None:
        ids = (self._llama.llama_token * len(tokens))(*tokens)  # the batch only points to it
        if self._llama.llama_decode(self._context, self._llama.llama_batch_get_one(ids, len(tokens))) != 0:
            raise SystemExit("llama.cpp could not decode")

    def close(self) -> None:
        """Free everything."""
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)


class Memory:
    """How fast one thread reads: a dot product over an array that no cache holds."""

    def __init__(self, clock: Callable[[], float], megabytes: int = 512) -> None:
        self._clock = clock
        self._values: NDArray[np.float32] = np.ones(megabytes * (1 << 18), np.float32)

    def bytes_per_s(self) -> float:
        """Bytes a second, one pass."""
        half = len(self._values) // 2
        begin = self._clock()
        np.dot(self._values[:half], self._values[half:])
        return self._values.nbytes / (self._clock() - begin)
