"""A TensorRT engine: memory is allocated once, and an evaluation is a copy, the launch of one CUDA graph, and a wait.

Written against the Python API of TensorRT 10.3 to 11 and of TensorRT-RTX. Not measured: no GPU was at hand.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import EdgeError, PolicyError
from edge.policy.backends import Array, Signature
from edge.policy.backends.cuda import Cuda
from edge.policy.backends.engines import Compiler

MODULES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt_rtx", "tensorrt_rtx_bindings": "tensorrt_rtx"}
"""What may be imported, and which compiler it is."""

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}
_WARM_UP = 3
"""Evaluations before the work is recorded: kernels are loaded, or made, and TensorRT's own updates are over."""


def load_compiler(wanted: str = "") -> tuple[Any, Compiler]:
    """The TensorRT of this machine and what it is.

    Args:
        wanted: `tensorrt` or `tensorrt_rtx`; empty for the first that is installed.

    Raises:
        PolicyError: None is installed.
    """
    for name, kind in MODULES.items():
        if wanted in ("", kind):
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            return module, Compiler(kind, str(module.__version__))
    raise PolicyError(
        f"{wanted or 'TensorRT'} is not installed",
        expected="one of the modules " + ", ".join(MODULES),
        fix="JetPack brings tensorrt; TensorRT-RTX: pip install 'edgearm[tensorrt-rtx]'",
    )


