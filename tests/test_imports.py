"""Who may know whom: the rooms of docs/architecture.md, read from the source, and checked by importing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("edge", "export", "firmware_bridge", "learning")
LEAVES = {"edge.errors", "edge.types"}
WITH_LEAVES = {"edge.config", "edge.manifest", "edge.arm", "edge.arm_fields", "edge.records"}

# Prefixes of ours that a module may import, by the longest prefix of its own name.
MAY = {
    "edge": OURS[:1],
    "edge.api": ("edge.api", "edge.errors", "edge.types"),
    "edge.tabletop": ("edge.api", "edge.errors", "edge.types"),
    "edge.planner": (
        "edge.planner",
        "edge.api",
        "edge.types",
        "edge.errors",
        "edge.tabletop",
        "edge.policy.transforms",
    ),
    "edge.policy": ("edge.policy", "edge.api", "edge.types", "edge.errors", "edge.manifest", "edge.tabletop"),
    "firmware_bridge": ("firmware_bridge",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    """Every module of ours that a file imports, wherever in the file it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who is meant"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return {name for name in found if name.split(".")[0] in OURS}


def under(name: str, prefixes: tuple[str, ...] | set[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


MODULES = dict(modules())


def test_the_rooms_are_all_there() -> None:
    assert set(OURS) <= {name.split(".")[0] for name in MODULES}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_its_room_allows(name: str) -> None:
    imported = imports(MODULES[name])
    if name in LEAVES:
        assert not imported
    elif name in WITH_LEAVES:
        assert all(under(other, LEAVES | {"edge.records", "edge.arm_fields"}) for other in imported), imported
    room = max((room for room in MAY if under(name, {room})), key=len, default=None)
    if room is not None:
        assert all(under(other, MAY[room]) for other in imported), imported


@pytest.mark.parametrize("name", sorted(name for name in MODULES if under(name, {"edge"})))
def test_only_the_wiring_knows_the_native_core(name: str) -> None:
    wiring = {"edge.runtime", "edge.machine", "edge.earlier", "edge.doctor", "edge.cli"}
    if name not in wiring:
        assert not any(under(other, {"edge._core"}) for other in imports(MODULES[name]))


def test_the_wire_knows_neither_the_core_nor_python() -> None:
    """C and C++ of firmware_bridge include their own headers and the system's, whatever the build's include path is."""
    sources = [path for path in (ROOT / "firmware_bridge").rglob("*") if path.suffix in {".c", ".h", ".cpp", ".hpp"}]
    ours = {path.name for path in sources}
    for path in sources:
        quoted = set(re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE))
        assert quoted <= ours, path
        assert "Python.h" not in path.read_text(encoding="utf-8"), path


def run(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_edge_imports_with_numpy_alone() -> None:
    """Every other third-party import fails, as it would on a robot that has only numpy."""
    allowed = run(
        """
import sys

class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names | {"edge", "numpy", "firmware_bridge"} and not top.startswith("_"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Only())
import edge, edge.arm, edge.errors, edge.types, edge.api, edge.tabletop, edge._core
print("imported")
"""
    )
    assert allowed.strip() == "imported"


@pytest.mark.parametrize("name", ["edge", "edge.api", "edge.tabletop", "edge.executive", "edge._core", "edge.cli"])
def test_the_runtime_never_imports_torch(name: str) -> None:
    script = (
        f"import sys, {name}; print([m for m in ('torch', 'transformers', 'mujoco', 'learning') if m in sys.modules])"
    )
    assert run(script).strip() == "[]"
