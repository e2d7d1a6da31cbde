"""One planner loaded in llama.cpp: the static prefix stays in the cache, an image is encoded once, tokens are decoded.

Both chat handlers of llama-cpp-python clear the cache and encode the image again on every call; this uses the C API
instead. Decoding in the same batches gives the same bits, so a plan on a kept prefix equals a cold one exactly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import PlannerError
from edge.planner.image import ImageEncoder
from edge.planner.native import Vocabulary, existing, last_log, libraries, metadata, model_options
from edge.planner.prompt import EDGE_TOKEN, GLOBAL_TOKEN, STAMP_KEY, TILE_TOKEN

#: Context in tokens: static text ~150, image 64, task ~50, 32 transcript lines ~450, answer ~30.
CONTEXT_TOKENS = 1024


class Session:
    """A text model and its vision half, with one sequence of decoded tokens.

    Not thread-safe: one thread at a time. Free it with `close` or a `with` block: nothing is left to the collector.

    Args:
        model: Text GGUF.
        mmproj: Vision GGUF made from the same checkpoint.
        image_size: Side in pixels of the square image, from the manifest.
        threads: CPU threads, pinned: more than the free cores makes a plan ten times slower, not faster.
        gpu: Put all layers on the GPU, where llama.cpp was built with one.
        observer: A `ggml_backend_sched_eval_callback` that sees every tensor computed; for calibration, slow.

    Raises:
        PlannerError: If a file is missing or llama.cpp refuses it; quotes the library's own log.
    """

    def __init__(
        self,
        model: Path,
        mmproj: Path,
        *,
        image_size: int,
        threads: int = 1,
        gpu: bool = False,
        observer: Any = None,
    ) -> None:
        self._llama, _ = libraries()
        self._model: Any = None
        self._context: Any = None
        self._images: ImageEncoder | None = None
        self._prefix: tuple[int, ...] = ()
        self._position = 0
        paths = existing(model, "planner model"), existing(mmproj, "planner vision model")
        try:
            self._open(paths, image_size, threads, gpu, observer)
        except BaseException:
            self.close()
            raise

    def _open(self, paths: tuple[bytes, bytes], image_size: int, threads: int, gpu: bool, observer: Any) -> None:
        self._model = self._llama.llama_model_load_from_file(paths[0], model_options(gpu))
        if not self._model:
            raise PlannerError("llama.cpp refused the planner model", got=last_log(), fix=f"check {paths[0].decode()}")
        self.vocabulary = Vocabulary(self._model)
        for token in ("\n", "\n\n", EDGE_TOKEN, GLOBAL_TOKEN, TILE_TOKEN):
            self.vocabulary.special(token)
        options = self._llama.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = CONTEXT_TOKENS
        options.n_seq_max = 1
        options.n_threads = options.n_threads_batch = threads
        options.offload_kqv = options.op_offload = gpu
        if observer is not None:
            options.cb_eval = observer
        self._context = self._llama.llama_init_from_model(self._model, options)
        if not self._context:
            raise PlannerError("llama.cpp cannot make a context", got=last_log())
        width = int(self._llama.llama_model_n_embd(self._model))
        self._images = ImageEncoder(
            paths[1], self._model, size=image_size, width=width, threads=threads, gpu=gpu, observer=observer
        )

    @property
    def image_tokens(self) -> int:
        """Positions that an image takes in the prompt."""
        return self._vision.tokens

    @property
    def stamp(self) -> str:
        """`prompt.fingerprint` of the prompt that the model was trained on, as export wrote it; empty if it did not."""
        return metadata(self._model, STAMP_KEY)

    def keep_prefix(self, ids: Sequence[int]) -> None:
        """Decode the static prompt once; `start` begins after it from then on."""
        self._rewind(0)
        self._decode(ids)
        self._prefix = tuple(ids)

    def encode_image(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Image tokens, (tokens, width) float32, of an RGB image (size, size, 3) uint8.

        Raises:
            PlannerError: If the image has another shape or type.
        """
        return self._vision.encode(image)

    def start(self, image: NDArray[np.float32], suffix: Sequence[int]) -> NDArray[np.float32]:
        """Decode an encoded image and the text after it, on the kept prefix.

        Returns:
            Logits of the first answer token, (vocabulary,) float32, a copy.

        Raises:
            PlannerError: If the prompt is longer than the context.
        """
        first: NDArray[np.float32] = self.start_drafted(image, suffix, ())[0]
        return first

    def start_drafted(
        self, image: NDArray[np.float32], suffix: Sequence[int], draft: Sequence[int]
    ) -> NDArray[np.float32]:
        """The same with a guess of the answer behind it, in one decode.

        Returns:
            Logits (n, vocabulary) float32 of the first answer token and of those that follow each token of the draft:
            of as much of it as there is room for in the context.

        Raises:
            PlannerError: If the prompt is longer than the context.
        """
        self._rewind(len(self._prefix))
        room = CONTEXT_TOKENS - len(self._prefix) - len(image)
        if len(suffix) > room:
            raise PlannerError(
                "the prompt is too long", expected=f"{room} tokens after the image", got=f"{len(suffix)}"
            )
        self._decode_embeddings(image)
        kept = draft[: room - len(suffix)]
        return self._decode((*suffix, *kept), 1 + len(kept))

    def step(self, token: int) -> NDArray[np.float32]:
        """Decode one answer token; logits of the next one, (vocabulary,) float32, a copy."""
        following: NDArray[np.float32] = self.steps((token,))[0]
        return following

    def steps(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Decode answer tokens at once; logits (n, vocabulary) of what follows each that there was room for.

        Raises:
            PlannerError: If there is no room for the first.
        """
        kept = tokens[: max(1, CONTEXT_TOKENS - self._position)]
        return self._decode(kept, len(kept))

    def take_back(self, count: int) -> None:
        """Forget the newest tokens."""
        self._rewind(self._position - count)

    def close(self) -> None:
        """Free everything; calling it again does nothing."""
        if self._images is not None:
            self._images.close()
            self._images = None
        if self._context:
            self._llama.llama_free(self._context)
            self._context = None
        if self._model:
            self._llama.llama_model_free(self._model)
            self._model = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _vision(self) -> ImageEncoder:
        if self._images is None:
            raise PlannerError("the planner session is closed")
        return self._images

    def _rewind(self, position: int) -> None:
        if not self._context:
            raise PlannerError("the planner session is closed")
        memory = self._llama.llama_get_memory(self._context)
        self._llama.llama_memory_seq_rm(memory, 0, position, -1)
        self._position = position

    def _decode(self, ids: Sequence[int], rows: int = 1) -> NDArray[np.float32]:
        """Logits (rows, vocabulary) of the last tokens."""
        batch = self._llama.llama_batch_init(len(ids), 0, 1)
        try:
            for index, token in enumerate(ids):
                batch.token[index] = token
            self._submit(batch, len(ids), rows)
        finally:
            self._llama.llama_batch_free(batch)
        # A copy: the library overwrites its buffer with the next tokens.
        copy = np.empty((rows, self.vocabulary.size), np.float32)
        ctypes.memmove(copy.ctypes.data, self._llama.llama_get_logits(self._context), copy.nbytes)
        return copy

    def _decode_embeddings(self, embeddings: NDArray[np.float32]) -> None:
        count, width = embeddings.shape
        batch = self._llama.llama_batch_init(count, width, 1)
        try:
            ctypes.memmove(batch.embd, embeddings.ctypes.data, embeddings.nbytes)
            self._submit(batch, count, 0)
        finally:
            self._llama.llama_batch_free(batch)

    def _submit(self, batch: Any, count: int, rows: int) -> None:
        """Decodes a batch that holds `count` tokens or embeddings, for logits of the last `rows`."""
        if self._position + count > CONTEXT_TOKENS:
            raise PlannerError("the planner's context is full", expected=f"at most {CONTEXT_TOKENS} tokens")
        batch.n_tokens = count
        for index in range(count):
            batch.pos[index] = self._position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = index >= count - rows
        status = self._llama.llama_decode(self._context, batch)
        if status != 0:
            raise PlannerError("llama.cpp could not decode", got=f"status {status}: {last_log()}")
        self._position += count
