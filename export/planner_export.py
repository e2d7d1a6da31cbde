"""Checkpoint → two GGUF files of a chosen type, through a gate. Nothing is written unless it passes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.errors import ExportError, ParityError
from export.gguf_convert import convert
from export.gguf_importance import Importance
from export.gguf_quantize import quantize
from export.gguf_types import best_that_fits, file_type, larger, vision_type
from export.planner_gate import Files, Gate
from export.planner_parity import QUANTIZED_LIMITS, Limits, Parity
from export.staging import staged

MODEL_FILE, MMPROJ_FILE, REPORT_FILE = "planner.gguf", "planner-mmproj.gguf", "planner.json"


@dataclass(frozen=True)
class Wish:
    """Which type, by name or by a target.

    Attributes:
        text: Type of the language half, or None to choose the best that a target allows (q8_0 without one).
        vision: Type of the vision half, or None for the text's, 8 bits at least.
        max_mb: Both files together, in 10⁶ bytes.
        max_memory_mb: What loading them and answering a prompt adds to a process, in 10⁶ bytes.
        calibration: Prompts for an importance matrix, in the format of the evaluation's.
        pre_tokenizer: As `convert`.
        limits: What the quantized files must reach.
    """

    text: str | None = None
    vision: str | None = None
    max_mb: float | None = None
    max_memory_mb: float | None = None
    calibration: Path | None = None
    pre_tokenizer: str | None = None
    limits: Limits = field(default=QUANTIZED_LIMITS)

    def __post_init__(self) -> None:
        """Raises `ExportError` if the wishes contradict each other or name an unknown type."""
        targets = [value for value in (self.max_mb, self.max_memory_mb) if value is not None]
        if self.text is not None and targets:
            raise ExportError("two wishes for the type", expected="--type, or a target", got="both")
        if len(targets) > 1:
            raise ExportError("two targets", expected="--max-mb or --max-memory-mb", got="both")
        if any(value <= 0 for value in targets):
            raise ExportError("the target is no size", expected="megabytes above 0", got=str(targets[0]))
        if file_type(self.text or "q8_0").name == "f32":
            raise ExportError("the language half is never f32", expected="f16 or smaller", got="f32")
        asked = [file_type(name) for name in (self.text, self.vision) if name is not None]
        if self.calibration is None and (missing := [kind.name for kind in asked if kind.needs_importance]):
            raise ExportError(
                f"{missing[0]} needs an importance matrix",
                fix="give prompts with --calibration, or take a type that needs none, such as q2_k",
            )
        if self.calibration is not None and not self.calibration.is_file():
            raise ExportError("no prompts for the calibration", expected="a file", got=str(self.calibration))


class Workshop:
    """Both halves at full precision in a scratch folder, and quantized from there as often as needed."""

    def __init__(self, checkpoint: Path, scratch: Path, stamp: str, wish: Wish) -> None:
        self.full: Files = scratch / "full.gguf", scratch / "full-mmproj.gguf"
        self.importance: Importance = {}
        self._scratch, self._wish = scratch, wish
        convert(checkpoint, *self.full, stamp, vision_type="f32", pre_tokenizer=wish.pre_tokenizer)

    def vision(self, text: str) -> str:
        """Type of the vision half that goes with a type of the text."""
        return self._wish.vision or vision_type(text)

    def make(self, text: str) -> Files:
        """Both halves as a type; made once, kept."""
        made = []
        for source, name, half in zip(self.full, (text, self.vision(text)), ("text", "vision"), strict=True):
            target = self._scratch / f"{half}-{name}.gguf"
            if not target.exists():
                if (half, name) in {("text", "f16"), ("vision", "f32")}:
                    _same(source, target)
                else:
                    quantize(source, target, name, {} if file_type(name).bits > 8.5 else self.importance)
            made.append(target)
        return made[0], made[1]


def export(
    checkpoint: Path,
    out: Path,
    gate: Gate,
    wish: Wish,
    *,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Convert, choose, quantize, judge, write.

    Args:
        checkpoint: Hugging Face folder.
        out: Folder for `planner.gguf`, `planner-mmproj.gguf` and the report `planner.json`; made if needed.
        gate: What the files are judged by.
        wish: Which type.
        facts: More for the report.

    Returns:
        The report, as written.

    Raises:
        ExportError: If the checkpoint, the prompts, the wish or the disk cannot be used.
        ParityError: If the files do not do what the checkpoint does; names the types that would.
    """
    with staged(out, (MODEL_FILE, MMPROJ_FILE, REPORT_FILE)) as scratch:
        shop = Workshop(checkpoint, scratch, gate.stamp, wish)
        parity = {"full": gate.full(shop.full).as_dict()}
        if wish.calibration is not None:
            shop.importance = gate.calibrate(shop.full, wish.calibration)
        chosen, why = _choose(shop, wish, gate)
        parity[chosen] = _judged(gate, shop, wish, chosen).as_dict()
        for source, name in zip(shop.make(chosen), (MODEL_FILE, MMPROJ_FILE), strict=True):
            _same(source, scratch / name)
        report = {
            **gate.describe(),
            "type": chosen,
            "vision_type": shop.vision(chosen),
            "why": why,
            "importance": len(shop.importance),
            "bytes": {name: (scratch / name).stat().st_size for name in (MODEL_FILE, MMPROJ_FILE)},
            "parity": parity,
            **(facts or {}),
        }
        (scratch / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n")
    return report


def _same(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _choose(shop: Workshop, wish: Wish, gate: Gate) -> tuple[str, str]:
    """The type, and why it."""
    if wish.max_mb is None and wish.max_memory_mb is None:
        return (wish.text, "asked for") if wish.text else ("q8_0", "default")

    def size(name: str) -> float:
        return sum(path.stat().st_size for path in shop.make(name)) / 1e6

    if wish.max_mb is not None:
        limit, what, weigh = wish.max_mb, "files", size
    else:
        limit, what, weigh = float(wish.max_memory_mb or 0), "memory", lambda name: gate.memory(shop.make(name))
    chosen, tried = best_that_fits(limit, weigh, what)
    listed = ", ".join(f"{row.name} {row.megabytes:.2f}" for row in tried)
    return chosen, f"the largest type within {limit:g} MB of {what} ({listed})"


def _judged(gate: Gate, shop: Workshop, wish: Wish, chosen: str) -> Parity:
    """The gate's verdict.

    Raises:
        ParityError: If it is no; says which larger type would pass.
    """
    try:
        return gate.quantized(shop.make(chosen), chosen, wish.limits)
    except ParityError as error:
        passing = _first_that_passes(gate, shop, wish, chosen)
        found = f"--type {passing} passes" if passing else "no larger --type passes either"
        if wish.vision is not None:
            found += f" with --vision-type {wish.vision}"
        raise ParityError(
            error.what,
            expected=error.expected,
            got=error.got,
            fix=found + ("" if shop.importance else "; --calibration may let a smaller one pass"),
        ) from error


def _first_that_passes(gate: Gate, shop: Workshop, wish: Wish, chosen: str) -> str | None:
    for name in larger(chosen):
        try:
            gate.quantized(shop.make(name), name, wish.limits)
        except ExportError:
            continue
        return name
    return None
