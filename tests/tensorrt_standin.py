"""`tensorrt` without a GPU, of any version: builds plans that hold their ONNX, and evaluates them with ONNX Runtime
in the memory of a `CudaStandIn`; no kinder than the real one.

What a caller does wrong that TensorRT would not notice before it crashed is a `Misuse` here.
"""

from __future__ import annotations

import enum
import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cuda_standin import CudaStandIn, IllegalAccess


class Misuse(AssertionError):  # noqa: N818
    """The caller would have crashed the process, or read what is not there."""


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    INT64 = 8


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        self.ready = True

    def log(self, severity: int, msg: str) -> None:
        raise NotImplementedError


_ONNX = {
    1: DataType.FLOAT,
    10: DataType.HALF,
    3: DataType.INT8,
    6: DataType.INT32,
    7: DataType.INT64,
    2: DataType.UINT8,
}
_LAYERS = {
    "Conv": "CONVOLUTION", "Gemm": "MATRIX_MULTIPLY", "MatMul": "MATRIX_MULTIPLY", "Softmax": "SOFTMAX",
    "Relu": "ACTIVATION",
    "Add": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Sub": "ELEMENTWISE", "Div": "ELEMENTWISE", "Cast": "CAST",
    "DequantizeLinear": "DEQUANTIZE", "QuantizeLinear": "QUANTIZE", "ReduceMean": "REDUCE",
}  # fmt: skip
_PLAN = b"plan\n"


class TensorRtStandIn:
    """The module. Its classes are made for one version and one device.

    Args:
        version: E.g. `10.3.0`.
        cuda: The device.
        capturable: What `is_stream_capturable` says; None for a version that has no such function.
        captures: Whether an evaluation can be recorded, whatever was said.
    """

    TensorIOMode, DataType, MemoryPoolType, ILogger = TensorIOMode, DataType, MemoryPoolType, ILogger
    NetworkDefinitionCreationFlag = NetworkDefinitionCreationFlag

    def __init__(
        self, version: str, cuda: CudaStandIn, *, capturable: bool | None = None, captures: bool = True
    ) -> None:
        self.__version__ = version
        self.cuda, self.capturable, self.captures = cuda, capturable, captures
        weak = tuple(int(part) for part in version.split(".")[:2]) < (11, 0)
        names = ["TF32", *(["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"] if weak else [])]
        self.BuilderFlag = enum.Enum("BuilderFlag", names)
        self.configs: list[BuilderConfig] = []
        self.networks: list[Network] = []

    def Runtime(self, logger: ILogger) -> Runtime:  # noqa: N802
        return Runtime(self, logger)

    def Builder(self, logger: ILogger) -> Builder:  # noqa: N802
        return Builder(self, logger)

    def OnnxParser(self, network: Network, logger: ILogger) -> OnnxParser:  # noqa: N802
        return OnnxParser(network, logger)


class Runtime:
    def __init__(self, module: TensorRtStandIn, logger: ILogger) -> None:
        assert logger.ready, "ILogger.__init__ was not called"
        self._module, self._logger = module, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        here = (self._module.__version__, f"{self._module.cuda.major}{self._module.cuda.minor}")
        if not serialized_engine.startswith(_PLAN):
            self._logger.log(ILogger.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed")
            return None
        head, model = serialized_engine.removeprefix(_PLAN).split(b"\n", 1)
        if tuple(json.loads(head)) != here:
            self._logger.log(ILogger.ERROR, f"The engine plan file was made for {json.loads(head)}, expecting {here}")
            return None
        return Engine(self._module, self._logger, model)


class Engine:
    def __init__(self, module: TensorRtStandIn, logger: ILogger, model: bytes) -> None:
        self.module, self.logger = module, logger
        graph = onnx.load_from_string(model).graph
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
        self.results = [value.name for value in graph.output]

    @property
    def num_io_tensors(self) -> int:
        return len(self.values)

    def get_tensor_name(self, index: int) -> str:
        return list(self.values)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.OUTPUT if name in self.results else TensorIOMode.INPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in self.values[name].shape.dim)

    def get_tensor_dtype(self, name: str) -> DataType:
        return _ONNX[self.values[name].elem_type]

    def create_execution_context(self) -> ExecutionContext:
        context = ExecutionContext(self)
        if self.module.capturable is not None:
            context.is_stream_capturable = lambda stream_handle: bool(self.module.capturable)  # type: ignore[attr-defined]
        return context


