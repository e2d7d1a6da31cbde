"""`python -m export planner`: a vision-language checkpoint to the two GGUF files that llama.cpp runs."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from edge.api import RobotApi
from edge.planner.prompt import fingerprint
from export.command import Command
from export.errors import ExportError
from export.gguf_types import FILE_TYPES
from export.planner_export import MMPROJ_FILE, MODEL_FILE, REPORT_FILE, Wish, export
from export.planner_gate import GeneralGate, RobotGate
from export.planner_parity import FULL_LIMITS, QUANTIZED_LIMITS, Limits

__all__ = ["COMMAND", "MMPROJ_FILE", "MODEL_FILE", "REPORT_FILE", "export_planner", "export_vlm", "training_facts"]

_DEFAULT = Wish()

_DESCRIPTION = """\
Convert a vision-language checkpoint (Hugging Face folder) with llama.cpp's own converter, quantize its two halves, and
compare them with PyTorch: tokens, picture embeddings, logits and greedy answers. Writes planner.gguf,
planner-mmproj.gguf and planner.json (the figures). Nothing is written if a comparison fails; the error says which
larger type would pass, and the exit status is 3.

examples:
  a planner of the robot API, which `edge run` runs (docs/planner-format.md):
    python -m export planner --checkpoint checkpoints/planner --cases checkpoints/planner/cases.npz --out build/planner
  any other vision-language model (docs/planner-export.md):
    python -m export planner --checkpoint ~/SmolVLM-256M --prompts mine.jsonl --max-mb 200 --out build/smolvlm
"""


def export_planner(
    api: RobotApi,
    checkpoint: Path,
    cases_file: Path,
    out: Path,
    *,
    wish: Wish = _DEFAULT,
    full: Limits = FULL_LIMITS,
) -> dict[str, Any]:
    """Export the planner of a robot API.

    Args:
        api: The robot API that the checkpoint was trained for.
        checkpoint: Hugging Face folder.
        cases_file: Evaluation cases (`export.planner_cases`).
        out: Folder for the three files; made if needed.
        wish: Which type.
        full: What the unquantized files must reach.

    Returns:
        The report, as written to `planner.json`.

    Raises:
        ExportError: If the checkpoint or the cases cannot be used.
        ParityError: If the files do not do what the checkpoint does.
    """
    facts = training_facts(checkpoint, api)
    gate = RobotGate(api, checkpoint, cases_file, full)
    return export(checkpoint, out, gate, wish, facts={"training": facts})


def export_vlm(
    checkpoint: Path,
    prompts: Path,
    out: Path,
    *,
    wish: Wish = _DEFAULT,
    answer_tokens: int = 32,
    context: int = 2048,
    full: Limits = FULL_LIMITS,
) -> dict[str, Any]:
    """Export any vision-language model that llama.cpp's converter takes.

    Args:
        checkpoint: Hugging Face folder, with tokenizer and image processor.
        prompts: Evaluation prompts (`export.vlm_prompts`).
        out: Folder for the three files; made if needed.
        wish: Which type.
        answer_tokens: Tokens that each prompt is answered with, at most.
        context: Positions of a prompt and its answer.
        full: What the unquantized files must reach.

    Returns:
        The report, as written to `planner.json`.

    Raises:
        ExportError: If the checkpoint or the prompts cannot be used.
        ParityError: If the files do not do what the checkpoint does.
    """
    gate = GeneralGate(checkpoint, prompts, full, answer_tokens=answer_tokens, context=context)
    return export(checkpoint, out, gate, wish)


def training_facts(checkpoint: Path, api: RobotApi) -> dict[str, Any]:
    """What `training.json` says of a checkpoint; empty if there is none.

    Raises:
        ExportError: If it was trained for another API, or on another prompt than the robot would give it.
    """
    path = checkpoint / "training.json"
    if not path.is_file():
        return {}
    facts: dict[str, Any] = json.loads(path.read_text())
    for name, ours in (("api_hash", api.hash), ("prompt", fingerprint(api))):
        if facts.get(name, ours) != ours:
            raise ExportError(
                f"the checkpoint was trained with another {name}",
                expected=ours,
                got=str(facts[name]),
                fix="retrain it, or export it from the commit that trained it",
            )
    return facts


def _arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, metavar="DIR", help="Hugging Face folder")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--cases", type=Path, metavar="NPZ", help="evaluation cases of the robot API, as training wrote")
    asked.add_argument("--prompts", type=Path, metavar="JSONL", help="evaluation prompts of any other model")
    add("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    add("--type", metavar="TYPE", help=f"of the language half: {', '.join(list(FILE_TYPES)[1:])} (default q8_0)")
    add("--vision-type", metavar="TYPE", help="of the vision half (default as the text, q8_0 at least)")
    add("--max-mb", type=float, metavar="MB", help="the best type with which both files together stay below")
    add("--max-memory-mb", type=float, metavar="MB", help="the same for what a process grows by when it runs them")
    add("--calibration", type=Path, metavar="FILE", help="prompts for an importance matrix, of the evaluation's format")
    add("--equal", type=float, default=QUANTIZED_LIMITS.equal, metavar="X", help="least share of equal answers (0.99)")
    add("--pre-tokenizer", metavar="NAME", help="llama.cpp's name of how the tokenizer cuts text, if not recognised")
    add("--answer-tokens", type=int, default=32, metavar="N", help="of each answer, with --prompts (default 32)")
    add(
        "--context",
        type=int,
        default=2048,
        metavar="N",
        help="of a prompt and its answer (default 2048)",
    )


def _run(arguments: Namespace) -> int:
    wish = Wish(
        arguments.type,
        arguments.vision_type,
        arguments.max_mb,
        arguments.max_memory_mb,
        arguments.calibration,
        arguments.pre_tokenizer,
        Limits(equal=arguments.equal),
    )
    if arguments.cases is not None:
        from edge.tabletop import API

        report = export_planner(API, arguments.checkpoint, arguments.cases, arguments.out, wish=wish)
    else:
        report = export_vlm(
            arguments.checkpoint,
            arguments.prompts,
            arguments.out,
            wish=wish,
            answer_tokens=arguments.answer_tokens,
            context=arguments.context,
        )
    _show(report, arguments.out)
    return 0


def _show(report: dict[str, Any], out: Path) -> None:
    matrix = f", importance matrix of {report['importance']} tensors" if report["importance"] else ""
    print(f"text {report['type']}, vision {report['vision_type']}: {report['why']}{matrix}")
    for name, row in report["parity"].items():
        right = "" if row["right"] is None else f", right {row['right']} (PyTorch {row['right_torch']})"
        print(
            f"{name}: {row['equal']}/{row['cases']} calls equal, logits error {row['logits_error']:.2g} of "
            f"{row['logits_scale']:.3g}, KL {row['kl']:.2g}, embeddings {row['embedding_error']:.2g}{right}"
        )
    for name, size in report["bytes"].items():
        print(f"{out / name}: {size / 1e6:.2f} MB")


COMMAND = Command(_DESCRIPTION, _arguments, _run)
