"""`python -m export planner`: a trained checkpoint to the two GGUF files that the robot loads."""

from __future__ import annotations

import json
import shutil
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from edge.api import RobotApi
from edge.planner.prompt import fingerprint
from export.command import Command
from export.errors import ExportError
from export.gguf_convert import FILE_TYPES, convert, quantize
from export.planner_cases import load_cases
from export.planner_parity import Limits, compare
from export.planner_sides import TorchSide

MODEL_FILE, MMPROJ_FILE, REPORT_FILE = "planner.gguf", "planner-mmproj.gguf", "planner.json"

#: f16 weights and cache leave about 0.5 % of the logits' scale; two logits nearer than that may change places.
F16_LIMITS = Limits(equal=0.98, logits=0.02)
QUANTIZED_LIMITS = Limits(equal=0.95)

_DESCRIPTION = """\
Convert a planner checkpoint (Hugging Face folder, see docs/planner-format.md) with llama.cpp's own converter, quantize
both halves, and compare them with PyTorch on evaluation cases: first f16, where the call must be equal and the logits
close, then the wanted type. Writes planner.gguf, planner-mmproj.gguf and planner.json (the figures). Nothing is written
if the comparison fails; the worst cases are printed and the exit status is 3.

example:
  python -m export planner --checkpoint checkpoints/planner --cases checkpoints/planner/cases.npz --out build/planner
"""


def export_planner(
    api: RobotApi,
    checkpoint: Path,
    cases_file: Path,
    out: Path,
    *,
    file_type: str = "q8_0",
    f16: Limits = F16_LIMITS,
    quantized: Limits = QUANTIZED_LIMITS,
) -> dict[str, Any]:
    """Convert, quantize, compare, write.

    Args:
        api: The robot API that the checkpoint was trained for.
        checkpoint: Hugging Face folder.
        cases_file: Evaluation cases (`export.planner_cases`).
        out: Folder for the three files; made if needed.
        file_type: A key of `FILE_TYPES`.
        f16: What the unquantized files must reach.
        quantized: What the quantized files must reach.

    Returns:
        The report, as written to `planner.json`.

    Raises:
        ExportError: If the checkpoint or the cases cannot be used.
        ParityError: If the files do not do what the checkpoint does.
    """
    if file_type not in FILE_TYPES:
        raise ExportError("unknown quantization", expected=", ".join(FILE_TYPES), got=file_type)
    facts = training_facts(checkpoint, api)
    cases = load_cases(cases_file, api)
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / "full.gguf", Path(scratch) / "full-mmproj.gguf"
        convert(checkpoint, *full, fingerprint(api))
        reference = TorchSide(checkpoint)
        parity = {"f16": compare(api, cases, reference, full, f16, "f16").as_dict()}
        wanted = full
        if file_type != "f16":
            wanted = Path(scratch) / MODEL_FILE, Path(scratch) / MMPROJ_FILE
            for source, target in zip(full, wanted, strict=True):
                quantize(source, target, file_type)
            parity[file_type] = compare(api, cases, reference, wanted, quantized, file_type).as_dict()
        out.mkdir(parents=True, exist_ok=True)
        for source, name in zip(wanted, (MODEL_FILE, MMPROJ_FILE), strict=True):
            shutil.copyfile(source, out / name)
    report = {
        "api_hash": api.hash,
        "type": file_type,
        "image_size": reference.image_size,
        "parameters": sum(weight.numel() for weight in reference.model.parameters()),
        "bytes": {name: (out / name).stat().st_size for name in (MODEL_FILE, MMPROJ_FILE)},
        "parity": parity,
        "training": facts,
    }
    (out / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n")
    return report


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
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="Hugging Face folder")
    parser.add_argument("--cases", type=Path, required=True, metavar="NPZ", help="evaluation cases that training wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.add_argument("--type", choices=sorted(FILE_TYPES), default="q8_0", help="default q8_0; q4_0 loses calls")
    parser.add_argument(
        "--equal",
        type=float,
        default=QUANTIZED_LIMITS.equal,
        metavar="X",
        help="least share of equal calls once quantized",
    )


def _run(arguments: Namespace) -> int:
    from edge.tabletop import API

    quantized = Limits(equal=arguments.equal)
    report = export_planner(
        API, arguments.checkpoint, arguments.cases, arguments.out, file_type=arguments.type, quantized=quantized
    )
    for name, row in report["parity"].items():
        right = "" if row["right"] is None else f", right {row['right']} (PyTorch {row['right_torch']})"
        error = f"logits error {row['logits_error']:.2g} of {row['logits_scale']:.3g}"
        print(f"{name}: {row['equal']}/{row['cases']} calls equal, {error}{right}")
    for name, size in report["bytes"].items():
        print(f"{arguments.out / name}: {size / 1e6:.2f} MB")
    return 0


COMMAND = Command(_DESCRIPTION, _arguments, _run)