class ExecutionContext:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._cuda = engine, engine.module.cuda
        self._addresses: dict[str, int] = {}
        self._runs = 0

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine.values:
            self._engine.logger.log(ILogger.ERROR, f"invalid tensor name {name}")
            return False
        if memory % 256:
            raise Misuse(f"{memory:#x} of {name} is not aligned to 256 bytes")
        self._view(name, memory)
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not isinstance(stream_handle, int):
            raise TypeError("incompatible function arguments: stream_handle")
        if stream_handle not in self._cuda.streams:
            raise Misuse(f"no stream {stream_handle:#x}")
        if missing := self._engine.values.keys() - self._addresses.keys():
            self._engine.logger.log(ILogger.ERROR, f"Address is not set for {sorted(missing)}")
            return False
        if self._cuda.capturing(stream_handle):
            if not self._runs:
                raise Misuse("an engine that never ran is recorded: its own updates would be in the graph")
            if not self._engine.module.captures:
                self._cuda.break_capture(stream_handle)
                self._engine.logger.log(ILogger.ERROR, "operation not permitted when stream is capturing")
                return False
        self._cuda.enqueue(stream_handle, self._evaluate)
        self._runs += 1
        return True

    def _evaluate(self) -> None:
        engine = self._engine
        feeds = {
            name: np.frombuffer(self._bytes(name), _numpy(engine.get_tensor_dtype(name))).reshape(
                engine.get_tensor_shape(name)
            )
            for name in engine.values
            if name not in engine.results
        }
        for name, result in zip(engine.results, engine.session.run(engine.results, feeds), strict=True):
            self._view(name, self._addresses[name])[:] = np.ascontiguousarray(result).tobytes()

    def _bytes(self, name: str) -> bytes:
        return bytes(self._view(name, self._addresses[name]))

    def _view(self, name: str, memory: int) -> memoryview:
        engine = self._engine
        size = int(np.prod(engine.get_tensor_shape(name))) * _numpy(engine.get_tensor_dtype(name)).itemsize
        try:
            return self._cuda.view(memory, abs(size))
        except IllegalAccess as problem:
            if not self._runs:
                raise Misuse(f"{name}: {problem}") from problem
            raise


class Builder:
    def __init__(self, module: TensorRtStandIn, logger: ILogger) -> None:
        self._module, self._logger = module, logger

    def create_network(self, flags: int = 0) -> Network:
        network = Network(strong=bool(flags & (1 << 1)) or self._module.__version__ >= "11")
        self._module.networks.append(network)
        return network

    def create_builder_config(self) -> BuilderConfig:
        config = BuilderConfig(self._module)
        self._module.configs.append(config)
        return config

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> bytes | None:
        asked = {flag.name for flag in config.set} & {"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"}
        if network.strong and asked:
            self._logger.log(ILogger.ERROR, f"{sorted(asked)} cannot be used with a strongly typed network")
            return None
        model = onnx.load_from_string(network.model)
        if not network.strong and "INT8" not in asked and any(n.op_type == "QuantizeLinear" for n in model.graph.node):
            self._logger.log(ILogger.ERROR, "int8 layers without the INT8 flag")
            return None
        head = [self._module.__version__, f"{self._module.cuda.major}{self._module.cuda.minor}"]
        config.cache.content += b"timed"
        return _PLAN + json.dumps(head).encode() + b"\n" + network.model


class BuilderConfig:
    def __init__(self, module: TensorRtStandIn) -> None:
        self._module = module
        self.set: set[Any] = {module.BuilderFlag["TF32"]}
        self.cache = TimingCache(b"")
        self.workspace = 0

    def set_flag(self, flag: Any) -> None:
        assert isinstance(flag, self._module.BuilderFlag)
        self.set.add(flag)

    def clear_flag(self, flag: Any) -> None:
        assert isinstance(flag, self._module.BuilderFlag)
        self.set.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        assert isinstance(pool, MemoryPoolType)
        self.workspace = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return not ignore_mismatch

    def get_timing_cache(self) -> TimingCache:
        return self.cache


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class Network:
    def __init__(self, *, strong: bool) -> None:
        self.strong, self.model = strong, b""
        self.layers: list[Layer] = []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]


class Layer:
    def __init__(self, network: Network, node: onnx.NodeProto, types: dict[str, int]) -> None:
        self.name, self._network = node.name, network
        self.type = SimpleNamespace(name=_LAYERS.get(node.op_type, "SHUFFLE"))
        self._inputs = [SimpleNamespace(name=name) if name else None for name in node.input]
        self._outputs = [SimpleNamespace(name=name, dtype=_ONNX.get(types[name])) for name in node.output]
        self._precision: DataType | None = None

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    @property
    def precision(self) -> DataType | None:
        return self._precision

    @precision.setter
    def precision(self, value: DataType) -> None:
        assert not self._network.strong, "Setting layer precision is not allowed in a strongly typed network"
        self._precision = value


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self._network = network
        self.num_errors = 0

    def parse(self, model: bytes) -> bool:
        proto = onnx.load_from_string(model)
        graph = proto.graph
        types = {
            value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)
        }
        wide = {value.name for value in graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
        for node in graph.node:
            assert node.op_type == "Cast" or wide.isdisjoint(node.input), "uint8 may only be cast"
        self._network.model = model
        self._network.layers = [Layer(self._network, node, types) for node in graph.node]
        return True


def _numpy(kind: DataType) -> np.dtype:
    names = {"FLOAT": "float32", "HALF": "float16"}
    return np.dtype(names.get(kind.name, kind.name.lower()))


def parameters(docstring: str) -> list[str]:
    """Names of the parameters that a compiled function's docstring gives, without `self`."""
    inside = re.search(r"\(([^)]*)\)", docstring)
    assert inside, docstring
    parts = [part.split("=")[0].split(":")[0].split()[-1] for part in inside[1].split(",") if part.strip()]
    return [part for part in parts if part != "self"]
