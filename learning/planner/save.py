"""Writes the planner as docs/planner-format.md asks, and the cases that the export's parity gate runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from edge.api import Call
from edge.planner.prompt import fingerprint
from edge.tabletop import API
from learning.planner.decide import Situation
from learning.planner.model import IMAGE_SIZE


def save_planner(
    folder: Path, model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, facts: dict[str, object]
) -> None:
    """A Hugging Face folder; `facts` (seed, steps …) go to `training.json`, with what it was trained for."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.text_config.architectures = ["LlamaForCausalLM"]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"longest_edge": IMAGE_SIZE},
        "max_image_size": {"longest_edge": IMAGE_SIZE},
        "image_processor_type": "Idefics3ImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")
    trained_for = {"api_hash": API.hash, "prompt": fingerprint(API)}  # the export compares both with the robot's
    (folder / "training.json").write_text(json.dumps({**trained_for, **facts}, indent=2) + "\n")


def load_planner(folder: Path) -> tuple[Idefics3ForConditionalGeneration, PreTrainedTokenizerFast]:
    """What `save_planner` wrote, in evaluation mode.

    Raises:
        OSError: The folder is no checkpoint.
    """
    model = Idefics3ForConditionalGeneration.from_pretrained(folder)
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder)


@dataclass(frozen=True)
class Asked:
    """A situation and its right answer."""

    situation: Situation
    call: Call


def save_cases(path: Path, cases: Sequence[Asked]) -> None:
    """Write what `python -m export planner` reads.

    images uint8 (n, 192, 192, 3), tasks, transcripts (lines joined by newlines), calls.
    """
    rows = [case.situation for case in cases]
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            images=np.stack([row.image for row in rows]),
            tasks=np.array([row.task for row in rows]),
            transcripts=np.array(["\n".join(API.format_entry(entry) for entry in row.transcript) for row in rows]),
            calls=np.array([API.format(case.call) for case in cases]),
        )
