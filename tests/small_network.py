"""A small network of the policy's contract with everything that a conversion must tell apart."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_network(seed: int = 0, factor: float = 1.0) -> onnx.ModelProto:
    """Images → convolutions → spatial softmax → linear layers; joints → sine, cosine, a small product, like kinematics.

    Args:
        seed: Of the weights.
        factor: What one weight of the first linear layer is multiplied by.
    """
    rng = np.random.default_rng(seed)
    constants, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        fan = int(np.prod(shape[1:])) or 1
        constants.append(numpy_helper.from_array((rng.normal(size=shape) / np.sqrt(fan)).astype(np.float32), name))
        return name

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    for camera in ("front", "wrist"):
        moved = node("Transpose", [camera], f"{camera}_moved", perm=[0, 3, 1, 2])
        single = node("Cast", [moved], f"{camera}_single", to=TensorProto.FLOAT)
        scaled = node("Div", [single, constant(f"{camera}_white", np.float32(255))], f"{camera}_scaled")
        seen = node(
            "Conv", [scaled, weight(f"{camera}_w1", 16, 3, 5, 5)], f"{camera}_conv1", strides=[4, 4], pads=[2] * 4
        )
        seen = node("Relu", [seen], f"{camera}_relu")
        seen = node(
            "Conv",
            [seen, weight(f"{camera}_w2", 16, 16, 3, 3), weight(f"{camera}_b2", 16)],
            f"{camera}_conv2",
            strides=[2, 2],
            pads=[1] * 4,
        )
        logits = node("Conv", [seen, weight(f"{camera}_w3", 72, 16, 1, 1)], f"{camera}_logits")
        flat = node("Reshape", [logits, constant(f"{camera}_flat", np.array([1, 72, 144]))], f"{camera}_where")
        share = node("Softmax", [flat], f"{camera}_softmax", axis=-1)
        node("MatMul", [share, weight(f"{camera}_grid", 144, 8)], f"{camera}_points")
        node("Reshape", [f"{camera}_points", constant(f"{camera}_row", np.array([1, 576]))], f"{camera}_features")
    node("Sin", ["joints"], "sine")
    node("Cos", ["joints"], "cosine")
    node("MatMul", ["sine", weight("rotation", 6, 6)], "turned")
    node("Mul", ["turned", "cosine"], "tool")
    node("Cast", ["call"], "tokens", to=TensorProto.FLOAT)
    node("Concat", ["front_features", "wrist_features", "tool", "tokens", "goal"], "all", axis=1)
    first = (rng.normal(size=(64, 1169)) / 40).astype(np.float32)
    first[0, 0] *= factor
    node("Gemm", ["all", constant("first_w", first), weight("first_b", 64)], "first", transB=1)
    node("Sigmoid", ["first"], "gate")
    node("Mul", ["first", "gate"], "silu")
    node(
        "LayerNormalization",
        ["silu", constant("one", np.ones(64, np.float32)), constant("nought", np.zeros(64, np.float32))],
        "normal",
    )
    node("MatMul", ["normal", weight("second_w", 64, 64)], "second")
    node("Add", ["second", "silu"], "sum")
    node("Gemm", ["sum", weight("last_w", 96, 64)], "last", transB=1)
    node("Reshape", ["last", constant("shape", np.array([1, 16, 6]))], "targets")
    node("Mul", ["targets", constant("spread", np.full(6, 0.2, np.float32))], "chunk")
    node("Gemm", ["sum", weight("end_w", 1, 64)], "end", transB=1)
    node("Sigmoid", ["end"], "finished")

    def value(name: str, kind: int, shape: list[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    pictures = [value(name, TensorProto.UINT8, [1, 96, 96, 3]) for name in ("front", "wrist")]
    numbers = [value("joints", TensorProto.FLOAT, [1, 6]), value("call", TensorProto.INT32, [1, 5])]
    outputs = [value("chunk", TensorProto.FLOAT, [1, 16, 6]), value("finished", TensorProto.FLOAT, [1, 1])]
    graph = helper.make_graph(
        nodes, "small", [*pictures, *numbers, value("goal", TensorProto.FLOAT, [1, 6])], outputs, constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
