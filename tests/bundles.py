"""A bundle whose files are small but whose manifest, checksums and policy graph are real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from test_policy import write_graph

from edge.manifest import MANIFEST
from edge.tabletop import API
from export.bundle import build


def write_bundle(root: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    """Makes `root/bundle` with a toy policy graph and planner files that no planner could load; optionally edits it."""
    planner = root / "planner"
    planner.mkdir()
    for name in ("planner.gguf", "planner-mmproj.gguf"):
        (planner / name).write_bytes(name.encode())
    bundle = build(API, write_graph(root / "policy.onnx"), root / "bundle", planner=planner)
    if change is not None:
        data = json.loads((bundle.path / MANIFEST).read_text())
        change(data)
        (bundle.path / MANIFEST).write_text(json.dumps(data))
    return bundle.path
