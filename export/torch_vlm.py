"""Any vision-language checkpoint in PyTorch, fed with exactly the prompt that llama.cpp read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from export.llama_vlm import Piece

#: How models call the column that tells image tokens from text.
_TYPE_COLUMNS = ("mm_token_type_ids", "token_type_ids")
#: Lists the real pixels of padded pictures; ours are never padded.
_MASKS = ("pixel_attention_mask",)


class TorchVlm:
    """The checkpoint in float32, evaluation mode. `image_token` is the id that stands for a picture's tokens.

    Raises:
        ExportError: If transformers cannot load the model, its tokenizer or its image processor.
    """

    def __init__(self, checkpoint: Path) -> None:
        import torch
        import transformers
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        self._torch = torch
        kinds: tuple[tuple[str, Any, dict[str, Any]], ...] = (
            ("tokenizer", transformers.AutoTokenizer, {}),
            ("image processor", transformers.AutoImageProcessor, {}),
            ("model", transformers.AutoModelForImageTextToText, {"dtype": torch.float32}),
        )
        loaded = [_load(checkpoint, what, kind, options) for what, kind, options in kinds]
        self._tokenizer, self._processor, self.model = loaded[0], loaded[1], loaded[2].eval()
        token = getattr(self.model.config, "image_token_id", getattr(self.model.config, "image_token_index", None))
        if token is None:
            raise ExportError(
                f"{type(self.model).__name__} does not say which token stands for a picture",
                expected="image_token_id in config.json",
            )
        self.image_token = int(token)

    def ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a text, special tokens in it recognised, none added."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens spelled out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def native(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture at a size that the image processor leaves as it is, so that resampling is nobody's difference.

        Raises:
            ExportError: If there is no such size.
        """
        from PIL import Image

        for _ in range(3):
            height, width = self._seen_size(self.pixels(image))
            if image.shape[:2] == (height, width):
                return image
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC), np.uint8)
        raise ExportError(
            "the image processor leaves no size as it is", got=f"{image.shape[1]}×{image.shape[0]} becomes another"
        )

    def pixels(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        """What the image processor makes of a picture (height, width, 3) uint8 RGB.

        Raises:
            ExportError: If it fails.
        """
        try:
            made = self._processor(images=[image], return_tensors="pt")
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise ExportError(
                "the checkpoint's image processor cannot read a picture",
                expected=f"pixel values of {image.shape} uint8",
                got=f"{type(error).__name__}: {error}",
            ) from error
        return {name: value for name, value in made.items() if name not in _MASKS and hasattr(value, "shape")}

    def _seen_size(self, pixels: Mapping[str, Any]) -> tuple[int, int]:
        if "image_grid_thw" in pixels:
            patch = int(self._processor.patch_size)
            _, rows, columns = (int(count) for count in pixels["image_grid_thw"][0])
            return rows * patch, columns * patch
        shape = pixels["pixel_values"].shape
        return int(shape[-2]), int(shape[-1])

    def see(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (tokens, width) of a picture, as the language half receives them."""
        owner = self.model if hasattr(self.model, "get_image_features") else self.model.model
        taken = self._taken(owner.get_image_features, self.pixels(image))
        with self._torch.inference_mode():
            out = owner.get_image_features(**taken)
        found = getattr(out, "pooler_output", out)
        whole = self._torch.cat(list(found)) if isinstance(found, (tuple, list)) else found
        return np.array(whole.reshape(-1, whole.shape[-1]).float().numpy(), np.float32)

    def logits(
        self, pieces: Sequence[Piece], image: NDArray[np.uint8] | None, answer: Sequence[int]
    ) -> NDArray[np.float32]:
        """Logits (answer, vocabulary) that each token of an answer was to be chosen from, in one pass.

        Args:
            pieces: The prompt as llama.cpp read it.
            image: Its picture, at a native size.
            answer: Token ids.
        """
        torch = self._torch
        ids = [token for piece in pieces for token in self._ids_of(piece)] + list(answer[:-1])
        inputs: dict[str, Any] = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids)).long()}
        if image is not None:
            inputs |= self._repeated(self.pixels(image), sum(piece.embeddings is not None for piece in pieces))
        inputs |= {name: (inputs["input_ids"] == self.image_token).long() for name in _TYPE_COLUMNS}
        with torch.inference_mode():
            out = self.model(**self._taken(self.model.forward, inputs), use_cache=False)
        return np.array(out.logits[0, -len(answer) :].float().numpy(), np.float32)

    def _ids_of(self, piece: Piece) -> Sequence[int]:
        return piece.ids if piece.embeddings is None else [self.image_token] * len(piece.embeddings)

    @staticmethod
    def _repeated(pixels: dict[str, Any], times: int) -> dict[str, Any]:
        """The idefics3 layout of llama.cpp shows an uncut picture twice: as its only tile, and whole."""
        values = pixels["pixel_values"]
        if values.ndim == 5 and values.shape[1] < times:
            return pixels | {"pixel_values": values.repeat(1, times // values.shape[1], 1, 1, 1)}
        return pixels

    @staticmethod
    def _taken(function: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the inputs that a function has a parameter for."""
        known = inspect.signature(function).parameters
        return {name: value for name, value in inputs.items() if name in known}


def _load(checkpoint: Path, what: str, kind: Any, options: dict[str, Any]) -> Any:
    try:
        return kind.from_pretrained(checkpoint, local_files_only=True, **options)
    except Exception as error:  # of any of three libraries
        raise ExportError(
            f"transformers cannot load the {what} of {checkpoint}",
            got=f"{type(error).__name__}: {error}".splitlines()[0],
        ) from error
