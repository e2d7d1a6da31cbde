"""A bundle put together: one directory that a robot runs, whole or not there at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
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
    check_ranges,
    load,
    sha256,
)
from edge.policy.backends import Signature, open_backend
from edge.policy.policy import Policy
from export.graph_metadata import Said, read_graph
from export.staging import flush, swap_in

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
        BundleError: A file is missing, or was exported for another API; a number is out of range; or the disk is full.
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
    if "call" in backend.inputs:  # one without calls does not depend on what the API's tokens mean
        _same_api(policy, said.api_hash or api.hash, api)
    rates = Rates(horizon=horizon, **{"target_hz": TARGET_HZ, **said.pace, **dict(pace or {})})
    ours = backend.inputs.keys() & {"front", "wrist", "call"} == {"front", "wrist", "call"}
    images = Images(
        backend.inputs["front"][1][1] if ours else None,
        int(reports.get("planner", {}).get("image_size", PLANNER_IMAGE)),
    )
    Policy(backend, rates, images)  # refuses a graph that breaks the contract
    check_ranges(rates, monitor or MonitorNumbers(), "the bundle")
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
    _write(sources, manifest, out)
    return load(out)


def _write(sources: Mapping[str, Path], manifest: Manifest, out: Path) -> None:
    """Copies beside `out`, checks, flushes to the disk, renames."""
    aside: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        for name, source in sources.items():
            shutil.copyfile(source, aside / name)
        (aside / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        load(aside).verify()
        for path in aside.iterdir():
            flush(path)
        aside.chmod(0o755)
        _replace(aside, out)
    except OSError as problem:
        where = f" ({Path(problem.filename).name})" if problem.filename else ""
        raise BundleError(
            f"cannot write the bundle {out}",
            expected=f"{sum(path.stat().st_size for path in sources.values()) / 1e6:.1f} MB free on a writable disk",
            got=f"{problem.strerror or problem}{where}",
            fix="free some space or choose another --out; nothing was left behind",
        ) from problem
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def verify(api: RobotApi, path: Path, robot: Path = SO101) -> tuple[Bundle, list[str]]:
    """Checks a bundle as the robot does before it moves: checksums, API, joints, and that the policy graph loads.

    Returns:
        The bundle, and what was checked, a line each.

    Raises:
        BundleError, PolicyError: What is wrong, and the remedy.
    """
    bundle = load(path)
    bundle.verify()
    made = bundle.manifest
    checked = [
        f"{name}: {bundle.file(name).stat().st_size:,} bytes, sha256 {digest[:12]}… as in the manifest"
        for name, digest in made.files.items()
    ]
    arm = load_description(robot)
    bundle.check_fits(api_hash=api.hash, robot=arm.name, joints=tuple(joint.name for joint in arm.joints))
    checked += [f"robot API {api.hash[:12]}…", f"robot {arm.name}, its {len(arm.joints)} joints in this order"]
    policy = Policy.load(bundle, api)
    try:
        shapes = f"{len(made.policy.inputs)} inputs and {len(made.policy.outputs)} outputs as in the manifest"
        checked.append(f"policy graph, {made.policy.precision}: {shapes}, evaluated once by {policy.backend_name}")
    finally:
        policy.close()
    return bundle, checked


def _replace(aside: Path, out: Path) -> None:
    if out.exists() and not (out / MANIFEST).is_file() and any(out.iterdir()):
        raise BundleError(
            f"{out} is not a bundle", expected="an old bundle, an empty or no directory", fix="use another --out"
        )
    swap_in(aside, out)


def _tensors(signature: Signature, said: Said) -> tuple[Tensor, ...]:
    """The tensors of a graph with what its metadata says of them."""
    kinds = KINDS | said.kinds
    return tuple(
        Tensor(name, dtype, shape, kinds.get(name, ""), said.units.get(name, ""), said.scaled.get(name, ""))
        for name, (dtype, shape) in signature.items()
    )


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object out of a file.

    Raises:
        BundleError: It cannot be read, or holds something else.
    """
    found = _json(path, "a JSON object")
    if not isinstance(found, dict):
        raise BundleError(f"cannot read {path}", expected="a JSON object", got=f"a {type(found).__name__}")
    return found


def _json(path: Path, expected: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise BundleError(f"cannot read {path}", expected=expected, got=str(problem)) from problem


def read_results(path: Path) -> dict[str, Any]:
    """How well a bundle did: a JSON object as it is, or counted from the episodes of `python -m learning.evaluate`.

    Raises:
        BundleError: It cannot be read, or is neither.
    """
    found = _json(path, "a JSON object, or the list of episodes that `python -m learning.evaluate --out` writes")
    if isinstance(found, dict):
        return found
    counted: dict[str, Any] = {}
    for number, row in enumerate(found if isinstance(found, list) else [found]):
        cell, kind, success = (row.get(key) if isinstance(row, dict) else None for key in ("cell", "kind", "success"))
        if not (isinstance(cell, str) and isinstance(kind, str) and isinstance(success, bool)):
            raise BundleError(
                f"cannot use {path} as results",
                expected="a JSON object, or a list of episodes with cell, kind and success",
                got=f"element {number}: {str(row)[:80]}" if isinstance(found, list) else f"a {type(found).__name__}",
                fix="give what `python -m learning.evaluate --out` wrote",
            )
        count = counted.setdefault(cell, {}).setdefault(kind, {"n": 0, "done": 0})
        count["n"] += 1
        count["done"] += success
    return counted


def _report(path: Path, api: RobotApi) -> dict[str, Any]:
    if not path.is_file():
        return {}
    report = read_object(path)
    _same_api(path, str(report.get("api_hash", api.hash)), api)
    return report


def _same_api(path: Path, made_for: str, api: RobotApi) -> None:
    if made_for != api.hash:
        fix = "train and export it again with this API"
        raise BundleError(f"{path} was exported for another robot API", expected=api.hash, got=made_for, fix=fix)


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
