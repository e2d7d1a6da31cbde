"""Hugging Face checkpoint → GGUF, through llama.cpp's own converter in this process, and its quantizer."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from edge.planner.native import last_log, libraries
from edge.planner.prompt import STAMP_KEY
from export.errors import ExportError

#: `--type` to llama.cpp's file type (`enum llama_ftype`).
FILE_TYPES = {"f16": 1, "q4_0": 2, "q8_0": 7}


def check_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint's configuration, after the checks of `docs/planner-format.md` that can be made without weights.

    Raises:
        ExportError: Naming the first thing that llama.cpp would refuse, or would get wrong in silence.
    """
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise ExportError(f"no {name} in {folder}", expected="a Hugging Face checkpoint of the planner")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    text, vision = config.get("text_config", {}), config.get("vision_config", {})
    if config.get("architectures") != ["Idefics3ForConditionalGeneration"]:
        raise ExportError(
            "not the planner's architecture",
            expected="Idefics3ForConditionalGeneration",
            got=str(config.get("architectures")),
        )
    if text.get("architectures") != ["LlamaForCausalLM"]:
        raise ExportError(
            "the text half has no architecture",
            expected='text_config.architectures = ["LlamaForCausalLM"]',
            got=str(text.get("architectures")),
            fix="set it in the Idefics3Config before save_pretrained",
        )
    if vision["intermediate_size"] == vision["hidden_size"]:
        raise ExportError(
            "vision MLP as wide as the model",
            fix="llama.cpp would swap its two matrices: choose another intermediate_size",
        )
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    for name in ("image_mean", "image_std"):
        if preprocessor.get(name) != [0.5, 0.5, 0.5]:
            raise ExportError(f"{name} of the images", expected="[0.5, 0.5, 0.5]", got=str(preprocessor.get(name)))
    rows = {
        "text hidden_size": text["hidden_size"],
        "text intermediate_size": text["intermediate_size"],
        "vision hidden_size": vision["hidden_size"],
        "vision intermediate_size": vision["intermediate_size"],
    }
    for name, size in rows.items():
        if size % 32:
            raise ExportError(f"{name} cannot be quantized", expected="a multiple of 32", got=str(size))
    return config


def convert(folder: Path, text_out: Path, vision_out: Path, stamp: str) -> None:
    """Write both halves as f16 GGUF (norms, biases and position embeddings stay f32).

    Args:
        folder: Hugging Face checkpoint.
        text_out: Where the language half goes.
        vision_out: Where the vision half goes.
        stamp: `prompt.fingerprint` of the prompt that it was trained on; the robot refuses another.

    Raises:
        ExportError: If the checkpoint is not one that llama.cpp would run correctly.
    """
    check_checkpoint(folder)
    for out, vision in ((text_out, False), (vision_out, True)):
        try:
            _convert(folder, out, stamp, vision=vision)
        except (NotImplementedError, KeyError, ValueError, TypeError) as error:
            raise ExportError(
                f"llama.cpp's converter refused {folder}", got=f"{type(error).__name__}: {error}"
            ) from error


def _convert(folder: Path, out: Path, stamp: str, *, vision: bool) -> None:
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
    from gguf import LlamaFileType

    with torch.inference_mode(), _smollm_pretokenizer(), _quiet():
        hparams = ModelBase.load_hparams(folder, False)
        kind = ModelType.MMPROJ if vision else ModelType.TEXT
        model_class = get_model_class(get_model_architecture(hparams, kind), mmproj=vision)
        model = model_class(folder, LlamaFileType.MOSTLY_F16, out, eager=True)
        model.gguf_writer.add_string(STAMP_KEY, stamp)
        model.write()


@contextmanager
def _smollm_pretokenizer() -> Iterator[None]:
    """The converter knows tokenizers by a hash of their ids; ours is retrained: tell it how ours is built."""
    from conversion.base import TextModel

    original = TextModel.get_vocab_base_pre
    TextModel.get_vocab_base_pre = lambda self, tokenizer: "smollm"
    try:
        yield
    finally:
        TextModel.get_vocab_base_pre = original


@contextmanager
def _quiet() -> Iterator[None]:
    """The converter logs every tensor and draws progress bars; keep its warnings only."""
    loggers = [logging.getLogger(name) for name in ("hf-to-gguf", "gguf.gguf_writer", "gguf")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def quantize(source: Path, out: Path, file_type: str) -> None:
    """Quantize one GGUF with `llama_model_quantize`.

    Raises:
        ExportError: If the type is unknown or llama.cpp fails.
    """
    if file_type not in FILE_TYPES:
        raise ExportError("unknown quantization", expected=", ".join(FILE_TYPES), got=file_type)
    llama, _ = libraries()
    params = llama.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[file_type]
    params.nthread = 1
    status = llama.llama_model_quantize(str(source).encode(), str(out).encode(), params)
    if status != 0 or not out.is_file():
        raise ExportError(f"llama.cpp could not quantize {source.name} to {file_type}", got=last_log())
