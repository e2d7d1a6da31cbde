"""What an exported planner is judged by: a gate for our robot APIs, or one for any vision-language model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from edge.api import RobotApi
from edge.planner.prompt import fingerprint
from export.errors import ExportError
from export.gguf_checkpoint import open_checkpoint
from export.gguf_importance import Gatherer, Importance
from export.planner_cases import Case, load_cases
from export.planner_memory import measure
from export.planner_parity import FULL_LIMITS, Limits, Parity, compare
from export.planner_sides import LlamaSide, TorchSide
from export.vlm_parity import VlmGate
from export.vlm_prompts import load_prompts

Files = tuple[Path, Path]
"""Text GGUF, vision GGUF."""
#: Side of the picture that the memory of a general model is measured with.
PICTURE = 448


class Gate(Protocol):
    """Judges pairs of GGUF files made from one checkpoint."""

    def full(self, files: Files) -> Parity:
        """Judge unquantized files against PyTorch; raises `ParityError`."""

    def quantized(self, files: Files, name: str, limits: Limits) -> Parity:
        """Judge other files against full precision; raises `ParityError`."""

    def calibrate(self, files: Files, prompts: Path) -> Importance:
        """Run calibration prompts through unquantized files."""

    def memory(self, files: Files) -> float:
        """Megabytes (10⁶ bytes) that loading files and answering a prompt adds to a process."""

    def describe(self) -> dict[str, Any]:
        """What the report says of the model."""

    @property
    def stamp(self) -> str:
        """What the text GGUF carries as the prompt's fingerprint; empty for none."""


class RobotGate:
    """The planner of a robot API: legal calls under the grammar, run as the robot runs them.

    Raises:
        ExportError: If the checkpoint or the cases cannot be used.
    """

    def __init__(self, api: RobotApi, checkpoint: Path, cases: Path, full: Limits = FULL_LIMITS) -> None:
        check_planner(open_checkpoint(checkpoint).config, checkpoint)
        self._api, self._cases, self._limits = api, load_cases(cases, api), full
        self._reference = TorchSide(checkpoint)

    @property
    def stamp(self) -> str:
        """Of the prompt that the robot would give it."""
        return fingerprint(self._api)

    def full(self, files: Files) -> Parity:
        """As `Gate`."""
        return compare(self._api, self._cases, self._reference, files, self._limits, "full precision")

    def quantized(self, files: Files, name: str, limits: Limits) -> Parity:
        """As `Gate`; full precision here is PyTorch's float32."""
        return compare(self._api, self._cases, self._reference, files, limits, name)

    def calibrate(self, files: Files, prompts: Path) -> Importance:
        """As `Gate`; `prompts` is an .npz of cases."""
        return observe(self._api, files, load_cases(prompts, self._api), self._reference.image_size)

    def memory(self, files: Files) -> float:
        """As `Gate`."""
        return measure(files, self._reference.image_size, None)

    def describe(self) -> dict[str, Any]:
        """As `Gate`."""
        return {
            "api_hash": self._api.hash,
            "image_size": self._reference.image_size,
            "parameters": sum(weight.numel() for weight in self._reference.model.parameters()),
        }


class GeneralGate:
    """Any vision-language model: the answers to prompts of one's own.

    Raises:
        ExportError: If the checkpoint or the prompts cannot be used.
    """

    def __init__(
        self, checkpoint: Path, prompts: Path, full: Limits = FULL_LIMITS, *, answer_tokens: int, context: int
    ) -> None:
        self._found = open_checkpoint(checkpoint)
        self._judge = VlmGate(checkpoint, load_prompts(prompts), answer_tokens=answer_tokens, context=context)
        self._context, self._limits = context, full
        self.stamp = ""

    def memory(self, files: Files) -> float:
        """Megabytes that running a pair of files takes; run in a process of its own, which alone dies if it crashes."""
        return measure(files, PICTURE, self._context)

    def full(self, files: Files) -> Parity:
        """As `Gate`."""
        self.memory(files)
        return self._judge.full(files, self._limits)

    def quantized(self, files: Files, name: str, limits: Limits) -> Parity:
        """As `Gate`."""
        self.memory(files)
        return self._judge.quantized(files, name, limits)

    def calibrate(self, files: Files, prompts: Path) -> Importance:
        """As `Gate`; `prompts` is a JSONL as the evaluation's."""
        return self._judge.importance(files, load_prompts(prompts))

    def describe(self) -> dict[str, Any]:
        """As `Gate`."""
        return {"architecture": self._found.architecture, "parameters": self._judge.parameters}


def observe(api: RobotApi, files: Files, cases: Sequence[Case], image_size: int) -> Importance:
    """Run cases and their answers; how much each weight column was used."""
    gatherer = Gatherer()
    with LlamaSide(api, files, image_size, gatherer.callback) as side:
        for case in cases:
            side.write(case)
    return gatherer.result()


def check_planner(config: dict[str, Any], folder: Path) -> None:
    """The rules of docs/planner-format.md that can be checked without weights.

    Raises:
        ExportError: Naming the first thing that the robot could not run, or would get wrong in silence.
    """
    text, vision = config.get("text_config", {}), config["vision_config"]
    if config.get("architectures") != ["Idefics3ForConditionalGeneration"]:
        raise ExportError(
            "not the architecture that the robot's planner runs",
            expected="Idefics3ForConditionalGeneration",
            got=str(config.get("architectures")),
            fix="for other models give --prompts instead of --cases: see docs/planner-export.md",
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
