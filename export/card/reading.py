"""A report card gathered from a bundle's manifest and files; `export.card.measure` adds what is measured here.

Texts of a manifest are another's: they are cut to a length and what does not print is written out (`plain`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from edge.manifest import Bundle, Manifest, MonitorNumbers
from export.card.data import Card, File, PlannerParity, PolicyParity, Port, Success
from export.card.measure import Measured

_LONGEST = 4000
_ROWS = 40
"""Rows at most of what has no form of its own."""
_DEPTH = 6


def read_card(bundle: Bundle, measured: Measured | str = "not asked for") -> Card:
    """Gathers the card of a bundle.

    Args:
        bundle: A loaded one.
        measured: What `export.card.measure.measure` found, or why nothing was measured.

    Raises:
        BundleError: A file is missing, or is not the one that the manifest was written for.
    """
    bundle.verify()
    made = bundle.manifest
    parts = {name: _table(part) for name, part in made.made_by.parts.items()}
    policy, planner = parts.get("policy", {}), parts.get("planner", {})
    files = _files(bundle, planner)
    return Card(
        name=plain(bundle.path.resolve().name),
        path=plain(bundle.path),
        api_hash=plain(made.api_hash),
        robot=plain(made.robot),
        precision=plain(made.policy.precision),
        files=files,
        bytes=sum(file.bytes for file in files),
        planner_parity=tuple(_planner_parity(_table(planner.get("parity")))) if made.planner else (),
        policy_parity=tuple(_policy_parity(policy, made.policy.precision)),
        success=tuple(successes(made.results)),
        other=tuple(_flat(_unread(made.results)))[:_ROWS],
        runs_as=tuple(_runs_as(made)),
        ports=tuple(_ports(made)),
        commands=tuple(plain(line.strip()) for line in made.made_by.command.split(";") if line.strip())[:_ROWS],
        made_by=tuple(_made_by(made, parts)),
        training=tuple(_training(parts)),
        between_chunks_ms=made.rates.replan_every / made.rates.target_hz * 1e3,
        measured=None if isinstance(measured, str) else measured,
        not_measured=plain(measured) if isinstance(measured, str) else "",
    )


def plain(value: object) -> str:
    """A text that prints as one line: what steers a terminal or turns the direction of writing is spelled out."""
    text = str(value)
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def successes(results: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Success]:
    """Every `{"n": …, "done": …}` of an evaluation's summary, by cell and kind of task."""
    from learning.intervals import wilson

    if (counts := _counts(results)) is not None:
        done, n = counts
        yield Success(plain(", ".join(path[:-1])), plain(path[-1] if path else "all"), done, n, *wilson(done, n))
    for key, value in results.items():
        if isinstance(value, Mapping) and len(path) < _DEPTH:
            yield from successes(value, (*path, str(key)))


def _counts(data: Mapping[str, Any]) -> tuple[int, int] | None:
    done, n = _whole(data.get("done")), _whole(data.get("n"))
    return (done, n) if done is not None and n is not None and 0 <= done <= n > 0 else None


