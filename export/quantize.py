"""fp32 → int8 in the graph: QuantizeLinear and DequantizeLinear around heavy layers, calibrated on demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError
from export.graph import Wiring, checked, clone

Inputs = dict[str, NDArray[Any]]

METHOD = "least squared error of the rounded values, histogram of 2048 bins"
_BINS = 2048
_SHARES = np.linspace(0.2, 1.0, 81)
"""Candidates for where an activation is cut off, as shares of the largest magnitude seen."""


@dataclass(frozen=True)
class Ranges:
    """The magnitude that becomes 127, by tensor."""

    magnitude: dict[str, float]
    observations: int


def quantizable(model: onnx.ModelProto) -> tuple[list[str], dict[str, str]]:
    """Names of the layers that may become int8, and of heavy ones that may not, with the reason."""
    wiring = Wiring(model.graph)
    heavy = [node for node in model.graph.node if wiring.heavy(node)]
    reasons = {node.name: wiring.sensitive(node) or _unsuited(node, wiring) for node in heavy}
    return [node.name for node in heavy if not reasons[node.name]], {k: v for k, v in reasons.items() if v}


def _unsuited(node: onnx.NodeProto, wiring: Wiring) -> str:
    """Why this module cannot round a layer's weight by output channel; empty if it can."""
    rank = len(wiring.constants[node.input[1]].dims)
    if node.op_type == "ConvTranspose" or (node.op_type != "Conv" and rank != 2):
        return f"{node.op_type} with a weight of rank {rank} is not quantized here"
    if wiring.constants[node.input[1]].data_type != TensorProto.FLOAT:
        return "its weight is not fp32"
    return ""


def calibrate(model: onnx.ModelProto, layers: Sequence[str], feeds: Sequence[Inputs]) -> Ranges:
    """Range of every layer's input over the calibration data.

    For each tensor that cut-off is taken whose values, rounded to int8, have the least squared error: a few large
    values are worth cutting off where that makes all others finer.

    Args:
        model: The fp32 graph.
        layers: Names of nodes.
        feeds: Inputs of the graph.

    Raises:
        ExportError: There are no feeds, or a tensor is not finite.
    """
    import onnxruntime

    if not feeds:
        raise ExportError(
            "int8 needs calibration data",
            expected="observations",
            got="none",
            fix="name some: --calibration-data data/tabletop",
        )
    wanted = set(layers)
    names = sorted({node.input[0] for node in model.graph.node if node.name in wanted})
    probed = clone(model)
    outside = {value.name for value in (*probed.graph.input, *probed.graph.output)}
    probed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in outside
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inside = [name for name in names if name not in {value.name for value in probed.graph.input}]

    def values(feed: Inputs) -> dict[str, NDArray[Any]]:
        return {**feed, **dict(zip(inside, session.run(inside, feed), strict=True))}

    largest = dict.fromkeys(names, 0.0)
    for feed in feeds:
        found = values(feed)
        for name in names:
            largest[name] = max(largest[name], float(np.abs(found[name]).max()))
            if not np.isfinite(largest[name]):
                raise ExportError(f"{name} is not finite on the calibration data", fix="look for NaN in the checkpoint")
    counts = {name: np.zeros(_BINS) for name in names}
    for feed in feeds:
        found = values(feed)
        for name in names:
            counts[name] += np.histogram(np.abs(found[name]), _BINS, (0.0, largest[name] or 1.0))[0]
    return Ranges({name: _cut_off(counts[name], largest[name]) for name in names}, len(feeds))


def _cut_off(counts: NDArray[np.float64], largest: float) -> float:
    if largest == 0.0:
        return 1.0  # always zero: any range holds it
    centres = (np.arange(_BINS) + 0.5) * largest / _BINS
    best, least = largest, np.inf
    for share in _SHARES:
        step = share * largest / 127
        # Values spread evenly in a bin: the rounding error within it is that of its centre, plus what the step leaves.
        rounded = np.minimum(np.round(centres / step), 127) * step
        inner = np.where(centres <= share * largest, step**2 / 12, (rounded - centres) ** 2)
        error = float((counts * inner).sum())
        if error < least:
            best, least = share * largest, error
    return best


def to_int8(model: onnx.ModelProto, layers: Sequence[str], ranges: Ranges) -> onnx.ModelProto:
    """The same graph with some layers in int8: weights per output channel, activations per tensor, both symmetric.

    Only what goes into a layer is rounded, not what comes out; biases stay fp32. That is what TensorRT fuses.

    Args:
        model: The fp32 graph.
        layers: Names of convolutions and products with a constant weight.
        ranges: Of the inputs of those layers.

    Raises:
        ExportError: The result is no sound graph.
    """
    model = clone(model)
    graph = model.graph
    wiring, chosen = Wiring(graph), set(layers)
    rounded: dict[str, str] = {}
    weights: dict[tuple[str, int], str] = {}
    nodes = []
    for node in graph.node:
        if node.name in chosen:
            source, weight = node.input[0], wiring.constants[node.input[1]]
            if source not in rounded:
                rounded[source] = f"{source}_dq"
                scale = numpy_helper.from_array(np.float32(ranges.magnitude[source] / 127), f"{source}_scale")
                zero = numpy_helper.from_array(np.int8(0), f"{source}_zero")
                graph.initializer.extend([scale, zero])
                pair = [scale.name, zero.name]
                for kind, from_, to in (
                    ("QuantizeLinear", source, f"{source}_q"),
                    ("DequantizeLinear", f"{source}_q", rounded[source]),
                ):
                    nodes.append(helper.make_node(kind, [from_, *pair], [to], name=f"{source}_{kind}"))
            key = weight.name, _channels(node)
            if key not in weights:
                weights[key] = f"{weight.name}_dq{key[1]}"
                nodes.append(_weight(graph, weight, key[1], weights[key]))
            node.input[0], node.input[1] = rounded[source], weights[key]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for name in {name for name, _ in weights} - used:
        graph.initializer.remove(wiring.constants[name])
    return checked(model)


def _channels(node: onnx.NodeProto) -> int:
    """Axis of the output channels in a layer's weight."""
    transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def _weight(graph: onnx.GraphProto, weight: TensorProto, axis: int, name: str) -> onnx.NodeProto:
    values = numpy_helper.to_array(weight)
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = np.maximum(np.abs(values).max(axis=others), 1e-12).astype(np.float32) / np.float32(127)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    integers = np.clip(np.round(values / scale.reshape(shape)), -127, 127).astype(np.int8)
    parts = [
        numpy_helper.from_array(integers, f"{name}_int8"),
        numpy_helper.from_array(scale, f"{name}_scale"),
        numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero"),
    ]
    graph.initializer.extend(parts)
    return helper.make_node(
        "DequantizeLinear", [part.name for part in parts], [name], name=f"{name}_dequantize", axis=axis
    )
