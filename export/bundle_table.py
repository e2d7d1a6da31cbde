"""A bundle as a person reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge.manifest import Bundle, Manifest


def show(bundle: Bundle) -> None:
    """Prints the manifest of a bundle as tables."""
    from rich.console import Console
    from rich.table import Table

    made = bundle.manifest
    console = Console(highlight=False)
    facts = Table(title=str(bundle.path), show_header=False, title_justify="left")
    facts.add_row(
        "robot", f"{made.robot}: {', '.join(f'{j} [{u}]' for j, u in zip(made.joints, made.units, strict=True))}"
    )
    facts.add_row("robot API", made.api_hash)
    facts.add_row("targets", f"{made.rates.target_hz:g} Hz, horizon {made.rates.horizon}")
    facts.add_row("images", f"policy {_policy_images(made)} px, planner {made.images.planner} px")
    facts.add_row("monitor", ", ".join(f"{key} {value:g}" for key, value in vars(made.monitor).items()))
    facts.add_row("made by", made.made_by.command or "unknown")
    facts.add_row("seed", str(made.made_by.seed if made.made_by.seed is not None else "unknown"))
    facts.add_row("versions", ", ".join(f"{name} {version}" for name, version in made.made_by.versions.items()))
    console.print(facts, markup=False)

    files = Table("file", "MB", "sha256")
    for name, digest in made.files.items():
        path = bundle.file(name)
        size = f"{path.stat().st_size / 1e6:.2f}" if path.is_file() else "missing"
        files.add_row(name, size, digest[:16])
    console.print(files)

    graph = Table(f"policy graph, {made.policy.precision}", "type", "shape", "kind", "unit")
    for arrow, tensors in (("→", made.policy.inputs), ("←", made.policy.outputs)):
        for tensor in tensors:
            graph.add_row(
                f"{arrow} {tensor.name}", tensor.dtype, "×".join(map(str, tensor.shape)), tensor.kind, tensor.unit
            )
    console.print(graph)

    for title, data in (*made.made_by.parts.items(), ("results", made.results)):
        if data:
            rows = Table(title, "")
            for key, value in _flat(data):
                rows.add_row(key, value)
            console.print(rows, markup=False)


def _policy_images(made: Manifest) -> str:
    if made.images.policy is not None:
        return str(made.images.policy)
    rows = [tensor for tensor in made.policy.inputs if tensor.dtype == "uint8"]
    return ", ".join(f"{tensor.name} {tensor.shape[-2]}×{tensor.shape[-3]}" for tensor in rows)


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, value if isinstance(value, str) else json.dumps(value)))
    return rows