def make_log(module: Any) -> Any:
    """A logger for TensorRT that keeps what is said: errors of its functions are told there and nowhere else."""

    class Log(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(module.ILogger.WARNING):
                self.lines.append(message.strip())

        def said(self) -> str:
            """The last words."""
            return self.lines[-1].splitlines()[0][:300] if self.lines else "nothing"

    return Log()


class TensorRtBackend:
    """An engine on the first CUDA device.

    Args:
        path: The engine file.
        module: The TensorRT that built it.
        compiler: What that is.
        cuda: The CUDA runtime.

    Raises:
        PolicyError: The engine does not load here, has a shape that is not fixed, or CUDA fails. Then nothing stays
            allocated.
    """

    def __init__(self, path: Path, module: Any, compiler: Compiler, cuda: Cuda) -> None:
        self._trt, self._cuda = module, cuda
        self._log = make_log(module)
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._graph: Any = None
        self._open = False
        self.note = ""
        with ExitStack() as owner:
            owner.callback(self._forget)
            self._load(path)
            self._stream = cuda.stream(owner)
            self._in: dict[str, Array] = {}
            self._out: dict[str, Array] = {}
            self._addresses: dict[str, int] = {}
            self.inputs: Signature = self._tensors(path, module.TensorIOMode.INPUT, self._in, owner)
            self.outputs: Signature = self._tensors(path, module.TensorIOMode.OUTPUT, self._out, owner)
            for _ in range(_WARM_UP):
                self._enqueue()
                cuda.call("cudaStreamSynchronize", self._stream)
            self._record(owner)
            self.name = f"{compiler}, {cuda.device()}{'' if self._graph is not None else ', without a CUDA graph'}"
            self._owner = owner.pop_all()
        self._open = True

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """One evaluation; see `Backend.run`.

        Raises:
            PolicyError: CUDA fails, or the backend is closed.
        """
        if not self._open:
            raise PolicyError("the TensorRT backend is closed", fix="open the policy again")
        for name, host in self._in.items():
            np.copyto(host, inputs[name], casting="no")
        if self._graph is not None:
            self._cuda.call("cudaGraphLaunch", self._graph, self._stream)
        else:
            self._enqueue()
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return {name: host.copy() for name, host in self._out.items()}

    def close(self) -> None:
        """Gives everything back to the device. Twice is once."""
        if self._open:
            self._open = False
            self._in, self._out = {}, {}
            with self._owner:
                self._cuda.call("cudaStreamSynchronize", self._stream)

    def _load(self, path: Path) -> None:
        try:
            self._runtime = self._trt.Runtime(self._log)
            self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
            self._context = self._engine.create_execution_context() if self._engine is not None else None
        except EdgeError:
            raise
        except Exception as problem:  # TensorRT's own errors share no public base class
            raise self._unusable(path, str(problem)) from problem
        if self._context is None:
            raise self._unusable(path, self._log.said())

    def _unusable(self, path: Path, got: str) -> PolicyError:
        fix = "build it again on this device with `python -m export engine`, or use the processor: --backend onnx"
        return PolicyError(f"{path} does not load", expected="an engine for this device", got=got, fix=fix)

    def _tensors(self, path: Path, mode: Any, hosts: dict[str, Array], owner: ExitStack) -> Signature:
        """Allocates the tensors of one direction on both sides and tells TensorRT where they are."""
        signature: dict[str, tuple[str, tuple[int, ...]]] = {}
        engine = self._engine
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            if engine.get_tensor_mode(name) != mode:
                continue
            shape = tuple(int(size) for size in engine.get_tensor_shape(name))
            kind = engine.get_tensor_dtype(name).name
            if min(shape, default=1) < 1 or kind not in _DTYPES:
                raise PolicyError(
                    f"{path}: {name} cannot be used",
                    expected="a fixed shape, and one of " + ", ".join(_DTYPES),
                    got=f"{kind}{list(shape)}",
                    fix="export with static shapes, batch 1",
                )
            signature[name] = (_DTYPES[kind], shape)
            hosts[name] = self._cuda.host_memory(_DTYPES[kind], shape, owner)
            hosts[name][...] = 0
            self._addresses[name] = self._cuda.device_memory(hosts[name].nbytes, owner)
            if not self._context.set_tensor_address(name, self._addresses[name]):
                raise PolicyError(f"TensorRT does not take the memory of {name}", got=self._log.said())
        return signature

    def _enqueue(self) -> None:
        """Copies in, evaluates, copies out, all in order on the stream; returns at once."""
        kinds = self._cuda.runtime.cudaMemcpyKind
        for name, host in self._in.items():
            arguments = self._addresses[name], host.ctypes.data, host.nbytes, kinds.cudaMemcpyHostToDevice
            self._cuda.call("cudaMemcpyAsync", *arguments, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise PolicyError("TensorRT did not evaluate the policy", got=self._log.said(), fix="use --backend onnx")
        for name, host in self._out.items():
            arguments = host.ctypes.data, self._addresses[name], host.nbytes, kinds.cudaMemcpyDeviceToHost
            self._cuda.call("cudaMemcpyAsync", *arguments, self._stream)

    def _record(self, owner: ExitStack) -> None:
        """Records the work as a CUDA graph: one launch in place of hundreds. An engine that cannot be works without."""
        cuda, runtime = self._cuda, self._cuda.runtime
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(int(self._stream)):
            self.note = "TensorRT says that this engine cannot be a CUDA graph"
            return
        cuda.call(
            "cudaStreamBeginCapture", self._stream, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )
        failure: PolicyError | None = None
        graph: Any = None
        try:
            self._enqueue()
        except PolicyError as problem:
            failure = problem
        try:  # a capture must end even if what it recorded is broken
            graph = cuda.call("cudaStreamEndCapture", self._stream)
        except PolicyError as problem:
            failure = failure or problem
        if graph is not None:
            owner.callback(cuda.call, "cudaGraphDestroy", graph)
        if failure is not None:
            runtime.cudaGetLastError()  # what broke the capture is told here; the next call must not see it again
            self.note = f"no CUDA graph: {failure.what}, {failure.got}"
            return
        self._graph = cuda.call("cudaGraphInstantiate", graph, 0)
        owner.callback(cuda.call, "cudaGraphExecDestroy", self._graph)

    def _forget(self) -> None:
        """Lets go of TensorRT's objects, users before what they use."""
        self._graph = self._context = self._engine = self._runtime = None
