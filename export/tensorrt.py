"""An ONNX graph → a TensorRT engine, with the builder's differences between 10.3, 10.12 and 11, and TensorRT-RTX."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto

from edge.policy.backends.engines import Compiler, Device
from edge.policy.backends.tensorrt import make_log
from export.errors import ExportError
from export.graph import types, widen_images

_FP8 = {
    TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ
}  # fmt: skip
_FP4 = {TensorProto.FLOAT4E2M1}
#: Least compute capability with arithmetic of a type.
_NEEDS = (("FP8", _FP8, (8, 9)), ("FP4", _FP4, (10, 0)))

#: Layers that compute, and so have a precision of their own in a weakly typed network.
_COMPUTING = {
    "CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "ELEMENTWISE", "ACTIVATION", "SOFTMAX", "NORMALIZATION",
    "REDUCE", "UNARY", "EINSUM", "POOLING", "SCALE",
}  # fmt: skip


@dataclass(frozen=True)
class Built:
    """An engine as bytes, and what came with it. `timing_cache` is empty where the compiler keeps none."""

    engine: bytes
    timing_cache: bytes
    typing: str
    layers: int
    seconds: float


def typing_for(compiler: Compiler, wanted: str = "auto") -> str:
    """How the network is typed: `strong` means that every tensor has the type it has in the graph.

    From 10.12 on weak typing is deprecated, 11 and TensorRT-RTX have none. Before, `auto` is weak, those versions' own
    default: the FP16 and INT8 flags follow from the graph, and what it keeps in fp32 is pinned layer by layer.

    Args:
        compiler: What builds.
        wanted: `auto`, `strong` or `weak`.

    Raises:
        ExportError: This version has no such typing, or is older than 10.0.
    """
    version = _version(compiler)
    if not compiler.portable and version < (10, 0):
        raise ExportError(f"{compiler} is too old", expected="TensorRT 10.0 or newer", got=compiler.version)
    strong_only = compiler.portable or version >= (10, 12)
    if wanted == "weak" and strong_only:
        fix = "leave --typing out: the precision is in the graph"
        raise ExportError(f"{compiler} has no weak typing", expected="strong", got="weak", fix=fix)
    if wanted == "auto":
        return "strong" if strong_only else "weak"
    return wanted


def check_types(model: onnx.ModelProto, device: Device) -> None:
    """Refuses types that the device has no arithmetic for.

    Raises:
        ExportError: FP8 below SM 8.9, FP4 below SM 10.0.
    """
    found = set(types(model).values()) | _cast_to(model)
    for name, members, least in _NEEDS:
        if found & members and (device.major, device.minor) < least:
            orin = ": Orin (SM 8.7) has FP16 and INT8" if device.sm == "sm87" else ""
            raise ExportError(
                f"{device} has no {name} arithmetic{orin}",
                expected=f"compute capability {least[0]}.{least[1]} or newer",
                got=f"{device.major}.{device.minor}",
                fix="export with --precision fp16 or int8",
            )


def build(
    model: onnx.ModelProto,
    module: Any,
    compiler: Compiler,
    device: Device,
    *,
    typing: str = "auto",
    timing_cache: bytes = b"",
    workspace_mb: int = 512,
) -> Built:
    """Compiles a graph.

    Numbers that are fp32 in the graph are computed in fp32: TF32, which has the ten bits of fp16, is switched off.

    Args:
        model: The graph, of any precision.
        module: `tensorrt`, `tensorrt_rtx` or its bindings.
        compiler: What that is.
        device: Where the engine will run. Only TensorRT-RTX builds for another than the one at hand.
        typing: See `typing_for`.
        timing_cache: Of earlier builds for this device.
        workspace_mb: What kernels may use beside weights and activations.

    Raises:
        ExportError: A type the device lacks, an operator TensorRT lacks (with its node), or a build that failed.
    """
    typing = typing_for(compiler, typing)
    model = widen_images(model)
    check_types(model, device)
    begin = time.monotonic()
    log = make_log(module)
    builder = module.Builder(log)
    flags = 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if typing == "strong" else 0
    network = builder.create_network(flags)
    parser = module.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        raise _not_parsed(parser, compiler, log)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, workspace_mb << 20)
    config.clear_flag(module.BuilderFlag.TF32)
    if typing == "weak":
        _flag(config, network, module, set(types(model).values()))
    if compiler.portable:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(module, device, compiler), 0)
    else:
        # A cache of another driver is refused there and the build begins without one.
        cache = config.create_timing_cache(timing_cache)
        config.set_timing_cache(cache, False)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        fix = "look for the operator in what TensorRT said; `--precision fp32` tells whether the precision is to blame"
        raise ExportError(f"{compiler} built no engine for {device}", expected="an engine", got=log.said(), fix=fix)
    kept = b"" if compiler.portable else bytes(config.get_timing_cache().serialize())
    return Built(bytes(serialized), kept, typing, int(network.num_layers), time.monotonic() - begin)


def _cast_to(model: onnx.ModelProto) -> set[int]:
    return {a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"}


def _version(compiler: Compiler) -> tuple[int, int]:
    parts = compiler.version.split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError) as problem:
        raise ExportError(f"{compiler} has no version that can be read", got=compiler.version) from problem


def _capability(module: Any, device: Device, compiler: Compiler) -> Any:
    name = device.sm.upper()
    known = [member for member in module.ComputeCapability.__members__ if member.startswith("SM")]
    if name not in known:
        raise ExportError(
            f"{compiler} does not build for {device}",
            expected=", ".join(known),
            got=name,
            fix="a Jetson Orin is served by TensorRT of its JetPack",
        )
    return module.ComputeCapability.__members__[name]


def _flag(config: Any, network: Any, module: Any, found: set[int]) -> None:
    """Weak typing: allow the precisions that the graph has, and hold every layer that is fp32 in it to fp32."""
    if TensorProto.INT8 in found:
        config.set_flag(module.BuilderFlag.INT8)
    if TensorProto.FLOAT16 not in found:
        return
    config.set_flag(module.BuilderFlag.FP16)
    config.set_flag(module.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    integers: set[str] = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kind = layer.type.name
        made: Sequence[Any] = [layer.get_output(i) for i in range(layer.num_outputs)]
        read = [tensor.name for i in range(layer.num_inputs) if (tensor := layer.get_input(i)) is not None]
        if kind == "DEQUANTIZE":
            integers.update(tensor.name for tensor in made)
        elif kind in _COMPUTING and made[0].dtype == module.DataType.FLOAT and integers.isdisjoint(read):
            layer.precision = module.DataType.FLOAT


def _not_parsed(parser: Any, compiler: Compiler, log: Any) -> ExportError:
    if not parser.num_errors:
        return ExportError(f"{compiler} cannot read the graph", expected="an ONNX graph it knows", got=log.said())
    error = parser.get_error(0)
    code = getattr(error.code(), "name", str(error.code()))
    operator, name, node = error.node_operator(), error.node_name(), error.node()
    where = f"node {name or node}"
    said = next((line.strip() for line in error.desc().splitlines() if line.strip()), code)
    if code == "UNSUPPORTED_NODE":
        what, fix = f"{compiler} has no operator {operator} ({where})", "replace it in the network by operators it has"
    else:
        what, fix = (
            f"{compiler} cannot use operator {operator} as it is at {where}",
            "look at its inputs and attributes",
        )
    return ExportError(
        what, expected="an operator of TensorRT", got=f"{code}: {said}", fix=f"{fix}, or use --backend onnx"
    )
