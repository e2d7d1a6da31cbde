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
    """As far as it is there.

    Attributes:
        pace: target_hz, replan_every and lead.
        kinds: The field's kind of each tensor.
        units: What the numbers of each tensor mean.
        scaled: How the graph scales each tensor.
        precision: fp32, fp16 or int8.
        api_hash: Of the robot API that the policy was trained for; empty if it does not say.
    """

    pace: Mapping[str, Any]
    kinds: Mapping[str, str]
    units: Mapping[str, str]
    scaled: Mapping[str, str]
    precision: str
    api_hash: str = ""


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
        kinds, units, scaled = (
            {port["name"]: str(port[what]) for port in ports if port.get(what)} for what in ("kind", "unit", "scaled")
        )
        return Said(pace, kinds, units, scaled, properties.get("precision", "fp32"), properties.get("api_hash", ""))
    except (ValueError, KeyError, TypeError) as problem:
        fix = "export the policy again with `python -m export policy`"
        raise ExportError(f"the metadata of {path} cannot be used", got=str(problem), fix=fix) from problem
