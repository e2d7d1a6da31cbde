"""Backends run the policy's graph. Each imports its runtime on use, so that `import edge` needs none of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edge.errors import PolicyError
from edge.types import BACKENDS

Array = NDArray[Any]

Signature = Mapping[str, tuple[str, tuple[int, ...]]]
"""Type (numpy name) and shape by name."""


class Backend(Protocol):
    """A loaded graph with static shapes."""

    name: str
    """What runs it, for the person."""
    note: str
    """Why it is this one and not a faster one, and what would change that; may be empty."""
    inputs: Signature
    outputs: Signature

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """One evaluation. Inputs are trusted to have the declared types and shapes."""

    def close(self) -> None:
        """Gives back what was allocated. Twice is once."""


def open_backend(path: Path, threads: int, wanted: str = "auto") -> Backend:
    """Loads a graph.

    `auto` takes the TensorRT engine that was built from this very graph for this device and this version, and else ONNX
    Runtime on the processor. It never takes ONNX Runtime's CUDA provider: that launches a policy's hundreds of small
    kernels one by one, keeps choosing algorithms while it runs, and nobody has measured it here; who has may name it.

    Args:
        path: `.onnx`.
        threads: Compute threads on the processor; the robot's other work shares the cores.
        wanted: One of `edge.types.BACKENDS`.

    Raises:
        PolicyError: No backend for this kind of file, its runtime is not installed, the file cannot be loaded, or what
            was asked for by name is not there.
    """
    if path.suffix != ".onnx":
        raise PolicyError(
            f"nothing here runs {path.name}",
            expected="a graph ending in .onnx",
            got=path.suffix or "no ending",
            fix="export the policy with `python -m export policy`",
        )
    if wanted not in BACKENDS:
        raise PolicyError(f"there is no backend {wanted!r}", expected=", ".join(BACKENDS), got=repr(wanted))
    note = ""
    if wanted in ("auto", "tensorrt"):
        from edge.policy.backends.choice import open_engine

        found = open_engine(path, must=wanted == "tensorrt")
        if not isinstance(found, str):
            return found
        note = found
    from edge.policy.backends.onnx import OnnxBackend

    backend = OnnxBackend(path, threads, cuda=wanted == "onnx-cuda")
    backend.note = note
    return backend
