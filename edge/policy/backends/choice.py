"""Is there a TensorRT engine for this graph on this device, and if not, what is missing?"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edge.errors import PolicyError
from edge.policy.backends import Backend
from edge.policy.backends.cuda import Cuda
from edge.policy.backends.engines import build_command, find
from edge.policy.backends.tensorrt import MODULES, TensorRtBackend, load_compiler


def open_engine(path: Path, *, must: bool) -> Backend | str:
    """The engine of a graph, opened; or why the processor runs it, in words that are empty where no GPU is to be had.

    An engine that fits and does not load is not passed over in silence: the words say so.

    Args:
        path: The ONNX file.
        must: It was asked for by name: what is missing is an error.

    Raises:
        PolicyError: With `must`, what is missing.
    """
    try:
        cuda = Cuda.load()
        device = cuda.device()
    except PolicyError as problem:
        if must:
            raise
        if any(find_spec(name) for name in MODULES):
            return f"TensorRT is installed, but {problem.what} ({problem.got}); {problem.fix}"
        return ""
    try:
        module, compiler = load_compiler()
    except PolicyError as problem:
        if must:
            raise
        return f"{device}, but {problem.what}: {problem.fix}"
    try:
        found = find(path, device, compiler)
        if isinstance(found, str):
            fix = f"build one on this device: {build_command(path)}"
            raise PolicyError(f"no engine of {path.name} for {compiler} on {device}", got=found, fix=fix)
        return TensorRtBackend(found[0], module, compiler, cuda)
    except PolicyError as problem:
        if must:
            raise
        return f"{problem.what} ({problem.got}); {problem.fix}"
