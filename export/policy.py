"""Checkpoint of the policy → one ONNX graph, checked against PyTorch before it is written."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.tabletop import API
from export.command import Command
from export.errors import ExportError, ParityError
from export.precision import add_arguments, retype, summary

OPSET = 18
CASES = 64
TOLERANCE = 1e-4
"""Largest difference allowed in any joint target (radians, gripper fraction) or in the probability."""

INPUTS = ("front", "wrist", "joints", "call", "goal")
OUTPUTS = ("chunk", "finished")
Inputs = dict[str, NDArray[Any]]


def case(rng: np.random.Generator) -> Inputs:
    """One random input of the contract's shapes and types: any picture, any pose, any call the API can make."""
    calls = list(API.calls())
    return {
        "front": rng.integers(0, 256, (1, 96, 96, 3), dtype=np.uint8),
        "wrist": rng.integers(0, 256, (1, 96, 96, 3), dtype=np.uint8),
        "joints": rng.uniform(-1.5, 1.5, (1, 6)).astype(np.float32),
        "call": API.encode(calls[rng.integers(len(calls))])[None],
        "goal": rng.uniform(-1, 1, (1, 6)).astype(np.float32),
    }


def export(checkpoint: Path, method: str, out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Write `out` and a report beside it.

    Args:
        checkpoint: Directory of `learning.policy`, with `encoder.pt` and the student of `method`.
        method: How the student was trained: distilled, mip, regression; `stage-one` is the encoder's own head.
        out: Path of the ONNX file.
        seed: Of the parity cases.

    Returns:
        The report: method, parameters, parity, what made it.

    Raises:
        ExportError: A checkpoint is missing.
        ParityError: The graph does not do what the network does; nothing is written.
    """
    import onnx
    import torch

    from learning.policy.student import load_student

    wanted = ["encoder.pt"] + ([] if method == "stage-one" else [f"student-{method}.pt"])
    for name in wanted:
        if not (checkpoint / name).exists():
            what = "encoder" if name == "encoder.pt" else f"student --method {method}"
            fix = f"train it: python -m learning.policy {what}"
            raise ExportError(
                f"{checkpoint / name} does not exist", expected="a checkpoint of learning.policy", fix=fix
            )
    student, origin = load_student(checkpoint, method)
    rng = np.random.default_rng(seed)
    example = case(rng)
    program = torch.onnx.export(
        student, tuple(torch.from_numpy(example[name]) for name in INPUTS), input_names=list(INPUTS),
        output_names=list(OUTPUTS), opset_version=OPSET, dynamo=True, verbose=False,
    )  # fmt: skip
    assert program is not None
    model = program.model_proto
    metadata = {
        "api_hash": API.hash,
        "method": method,
        "target_hz": "20",
        "joints": "radians; gripper 0 closed, 1 open",
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_suffix(".making")
    onnx.save(model, aside)
    try:
        worst = compare(student, aside, rng)
    except BaseException:
        aside.unlink()
        raise
    os.replace(aside, out)
    report = {
        "method": method, "evaluations": 2 if method == "mip" else 1, "bytes": out.stat().st_size,
        "parameters": sum(p.numel() for p in student.parameters()),
        "parity": {"cases": CASES, "worst": worst, "tolerance": TOLERANCE}, "training": origin,
    }  # fmt: skip
    out.with_suffix(".json").write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    return report


def compare(student: Any, path: Path, rng: np.random.Generator) -> float:
    """Largest difference between the network and the graph over `CASES` random inputs.

    Raises:
        ParityError: It is over `TOLERANCE`.
    """
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for index in range(CASES):
        inputs = case(rng)
        with torch.no_grad():
            expected = student(*(torch.from_numpy(inputs[name]) for name in INPUTS))
        for name, want, got in zip(OUTPUTS, expected, session.run(list(OUTPUTS), inputs), strict=True):
            error = float(np.abs(want.numpy() - got).max())
            worst = max(worst, error)
            if not error <= TOLERANCE:
                raise ParityError(
                    f"the exported policy disagrees with PyTorch in {name!r}",
                    expected=f"every element within {TOLERANCE:g}",
                    got=f"{error:.3g} in case {index}",
                    fix="try another opset, or report the torch and onnx versions with the checkpoint",
                )
    return worst


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/policy"), help="directory of learning.policy"
    )
    parser.add_argument("--method", default="distilled", help="which student: distilled, mip or regression")
    parser.add_argument("--out", type=Path, default=Path("build/policy/policy.onnx"), help="the ONNX file")
    add_arguments(parser)


def _run(arguments: Namespace) -> int:
    report = export(arguments.checkpoint, arguments.method, arguments.out)
    parity = report["parity"]
    print(
        f"{arguments.out}: {report['bytes'] / 1e6:.1f} MB, {report['evaluations']} network evaluation(s), "
        f"{parity['cases']} cases within {parity['worst']:.1e} of PyTorch (allowed {parity['tolerance']:g})"
    )
    print(summary(retype(arguments)))
    return 0


COMMAND = Command(
    "Export a student of learning.policy to ONNX (opset 18, static batch 1, normalisation inside the graph) and\n"
    "compare it with PyTorch on random inputs.\n\n"
    "  python -m export policy --checkpoint checkpoints/policy --method distilled --out build/policy/policy.onnx",
    _arguments,
    _run,
)
