"""The planner's eye: libmtmd's vision encoder, run once an image.

The idefics3 layout that libmtmd makes holds two images, a tile and the whole. Ours needs no tiling, so both are the
same picture and only the whole is encoded. The texts around them are not used: `edge.planner.prompt` places the tokens.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import PlannerError
from edge.planner.native import last_log, libraries

_IMAGE_CHUNK = 1  # MTMD_INPUT_CHUNK_TYPE_IMAGE


class ImageEncoder:
    """The vision half of a planner.

    Args:
        mmproj: Path of the vision GGUF, as bytes.
        model: The loaded text model.
        size: Side of the square image in pixels.
        width: Embedding width of the text model.
        observer: As for `Session`.

    Raises:
        PlannerError: If the file is refused, or makes a layout other than one tile and one whole image.
    """

    def __init__(
        self, mmproj: bytes, model: Any, *, size: int, width: int, threads: int, gpu: bool, observer: Any = None
    ) -> None:
        _, self._mtmd = libraries()
        self._size, self._width = size, width
        params = self._mtmd.mtmd_context_params_default()
        params.use_gpu, params.n_threads = gpu, threads
        params.print_timings = params.warmup = False
        if observer is not None:
            params.cb_eval = observer
        self._context: Any = self._mtmd.mtmd_init_from_file(mmproj, model, params)
        if not self._context:
            raise PlannerError("llama.cpp refused the vision model", got=last_log(), fix=f"check {mmproj.decode()}")
        try:
            if not self._mtmd.mtmd_support_vision(self._context):
                raise PlannerError("the planner's second file is no vision model", got=mmproj.decode())
            if self._mtmd.mtmd_decode_use_non_causal(self._context, None) or self._mtmd.mtmd_decode_use_mrope(
                self._context
            ):
                raise PlannerError("not a SmolVLM-architecture vision model", expected="idefics3", got=mmproj.decode())
            #: Tokens an image becomes.
            self.tokens = len(self.encode(np.zeros((size, size, 3), np.uint8)))
        except BaseException:
            self.close()
            raise

    def encode(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (tokens, width) float32 of an RGB image (size, size, 3) uint8.

        Raises:
            PlannerError: If the image has another shape or type, or the encoder fails.
        """
        expected = (self._size, self._size, 3)
        if image.shape != expected or image.dtype != np.uint8:
            raise PlannerError(
                "the planner cannot use this image",
                expected=f"{expected} uint8 RGB",
                got=f"{image.shape} {image.dtype}",
            )
        pixels = np.ascontiguousarray(image)
        data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap = self._mtmd.mtmd_bitmap_init(self._size, self._size, data)
        chunks = self._mtmd.mtmd_input_chunks_init()
        try:
            return self._encode(self._whole_image(chunks, bitmap))
        finally:
            self._mtmd.mtmd_input_chunks_free(chunks)
            self._mtmd.mtmd_bitmap_free(bitmap)

    def _whole_image(self, chunks: Any, bitmap: Any) -> Any:
        mtmd = self._mtmd
        marker = mtmd.mtmd_get_marker(self._context)
        text = mtmd.mtmd_input_text(marker, len(marker), False, True)
        bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
        status = mtmd.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1)
        if status != 0:
            raise PlannerError("llama.cpp could not prepare the image", got=f"status {status}: {last_log()}")
        found = [mtmd.mtmd_input_chunks_get(chunks, index) for index in range(mtmd.mtmd_input_chunks_size(chunks))]
        images = [chunk for chunk in found if mtmd.mtmd_input_chunk_get_type(chunk) == _IMAGE_CHUNK]
        if len(images) != 2:
            raise PlannerError(
                "the vision model cuts the image",
                expected="one tile and the whole",
                got=f"{len(images)} images",
                fix=f"export a planner whose image size is {self._size}",
            )
        return images[-1]

    def _encode(self, chunk: Any) -> NDArray[np.float32]:
        mtmd = self._mtmd
        if mtmd.mtmd_encode_chunk(self._context, chunk) != 0:
            raise PlannerError("llama.cpp could not encode the image", got=last_log())
        shape = (int(mtmd.mtmd_input_chunk_get_n_tokens(chunk)), self._width)
        # A copy: the library overwrites its buffer with the next image.
        return np.array(np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(self._context), shape=shape), np.float32)

    def close(self) -> None:
        """Free the encoder; calling it again does nothing."""
        if self._context:
            self._mtmd.mtmd_free(self._context)
            self._context = None
