"""Backends run the policy's graph. Each imports its runtime on use, so that `import edge` needs none of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edge.errors import PolicyError

Array = NDArray[Any]

Signature = Mapping[str, tuple[str, tuple[int, ...]]]
"""Type (numpy name) and shape by name."""


class Backend(Protocol):
    """A loaded graph with static shapes."""

    name: str
    """What runs it, for the person."""
    inputs: Signature
    outputs: Signature

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """One evaluation. Inputs are trusted to have the declared types and shapes."""


def open_backend(path: Path, threads: int) -> Backend:
    """Loads a graph with the backend its file name asks for.

    Args:
        path: `.onnx`.
        threads: Compute threads; the robot's other work shares the cores.

    Raises:
        PolicyError: No backend for this kind of file, its runtime is not installed, or the file cannot be loaded.
    """
    if path.suffix == ".onnx":
        from edge.policy.backends.onnx import OnnxBackend

        return OnnxBackend(path, threads)
    raise PolicyError(
        f"nothing here runs {path.name}",
        expected="a graph ending in .onnx",
        got=path.suffix or "no ending",
        fix="export the policy with `python -m export policy`",
    )
