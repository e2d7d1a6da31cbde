"""`python -m export engine`: a TensorRT engine for the device it is built on, beside the graph it came from."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import PolicyError
from edge.manifest import sha256
from edge.policy.backends.cuda import Cuda
from edge.policy.backends.engines import (
    FORMAT,
    Compiler,
    Device,
    EngineRecord,
    engine_name,
    folders,
    timing_cache_name,
)
from edge.policy.backends.onnx import OnnxBackend
from edge.policy.backends.tensorrt import TensorRtBackend, load_compiler
from export.calibration import random_inputs
from export.command import Command
from export.errors import ExportError, ParityError
from export.graph import metadata, read
from export.precision import TOLERANCES
from export.tensorrt import build

CASES = 32


def make(
    policy: Path,
    folder: Path,
    module: Any,
    compiler: Compiler,
    device: Device,
    *,
    typing: str = "auto",
    workspace_mb: int = 512,
    check: Callable[[Path], str] | None = None,
) -> tuple[Path, EngineRecord, str]:
    """Builds an engine and puts it where the runtime finds it, with its record and the timing cache.

    Args:
        policy: The ONNX file.
        folder: Where to; made if it is missing.
        module: The TensorRT to build with.
        compiler: What that is.
        device: Where the engine will run.
        typing: See `export.tensorrt.typing_for`.
        workspace_mb: What kernels may use.
        check: Runs the engine and says how it went; may raise. Nothing is left of an engine that fails; an older one
            stays as it was.

    Returns:
        The engine, its record, and what `check` said.

    Raises:
        ExportError: The file is no graph, TensorRT cannot build it, or it cannot be written.
        ParityError: It does not do what the graph does.
    """
    model = read(policy)
    cache = folder / timing_cache_name(device, compiler)
    built = build(
        model, module, compiler, device, typing=typing, workspace_mb=workspace_mb,
        timing_cache=cache.read_bytes() if cache.is_file() else b"",
    )  # fmt: skip
    path = folder / engine_name(sha256(policy), device, compiler)
    trial, note = path.with_name(path.name + ".trial"), path.with_name(path.name + ".trial.json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(trial, built.engine)
        if built.timing_cache:
            _write(cache, built.timing_cache)
        record = EngineRecord(
            format=FORMAT,
            model=sha256(policy),
            engine=sha256(trial),
            module=compiler.module,
            version=compiler.version,
            device="" if compiler.portable else device.name,
            sm=device.sm,
            precision=metadata(model).get("precision", "fp32"),
            typing=built.typing,
            layers=built.layers,
            seconds=round(built.seconds, 2),
            bytes=len(built.engine),
        )
        told = check(trial) if check is not None else "not run: no GPU is at hand"
        _write(note, record.to_json().encode())
        path.with_suffix(".json").unlink(missing_ok=True)  # without its record an engine is not found
        os.replace(trial, path)
        os.replace(note, path.with_suffix(".json"))
    except OSError as problem:
        got = f"{problem.strerror} ({problem.filename})"
        raise ExportError(f"cannot write the engine to {folder}", got=got, fix="name another --out") from problem
    finally:
        for left in (trial, note):
            left.unlink(missing_ok=True)
    return path, record, told


def compare(policy: Path, engine: Path, module: Any, compiler: Compiler, cuda: Cuda, precision: str) -> str:
    """Runs an engine beside ONNX Runtime on random inputs.

    Raises:
        ParityError: They differ by more than the tolerance of the precision.
        PolicyError: The engine does not run.
    """
    rng = np.random.default_rng(0)
    reference, backend = OnnxBackend(policy), TensorRtBackend(engine, module, compiler, cuda)
    worst: dict[str, float] = dict.fromkeys(backend.outputs, 0.0)
    try:
        for _ in range(CASES):
            inputs = random_inputs(backend.inputs, rng)
            expected, got = reference.run(inputs), backend.run(inputs)
            for name in worst:
                error = float(np.abs(expected[name].astype(np.float64) - got[name]).max())
                worst[name] = max(worst[name], error) if np.isfinite(error) else np.inf
    finally:
        backend.close()
    told = ", ".join(f"{name} {error:.2g}" for name, error in worst.items())
    limit = TOLERANCES.get(precision, TOLERANCES["int8"])  # of a narrower one than we make, the widest we know
    for name, error in worst.items():
        allowed = max(limit.finished_p99, limit.worst) if name == "finished" else limit.worst
        if not error <= allowed:
            raise ParityError(
                f"the engine disagrees with ONNX Runtime in {name!r}",
                expected=f"every element within {allowed:g}",
                got=f"worst of {CASES} cases: {told}",
                fix="build with --typing strong, or from a graph of wider precision",
            )
    return f"{CASES} cases, worst difference from ONNX Runtime: {told}"


def _write(path: Path, content: bytes) -> None:
    aside = path.with_name(path.name + ".making")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _target(wanted: str | None, compiler: Compiler) -> tuple[Device, Cuda | None]:
    """The device to build for, and CUDA if it is the one at hand."""
    try:
        cuda = Cuda.load()
        here: Device | None = cuda.device()
    except PolicyError as problem:
        here, why = None, problem
    if wanted is None:
        if here is None:
            fix = "run this on the robot; TensorRT-RTX builds for another device: --sm 8.9"
            raise ExportError("no GPU to build the engine for", got=f"{why.what}: {why.got}", fix=fix) from why
        return here, cuda
    match = re.fullmatch(r"(\d+)\.(\d)", wanted)
    if match is None:
        raise ExportError("--sm cannot be used", expected="a compute capability such as 8.9", got=repr(wanted))
    device = Device("", int(match[1]), int(match[2]))
    if not compiler.portable:
        fix = "run this on the robot, without --sm"
        raise ExportError(f"{compiler} builds only for the device it runs on", got=f"--sm {wanted}", fix=fix)
    return device, cuda if here is not None and here.sm == device.sm else None


def _folder(policy: Path, wanted: Path | None) -> Path:
    if wanted is not None:
        return wanted
    beside, cache = folders(policy)
    return beside if os.access(beside if beside.is_dir() else policy.parent, os.W_OK) else cache


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="policy.onnx, of any precision")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: `engines` beside it, else the user's cache")
    parser.add_argument(
        "--compiler", choices=("tensorrt", "tensorrt_rtx"), default="", help="default: what is installed"
    )
    parser.add_argument("--sm", metavar="X.Y", help="TensorRT-RTX: build for this compute capability, GPU or not")
    parser.add_argument("--typing", choices=("auto", "strong", "weak"), default="auto", help="default: by version")
    parser.add_argument("--workspace-mb", type=int, default=512, metavar="MB", help="default: %(default)s")


def _run(arguments: Namespace) -> int:
    precision = metadata(read(arguments.policy)).get("precision", "fp32")
    module, compiler = load_compiler(arguments.compiler)
    device, cuda = _target(arguments.sm, compiler)
    check = None
    if cuda is not None:
        found = cuda
        check = lambda path: compare(arguments.policy, path, module, compiler, found, precision)  # noqa: E731
    path, record, told = make(
        arguments.policy, _folder(arguments.policy, arguments.out), module, compiler, device,
        typing=arguments.typing, workspace_mb=arguments.workspace_mb, check=check,
    )  # fmt: skip
    print(
        f"{path}: {record.bytes / 1e6:.1f} MB, {record.layers} layers, {record.precision}, {record.typing}ly typed, "
        f"{compiler} for {device}, {record.seconds:.1f} s\n{told}"
    )
    return 0


COMMAND = Command(
    "Build a TensorRT engine from an exported policy and compare it with ONNX Runtime. An engine is for one device\n"
    "and one version of TensorRT: run this on the robot. `edge run` and `edge doctor` then find it by themselves.\n"
    "TensorRT-RTX also builds for a compute capability that is not at hand.\n\n"
    "  python -m export engine --policy models/reference/policy.onnx\n"
    "  python -m export engine --policy build/fp16/policy.onnx --compiler tensorrt_rtx --sm 8.9",
    _arguments,
    _run,
)
