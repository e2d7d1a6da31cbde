"""`python -m export bundle | verify | inspect`: one directory that a robot runs, and what it says of itself."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from edge.api import RobotApi
from edge.arm import SO101, load_description
from edge.errors import BundleError
from edge.manifest import (
    FORMAT,
    MANIFEST,
    Bundle,
    Images,
    Manifest,
    MonitorNumbers,
    Origin,
    PlannerPart,
    PolicyPart,
    Rates,
    Tensor,
    load,
    sha256,
)
from edge.policy.backends import Signature, open_backend
from edge.policy.policy import Policy
from edge.records import unknown_key
from export.command import Command
from export.graph_metadata import Said, read_graph

TARGET_HZ = 20.0
PLANNER_IMAGE = 192
PLANNER_FILES = ("planner.gguf", "planner-mmproj.gguf")
#: The field's names for what goes in and out (design.md, "Bundle").
KINDS = {
    "front": "state/camera/image",
    "wrist": "state/camera/image",
    "joints": "state/joint/position",
    "call": "command/subtask/call",
    "goal": "command/subtask/pose",
    "chunk": "command/joint/position",
    "finished": "state/subtask/finished",
}
_RECORDED = ("numpy", "torch", "transformers", "onnx", "onnxruntime", "llama-cpp-python", "mujoco")


def build(
    api: RobotApi,
    policy: Path,
    out: Path,
    *,
    planner: Path | None = None,
    robot: Path = SO101,
    monitor: MonitorNumbers | None = None,
    pace: Mapping[str, int] | None = None,
    results: Mapping[str, Any] | None = None,
    command: str = "",
    seed: int | None = None,
) -> Bundle:
    """Puts a bundle together beside `out`, checks it, and renames it into place: there is never half a bundle.

    Args:
        api: The robot API both parts were trained for.
        policy: The policy graph; a `.json` of the same name beside it is its export report.
        out: Directory to make or replace.
        planner: Directory that `python -m export planner` wrote, or None for a policy without a planner.
        robot: Arm description.
        monitor: How the end of a subtask is read; the defaults fit the reference arm.
        pace: `replan_every` and `lead`, where they differ from the defaults.
        results: How well it did, as an evaluation wrote it.
        command: What reproduces the parts.
        seed: Seed of their training.

    Raises:
        BundleError: A file is missing, or was exported for another API.
        PolicyError: The graph does not follow the contract of docs/architecture.md.
    """
    sources = {"policy.onnx": policy}
    if planner is not None:
        sources.update({name: planner / name for name in PLANNER_FILES})
    for name, source in sources.items():
        if not source.is_file():
            fix = "run `python -m export policy` and `python -m export planner` first"
            raise BundleError(f"no {name} for the bundle", expected=str(source), got="no such file", fix=fix)
    reports = {"policy": _report(policy.with_suffix(".json"), api)}
    if planner is not None:
        reports["planner"] = _report(planner / "planner.json", api)
    arm = load_description(robot)
    backend = open_backend(policy, 1, "onnx")
    horizon = backend.outputs["chunk"][1][1] if "chunk" in backend.outputs else 0
    said = read_graph(policy)
    rates = Rates(horizon=horizon, **{"target_hz": TARGET_HZ, **said.pace, **dict(pace or {})})
    ours = backend.inputs.keys() & {"front", "wrist", "call"} == {"front", "wrist", "call"}
    images = Images(
        backend.inputs["front"][1][1] if ours else None,
        int(reports.get("planner", {}).get("image_size", PLANNER_IMAGE)),
    )
    Policy(backend, rates, images)  # refuses a graph that breaks the contract
    manifest = Manifest(
        format=FORMAT,
        api_hash=api.hash,
        robot=arm.name,
        joints=tuple(joint.name for joint in arm.joints),
        units=tuple("fraction" if joint.normalised else "rad" for joint in arm.joints),
        rates=rates,
        images=images,
        policy=PolicyPart(
            "policy.onnx", _tensors(backend.inputs, said), _tensors(backend.outputs, said), said.precision
        ),
        files={name: sha256(source) for name, source in sources.items()},
        made_by=Origin(command, seed, _versions(), {name: report for name, report in reports.items() if report}),
        planner=None if planner is None else PlannerPart(*PLANNER_FILES),
        monitor=monitor or MonitorNumbers(),
        ready=arm.ready,
        results=dict(results or {}),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name, source in sources.items():
            shutil.copyfile(source, aside / name)
        (aside / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        load(aside).verify()
        aside.chmod(0o755)
        _replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return load(out)


def verify(api: RobotApi, path: Path, robot: Path = SO101) -> Bundle:
    """Checks a bundle as the robot does before it moves: checksums, API, joints, and that the policy graph loads.

    Raises:
        BundleError, PolicyError: What is wrong, and the remedy.
    """
    bundle = load(path)
    bundle.verify()
    arm = load_description(robot)
    bundle.check_fits(api_hash=api.hash, robot=arm.name, joints=tuple(joint.name for joint in arm.joints))
    Policy.load(bundle, api)
    return bundle


def _replace(aside: Path, out: Path) -> None:
    """Renames `aside` to `out`; what was there is kept until the new one stands."""
    if not out.exists():
        os.rename(aside, out)
        return
    if not (out / MANIFEST).is_file() and any(out.iterdir()):
        raise BundleError(
            f"{out} is not a bundle", expected="an old bundle, an empty or no directory", fix="use another --out"
        )
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    os.rename(out, old / "was")
    try:
        os.rename(aside, out)
    except OSError:
        os.rename(old / "was", out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _tensors(signature: Signature, said: Said) -> tuple[Tensor, ...]:
    """The tensors of a graph with what its metadata says of them."""
    kinds = KINDS | said.kinds
    return tuple(
        Tensor(name, dtype, shape, kinds.get(name, ""), said.units.get(name, ""), said.scaled.get(name, ""))
        for name, (dtype, shape) in signature.items()
    )


def _report(path: Path, api: RobotApi) -> dict[str, Any]:
    if not path.is_file():
        return {}
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    made_for = report.get("api_hash", api.hash)
    if made_for != api.hash:
        fix = "train and export it again with this API"
        raise BundleError(f"{path} was exported for another robot API", expected=api.hash, got=str(made_for), fix=fix)
    return report


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _monitor(settings: list[str]) -> MonitorNumbers:
    known = asdict(MonitorNumbers())
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in known:
            raise unknown_key(key, known, "--monitor", BundleError)
        try:
            known[key] = type(known[key])(value)
        except ValueError as problem:
            raise BundleError(f"--monitor {key} cannot be used", expected="a number", got=repr(value)) from problem
    return MonitorNumbers(**known)


def _api() -> RobotApi:
    from edge.tabletop import API

    return API


def _bundle_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="policy.onnx from `python -m export policy`"
    )
    parser.add_argument(
        "--planner", type=Path, metavar="DIR", help="what `python -m export planner` wrote; leave out for none"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle, e.g. models/reference")
    parser.add_argument("--results", type=Path, metavar="JSON", help="how well it did, to travel with it")
    parser.add_argument("--made-by", default="", metavar="TEXT", help="the commands that reproduce the parts")
    parser.add_argument("--seed", type=int, help="seed of the training")
    parser.add_argument("--replan-every", type=int, metavar="N", help="targets until the next chunk (default: 8)")
    parser.add_argument("--lead", type=int, metavar="N", help="targets by which the arm is sent ahead (default: 2)")
    parser.add_argument("--monitor", action="append", default=[], metavar="KEY=NUMBER", help="e.g. held_above=0.155")


def _run_bundle(arguments: Namespace) -> int:
    results = {}
    if arguments.results is not None:
        try:
            results = json.loads(arguments.results.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as problem:
            raise BundleError(
                f"cannot read {arguments.results}", expected="a JSON object", got=str(problem)
            ) from problem
    command = arguments.made_by or shlex.join(["python", "-m", "export", *sys.argv[1:]])
    bundle = build(
        _api(),
        arguments.policy,
        arguments.out,
        planner=arguments.planner,
        monitor=_monitor(arguments.monitor),
        pace={k: v for k in ("replan_every", "lead") if (v := getattr(arguments, k)) is not None},
        results=results,
        command=command,
        seed=arguments.seed,
    )
    size = sum(bundle.file(name).stat().st_size for name in bundle.manifest.files)
    print(
        f"{bundle.path}: {len(bundle.manifest.files)} files, {size / 1e6:.1f} MB, api {bundle.manifest.api_hash[:12]}"
    )
    return 0


def _path_argument(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="DIR", help="the bundle, e.g. models/reference")


def _run_verify(arguments: Namespace) -> int:
    bundle = verify(_api(), arguments.bundle)
    print(f"{bundle.path}: {len(bundle.manifest.files)} files as made; API, joints and policy graph fit")
    return 0


def _run_inspect(arguments: Namespace) -> int:
    from export.bundle_table import show

    show(load(arguments.bundle))
    return 0


BUNDLE = Command(
    """\
Put the exported planner and policy into one directory with a manifest: robot API hash, joints, units, rates, shapes,
checksums, what made it and how well it did. It is written aside and renamed, so there is never half a bundle.

example:
  python -m export bundle --planner build/planner --policy build/policy/policy.onnx --out models/reference
""",
    _bundle_arguments,
    _run_bundle,
)
VERIFY = Command(
    "Check a bundle as the robot does before it moves: checksums, robot API, joints, and that the policy graph loads.",
    _path_argument,
    _run_verify,
)
INSPECT = Command("Show what a bundle holds, what made it and how well it did.", _path_argument, _run_inspect)
