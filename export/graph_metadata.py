"""What an exported policy says of itself, read back from its graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import ExportError


@dataclass(frozen=True)
class Said:
    """`pace`: target_hz, replan_every and lead, as far as they are there; `kinds`: the field's kind of each tensor."""

    pace: Mapping[str, Any]
    kinds: Mapping[str, str]


def read_graph(path: Path) -> Said:
    """The metadata of a policy's graph; a graph without any says nothing.

    Raises:
        ExportError: It has some, and they cannot be used.
    """
    import onnx

    properties = {row.key: row.value for row in onnx.load(str(path), load_external_data=False).metadata_props}
    try:
        pace = {name: int(properties[name]) for name in ("replan_every", "lead") if name in properties}
        if "target_hz" in properties:
            pace["target_hz"] = float(properties["target_hz"])  # type: ignore[assignment]
        ports = [port for name in ("inputs", "outputs") for port in json.loads(properties.get(name, "[]"))]
        return Said(pace, {port["name"]: port["kind"] for port in ports})
    except (ValueError, KeyError, TypeError) as problem:
        fix = "export the policy again with `python -m export policy`"
        raise ExportError(f"the metadata of {path} cannot be used", got=str(problem), fix=fix) from problem
