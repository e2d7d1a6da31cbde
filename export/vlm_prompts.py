"""Evaluation and calibration prompts for any vision-language model: a JSONL file, one prompt a line.

    {"prompt": "<|im_start|>user\\n<image>What now?<|im_end|>\\n<|im_start|>assistant\\n", "image": "table.png"}

`prompt` is the whole text that the model reads, special tokens spelled out as its chat template does; `<image>` stands
where the picture goes, in front of everything if it stands nowhere. `image` is a path, relative to the file's own
folder; a line without one is a prompt without a picture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from export.llama_vlm import MARKER


@dataclass(frozen=True)
class Prompt:
    """What a model is asked: the text, with `MARKER` once if there is an image (height, width, 3) uint8 RGB."""

    text: str
    image: NDArray[np.uint8] | None = None


def load_prompts(path: Path) -> list[Prompt]:
    """Read prompts.

    Raises:
        ExportError: If the file is missing, holds no prompt, or a line or picture cannot be read; names the line.
    """
    if not path.is_file():
        raise ExportError("no prompts", expected="a JSONL file of prompt and image", got=str(path))
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # JSON may hold U+2028, at which splitlines breaks
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(
            f"{path.name} cannot be read", expected="text, one JSON object a line", got=str(error)
        ) from error
    prompts = [_prompt(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise ExportError(f"{path.name} holds no prompts", expected='lines such as {"prompt": "…", "image": "a.png"}')
    return prompts


def _prompt(path: Path, number: int, line: str) -> Prompt:
    where = f"{path.name}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ExportError(f"{where} is no JSON", got=str(error)) from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str) or set(row) - {"prompt", "image"}:
        raise ExportError(f"{where}", expected='{"prompt": text, "image": path} and nothing else', got=line[:80])
    text, name = row["prompt"], row.get("image")
    if name is None:
        if MARKER in text:
            raise ExportError(f"{where} has no image", expected=f"a path for the {MARKER} in the prompt")
        return Prompt(text)
    if text.count(MARKER) > 1:
        raise ExportError(f"{where}", expected=f"one {MARKER}", got=str(text.count(MARKER)))
    return Prompt(text if MARKER in text else MARKER + text, _picture(path.parent / str(name), where))


def _picture(path: Path, where: str) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise ExportError(f"{where}: the image cannot be read", expected="a picture", got=f"{path}: {error}") from error