def _unread(results: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """What of the results is no count of episodes."""
    rest: dict[str, Any] = {}
    for key, value in results.items():
        if not isinstance(value, Mapping):
            if _counts(results) is None or key not in ("n", "done"):
                rest[key] = value
        elif depth < _DEPTH and (inner := _unread(value, depth + 1)):
            rest[key] = inner
    return rest


def _files(bundle: Bundle, planner: Mapping[str, Any]) -> tuple[File, ...]:
    made = bundle.manifest
    roles = {made.policy.file: ("policy", made.policy.precision)}
    if made.planner is not None:
        text = plain(planner.get("type", ""))
        roles[made.planner.model] = ("planner, language", text)
        roles[made.planner.projector] = ("planner, vision", plain(planner.get("vision_type", text)))
    sizes = {name: bundle.file(name).stat().st_size for name in made.files}
    total = max(1, sum(sizes.values()))
    rows = []
    for name, digest in made.files.items():
        role, precision = roles.get(name, ("", ""))
        share = sizes[name] / total
        rows.append(File(plain(name), plain(role), plain(precision), sizes[name], share, plain(digest)))
    return tuple(sorted(rows, key=lambda file: (-file.bytes, file.name)))


def _planner_parity(parity: Mapping[str, Any]) -> Iterator[PlannerParity]:
    for name, row in parity.items():
        row = _table(row)
        cases, equal = _whole(row.get("cases")), _whole(row.get("equal"))
        if cases is None or equal is None:
            continue
        error, scale = _number(row.get("logits_error")), _number(row.get("logits_scale"))
        yield PlannerParity(
            plain(name), cases, equal, _whole(row.get("right")), _whole(row.get("right_torch")),
            error / scale if error is not None and scale else None, _number(row.get("embedding_error")),
        )  # fmt: skip


def _policy_parity(part: Mapping[str, Any], precision: str) -> Iterator[PolicyParity]:
    parity, typed = _table(part.get("parity")), _table(part.get("precision"))
    cases, worst = _whole(parity.get("cases")), _number(parity.get("worst"))
    if cases is not None and worst is not None:
        yield PolicyParity("fp32", "PyTorch", "every output", cases, None, worst, _number(parity.get("tolerance")))
    error, allowed = _table(typed.get("error")), _table(typed.get("tolerance"))
    cases = _whole(error.get("observations"))
    if precision == "fp32" or cases is None:
        return
    for name, row in error.items():
        worst = _number(_table(row).get("worst"))
        if worst is not None:
            limit = _number(allowed.get("worst")) if name != "finished" else None
            against = plain(error.get("than", "the fp32 graph"))
            yield PolicyParity(
                plain(precision), against, plain(name), cases, _number(_table(row).get("p99")), worst, limit
            )


def _runs_as(made: Manifest) -> Iterator[tuple[str, str]]:
    rates = made.rates
    yield "robot", plain(f"{made.robot}: {', '.join(made.joints)}")
    yield "robot API", plain(made.api_hash)
    yield "plans", "by its planner, call by call" if made.planner else "no planner: the task goes to the policy alone"
    yield (
        "chunks",
        f"{rates.horizon} targets at {rates.target_hz:g} Hz; the next after {rates.replan_every} "
        f"({rates.replan_every / rates.target_hz * 1e3:.0f} ms), sent ahead by {rates.lead}",
    )
    cameras = [tensor for tensor in made.policy.inputs if tensor.dtype == "uint8" and len(tensor.shape) > 3]
    seen = [f"{tensor.name} {tensor.shape[-2]}×{tensor.shape[-3]}" for tensor in cameras]
    if made.planner is not None:
        seen.append(f"the planner's {made.images.planner}×{made.images.planner}")
    yield "images", plain(", ".join(seen) or "none")
    usual = vars(MonitorNumbers())
    other = [f"{key} {value:g}" for key, value in vars(made.monitor).items() if value != usual[key]]
    yield "monitor", plain(", ".join(other) or "as usual")


def _ports(made: Manifest) -> Iterator[Port]:
    for direction, tensors in (("in", made.policy.inputs), ("out", made.policy.outputs)):
        for tensor in tensors:
            texts = (plain(text) for text in (tensor.kind, tensor.unit))
            yield Port(direction, plain(tensor.name), plain(tensor.dtype), tensor.shape, *texts)


def _made_by(made: Manifest, parts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    yield "seed", "unknown" if made.made_by.seed is None else str(made.made_by.seed)
    for name, part in parts.items():
        for key in ("method", "evaluations", "architecture", "parameters"):
            for _, value in _flat({key: part.get(key)}):
                yield plain(f"{name}, {key}"), value
    yield "versions", plain(", ".join(f"{name} {version}" for name, version in made.made_by.versions.items()))
    yield "robot API", plain(made.api_hash)


def _training(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """How far each part was trained, as its checkpoint noted it; the API's hash stands elsewhere."""
    for name, part in parts.items():
        rows = (row for row in _flat(_table(part.get("training"))) if row[0] != "api_hash")
        for _, (key, value) in zip(range(_ROWS), rows, strict=False):
            yield plain(f"{name}, {key.replace('.', ' ')}"), value


def _flat(data: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and depth < _DEPTH:
            yield from _flat(value, f"{prefix}{key}.", depth + 1)
        elif value is not None:
            yield plain(prefix + str(key)), _shown(value)


def _shown(value: object) -> str:
    if _whole(value) is not None:
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else plain(value)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: object) -> int | None:
    """A count, or None for what is none; beyond a billion of anything something else was meant."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None


def _number(value: object) -> float | None:
    """A finite number, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
