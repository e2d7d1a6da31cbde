"""Any vision-language model that llama.cpp runs, as two GGUF files: prompt and picture in, logits and answers out.

The robot does not run this: `edge.planner.session` does one layout, fast. This does every layout that libmtmd knows, to
compare exported files with the checkpoint that they were made from.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.planner.native import Vocabulary, existing, last_log, libraries, model_options
from export.errors import ExportError

_TEXT = 0  # MTMD_INPUT_CHUNK_TYPE_TEXT
#: Where the picture stands in a prompt.
MARKER = "<image>"


@dataclass(frozen=True)
class Piece:
    """A part of a prompt: token ids of a text, or the embeddings (tokens, width) of a picture."""

    ids: tuple[int, ...] = ()
    embeddings: NDArray[np.float32] | None = None


class LlamaVlm:
    """A loaded pair of GGUF files. Not thread-safe; `close` it or use a `with` block.

    Args:
        files: Text GGUF, vision GGUF.
        context: Positions at most, prompt and answer together.
        threads: CPU threads.
        observer: A `ggml_backend_sched_eval_callback` that sees every tensor computed, or None.

    Raises:
        PlannerError: If a file is missing.
        ExportError: If llama.cpp refuses one, or they do not belong together.
    """

    def __init__(
        self, files: tuple[Path, Path], *, context: int = 2048, threads: int = 1, observer: Any = None
    ) -> None:
        self._llama, self._mtmd = libraries()
        self._model = self._context = self._eyes = None
        self._limit, self._position = context, 0
        text, vision = existing(files[0], "text model"), existing(files[1], "vision model")
        try:
            options = model_options(gpu=False)
            self._model = self._must(self._llama.llama_model_load_from_file(text, options), "the text half", text)
            options = self._llama.llama_context_default_params()
            options.n_ctx = options.n_batch = options.n_ubatch = context
            options.n_threads = options.n_threads_batch = threads
            if observer is not None:
                options.cb_eval = observer
            self._context = self._must(self._llama.llama_init_from_model(self._model, options), "a context", text)
            eyes = self._mtmd.mtmd_context_params_default()
            eyes.use_gpu, eyes.n_threads, eyes.print_timings, eyes.warmup = False, threads, False, False
            if observer is not None:
                eyes.cb_eval = observer
            self._eyes = self._must(
                self._mtmd.mtmd_init_from_file(vision, self._model, eyes), "the vision half", vision
            )
        except BaseException:
            self.close()
            raise
        self.vocabulary = Vocabulary(self._model)
        self._width = int(self._llama.llama_model_n_embd_inp(self._model))

    @staticmethod
    def _must(handle: Any, what: str, path: bytes) -> Any:
        if not handle:
            raise ExportError(f"llama.cpp refused {what} of {Path(path.decode()).name}", got=last_log())
        return handle

    def start(self, prompt: str, image: NDArray[np.uint8] | None) -> tuple[list[Piece], NDArray[np.float32]]:
        """Decode a prompt from its beginning.

        Args:
            prompt: Text, special tokens spelled out; `MARKER` stands where the picture goes.
            image: RGB (height, width, 3) uint8, or None for a prompt without one.

        Returns:
            The prompt as llama.cpp reads it, and the logits of the first answer token, (vocabulary,) float32.

        Raises:
            ExportError: If llama.cpp cannot read it, or it is longer than the context.
        """
        mtmd = self._mtmd
        raw = prompt.encode().replace(MARKER.encode(), mtmd.mtmd_get_marker(self._eyes))
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)
        self._position = 0
        chunks, bitmaps = mtmd.mtmd_input_chunks_init(), []
        try:
            if image is not None:
                pixels = np.ascontiguousarray(image)
                data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
                bitmaps.append(mtmd.mtmd_bitmap_init(pixels.shape[1], pixels.shape[0], data))
            text = mtmd.mtmd_input_text(raw, len(raw), False, True)
            array = (mtmd.mtmd_bitmap_p_ctypes * max(len(bitmaps), 1))(*bitmaps)
            status = mtmd.mtmd_tokenize(self._eyes, chunks, ctypes.byref(text), array, len(bitmaps))
            if status != 0:
                raise ExportError("llama.cpp cannot read the prompt", got=f"{prompt!r}: status {status}: {last_log()}")
            if (size := mtmd.mtmd_helper_get_n_pos(chunks)) > self._limit:
                raise ExportError("the prompt is too long", expected=f"{self._limit} positions", got=str(size))
            found = [mtmd.mtmd_input_chunks_get(chunks, index) for index in range(mtmd.mtmd_input_chunks_size(chunks))]
            return [self._take(chunk, last=chunk is found[-1]) for chunk in found], self._logits()
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            for bitmap in bitmaps:
                mtmd.mtmd_bitmap_free(bitmap)

    def step(self, token: int) -> NDArray[np.float32]:
        """Decode one answer token; logits of the next one, (vocabulary,) float32."""
        if self._position >= self._limit:
            raise ExportError("prompt and answer are too long", expected=f"{self._limit} positions together")
        tokens = (self._llama.llama_token * 1)(token)  # the batch only points to it
        if (status := self._llama.llama_decode(self._context, self._llama.llama_batch_get_one(tokens, 1))) != 0:
            raise ExportError("llama.cpp could not decode", got=f"status {status}: {last_log()}")
        self._position += 1
        return self._logits()

    def close(self) -> None:
        """Free everything; calling it again does nothing."""
        if self._eyes:
            self._mtmd.mtmd_free(self._eyes)
        if self._context:
            self._llama.llama_free(self._context)
        if self._model:
            self._llama.llama_model_free(self._model)
        self._eyes = self._context = self._model = None

    def __enter__(self) -> LlamaVlm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, chunk: Any, *, last: bool) -> Piece:
        """Decode one part of the prompt; says what it was."""
        mtmd, count = self._mtmd, ctypes.c_size_t()
        after = self._llama.llama_pos(self._position)  # the library adds to it for text, and sets it for a picture
        if mtmd.mtmd_input_chunk_get_type(chunk) == _TEXT:
            ids = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
            piece = Piece(ids=tuple(ids[: count.value]))
            status = mtmd.mtmd_helper_eval_chunk_single(
                self._eyes, self._context, chunk, self._position, 0, self._limit, last, ctypes.byref(after)
            )
        else:
            if mtmd.mtmd_encode_chunk(self._eyes, chunk) != 0:
                raise ExportError("llama.cpp could not encode the picture", got=last_log())
            shape = (int(mtmd.mtmd_input_chunk_get_n_tokens(chunk)), self._width)
            out = mtmd.mtmd_get_output_embd(self._eyes)
            piece = Piece(embeddings=np.array(np.ctypeslib.as_array(out, shape=shape), np.float32))
            status = mtmd.mtmd_helper_decode_image_chunk(
                self._eyes, self._context, chunk, out, self._position, 0, self._limit, ctypes.byref(after),
                mtmd.mtmd_helper_post_decode_callback(0), None,
            )  # fmt: skip
        if status != 0:
            raise ExportError("llama.cpp could not decode the prompt", got=f"status {status}: {last_log()}")
        self._position = after.value
        return piece

    def _logits(self) -> NDArray[np.float32]:
        found = self._llama.llama_get_logits_ith(self._context, -1)
        logits = np.array(np.ctypeslib.as_array(found, shape=(self.vocabulary.size,)), np.float32)
        if not np.isfinite(logits).all():
            raise ExportError(
                "the model's logits are not finite",
                fix="weights that overflow f16 cannot be exported; otherwise the checkpoint is damaged",
            )
        return logits
