"""A policy's checkpoint → one ONNX graph, checked against PyTorch before it is written."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.arm import SO101
from edge.tabletop import API
from export.command import Command
from export.errors import ExportError, ParityError
from export.precision import add_arguments, retype, summary
from export.source import Source
from export.staging import staged_graph

if TYPE_CHECKING:
    from onnx import ModelProto

CASES = 64
TOLERANCE = 1e-4
"""Largest difference allowed in any joint target (radians, gripper fraction) or in the probability."""

Convert = Callable[["ModelProto"], "ModelProto"]
"""A step from the fp32 graph to the graph that is written, for example to another precision."""


def export(checkpoint: Path, method: str, out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Exports a student of `learning.policy`; see `write`.

    Args:
        checkpoint: Directory of `learning.policy`, with `encoder.pt` and the student of `method`.
        method: How the student was trained; `stage-one` is the encoder's own head.
        out: Path of the ONNX file.
        seed: Of the parity cases.
    """
    from export.ours import open_student

    return write(open_student(checkpoint, method), out, seed=seed)


def write(
    source: Source, out: Path, *, seed: int = 0, cases: int = CASES, convert: Convert | None = None
) -> dict[str, Any]:
    """Writes `out` and a report beside it, both or neither.

    Args:
        source: The policy.
        out: Path of the ONNX file.
        seed: Of the parity cases.
        cases: How many of them.
        convert: What is done to the fp32 graph before it is checked.

    Returns:
        The report: what it is, parameters, parity, pace, what made it.

    Raises:
        ExportError: The file cannot be written.
        ParityError: The graph does not do what the network does; nothing is written.
    """
    with staged_graph(out) as draft:
        return _write(source, draft, seed=seed, cases=cases, convert=convert)


def _write(
    source: Source, out: Path, *, seed: int = 0, cases: int = CASES, convert: Convert | None = None
) -> dict[str, Any]:
    import onnx

    model = source.graph()
    if convert is not None:
        model = convert(model)
    onnx.helper.set_model_props(model, metadata(source))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, out, "protobuf")
    worst = compare(source, out, np.random.default_rng(seed), cases)
    report = {
        "method": source.name, "evaluations": source.evaluations, "bytes": out.stat().st_size,
        "parameters": source.parameters, "parity": {"cases": cases, "worst": worst, "tolerance": TOLERANCE},
        "pace": vars(source.pace), "training": source.training,
    }  # fmt: skip
    out.with_suffix(".json").write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    return report


def metadata(source: Source) -> dict[str, str]:
    """What travels in the graph itself: names, kinds, shapes, units, normalisation, pace, robot API."""
    from export.source import JOINT_UNIT

    def ports(rows: tuple[Any, ...]) -> str:
        return json.dumps([vars(port) for port in rows])

    pace = source.pace
    return {
        "api_hash": API.hash,
        "method": source.name,
        "target_hz": f"{pace.target_hz:g}",
        "replan_every": str(pace.replan_every),
        "lead": str(pace.lead),
        "joints": JOINT_UNIT,
        "inputs": ports(source.inputs),
        "outputs": ports(source.outputs),
    }


