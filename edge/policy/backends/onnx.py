"""ONNX Runtime, on the processor unless asked otherwise: one thread by default, static shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import PolicyError
from edge.policy.backends import Array, Signature

_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(int64)": "int64"}


class OnnxBackend:
    """A graph in ONNX Runtime.

    Args:
        path: The `.onnx` file.
        threads: Intra-op threads. They do not spin while idle: the control loop shares these cores.
        cuda: Run on the GPU. Not measured.

    Raises:
        PolicyError: onnxruntime is not installed, lacks the provider, the file does not load, or a shape is not static.
    """

    def __init__(self, path: Path, threads: int = 1, *, cuda: bool = False) -> None:
        try:
            import onnxruntime
        except ImportError as problem:
            raise PolicyError("onnxruntime is not installed", fix="pip install onnxruntime") from problem
        provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            got = ", ".join(onnxruntime.get_available_providers())
            fix = "install onnxruntime-gpu, or use --backend auto"
            raise PolicyError("this ONNX Runtime does not run on a GPU", expected=provider, got=got, fix=fix)
        self.name = f"ONNX Runtime {onnxruntime.__version__}, {'GPU' if cuda else 'processor'}"
        self.note = ""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # int8 graphs round what goes into a layer, as TensorRT fuses it. The processor's integer convolutions want what
        # comes out rounded too; left alone, ONNX Runtime unpacks the weights anew in every run instead of once.
        options.add_session_config_entry("session.disable_quant_qdq", "0" if cuda else "1")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as problem:  # onnxruntime's own errors share no public base class
            fix = "export the policy again with `python -m export policy`"
            raise PolicyError(f"{path} is not a graph that runs here", got=_first_line(problem), fix=fix) from problem
        self.inputs: Signature = _signature(path, self._session.get_inputs())
        self.outputs: Signature = _signature(path, self._session.get_outputs())
        self._names = list(self.outputs)
        if cuda and self._session.get_providers()[0] != provider:  # it falls back to the processor without a word
            fix = "look at its CUDA and cuDNN versions, or use --backend auto"
            raise PolicyError("ONNX Runtime cannot use the GPU", expected=provider, got="the processor", fix=fix)

    def close(self) -> None:
        """Nothing is held that Python would not free."""

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """One evaluation; see `Backend.run`."""
        results = self._session.run(self._names, dict(inputs))
        return {name: np.asarray(result) for name, result in zip(self._names, results, strict=True)}


def _signature(path: Path, nodes: Iterable[Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    signature = {}
    for node in nodes:
        if not all(isinstance(size, int) for size in node.shape):
            raise PolicyError(
                f"{path}: {node.name} has no fixed shape",
                expected="numbers only",
                got=str(node.shape),
                fix="export with static shapes, batch 1",
            )
        signature[node.name] = (_DTYPES.get(node.type, node.type), tuple(node.shape))
    return signature


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]