def compare(source: Source, path: Path, rng: np.random.Generator, cases: int = CASES) -> float:
    """Largest difference between the network and the graph over random inputs.

    Raises:
        ParityError: It is over `TOLERANCE`, or the graph has other inputs or outputs.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for what, ports, nodes in (
        ("inputs", source.inputs, session.get_inputs()), ("outputs", source.outputs, session.get_outputs())
    ):  # fmt: skip
        wanted = [(port.name, list(port.shape)) for port in ports]
        found = [(node.name, node.shape) for node in nodes]
        if sorted(wanted) != sorted(found):
            raise ParityError(f"the exported policy has other {what}", expected=str(wanted), got=str(found))
    names, outputs = [port.name for port in source.inputs], [port.name for port in source.outputs]
    worst = 0.0
    for index in range(cases):
        inputs = source.case(rng)
        with torch.no_grad():
            expected = source.reference(*(torch.from_numpy(inputs[name]) for name in names))
        for name, want, got in zip(outputs, expected, session.run(outputs, inputs), strict=True):
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


def open_source(arguments: Namespace) -> Source:
    """The policy that the command line names.

    Raises:
        ExportError: There is none, or it cannot be exported.
    """
    from export.lerobot.settings import is_lerobot

    checkpoint: Path = arguments.checkpoint
    if not checkpoint.is_dir():
        fix = "name the directory that learning.policy or LeRobot wrote"
        raise ExportError(f"no checkpoint at {checkpoint}", expected="a directory", got="none", fix=fix)
    if is_lerobot(checkpoint):
        from export.lerobot.checkpoint import Options, open_lerobot

        if arguments.method is not None:
            fix = "leave --method out"
            raise ExportError("--method is of our own checkpoints", got=f"a LeRobot checkpoint, {checkpoint}", fix=fix)
        return open_lerobot(
            checkpoint,
            Options(
                arguments.joint_units,
                arguments.hz,
                arguments.calibration,
                arguments.arm,
                arguments.sampler,
                arguments.steps,
                arguments.noise,
                arguments.seed,
                tuple(arguments.ignore_setting),
            ),
        )
    from export.ours import open_student, open_teacher

    if arguments.method == "teacher":
        return open_teacher(checkpoint, arguments.sampler, arguments.steps, arguments.noise, arguments.seed)
    return open_student(checkpoint, arguments.method or "distilled", arguments.steps, arguments.noise, arguments.seed)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/policy"), help="directory of learning.policy or of LeRobot"
    )
    parser.add_argument("--method", help="of ours: distilled (default), onedp, consistency, mip, regression, teacher")
    parser.add_argument("--out", type=Path, default=Path("build/policy/policy.onnx"), help="the ONNX file")
    diffusion = parser.add_argument_group("diffusion policies, our teacher and its consistency student")
    diffusion.add_argument("--sampler", choices=("ddim", "ddpm"), default="ddim", help="unrolled into the graph")
    diffusion.add_argument(
        "--steps", type=int, metavar="K", help="evaluations (default: 10 of ddim, all of ddpm, 1 of consistency)"
    )
    diffusion.add_argument(
        "--noise", choices=("fixed", "zero", "input"), default="fixed",
        help="one draw kept in the graph, none, or an input for comparisons, which no robot feeds",
    )  # fmt: skip
    diffusion.add_argument("--seed", type=int, default=0, help="of the fixed noise (default: 0)")
    lerobot = parser.add_argument_group("LeRobot checkpoints")
    lerobot.add_argument("--joint-units", choices=("degrees", "range", "radians"), help="of the training data")
    lerobot.add_argument("--calibration", type=Path, metavar="FILE", help="LeRobot's, of the arm: range needs it")
    lerobot.add_argument("--hz", type=float, metavar="N", help="frames a second of the training data")
    lerobot.add_argument("--arm", type=Path, default=SO101, metavar="FILE", help="description (default: the SO-101)")
    lerobot.add_argument(
        "--ignore-setting", action="append", default=[], metavar="NAME",
        help="an unknown setting that makes no difference to what the policy does",
    )  # fmt: skip
    add_arguments(parser)


def _run(arguments: Namespace) -> int:
    source = open_source(arguments)
    with staged_graph(arguments.out) as draft:
        report = _write(source, draft)
        typed = retype(draft, draft, arguments)
    parity = report["parity"]
    print(
        f"{arguments.out}: {source.name}, {report['bytes'] / 1e6:.1f} MB, {report['evaluations']} network "
        f"evaluation(s), {parity['cases']} cases within {parity['worst']:.1e} of PyTorch "
        f"(allowed {parity['tolerance']:g})"
    )
    pace = source.pace
    print(f"takes     {', '.join(f'{port.name} {list(port.shape)}' for port in source.inputs)}")
    print(f"gives     {pace.target_hz:g} targets a second, the next chunk after {pace.replan_every}")
    for note in source.notes:
        print(f"note      {note}")
    print(summary(typed))
    return 0


COMMAND = Command(
    "Export a policy to one ONNX graph (opset 18, static batch 1, units and normalisation inside) and compare it with\n"
    "PyTorch on random inputs. A diffusion policy's sampler is unrolled into the graph.\n\n"
    "  python -m export policy --checkpoint checkpoints/policy --method distilled --out build/policy/policy.onnx\n"
    "  python -m export policy --method teacher --sampler ddim --steps 10 --out build/teacher/policy.onnx\n"
    "  python -m export policy --checkpoint pretrained_model --joint-units degrees --hz 30 --out build/lr/policy.onnx",
    _arguments,
    _run,
)
