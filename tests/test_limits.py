"""What a graph asks for is counted as one would on paper."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.limits import Limits, Work, work


def _graph() -> onnx.ModelProto:
    """Eight 3 x 3 filters on three channels of 6 x 6; their mean, twice through the same product, times itself."""
    constants = {
        "filters": np.zeros((8, 3, 3, 3), np.float32),
        "turn": np.zeros((8, 8), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["features"], kernel_shape=[3, 3]),
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "turn"], ["once"]),
        helper.make_node("MatMul", ["once", "turn"], ["twice"]),
        helper.make_node("Transpose", ["twice"], ["column"]),
        helper.make_node("MatMul", ["twice", "column"], ["square"]),
    ]
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("square", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_operations_and_weights_are_counted_as_often_as_they_are_used() -> None:
    convolution = 2 * (3 * 3 * 3) * 8 * (4 * 4)
    product, square = 2 * 8 * 8, 2 * 8
    assert work(_graph()) == Work(convolution + 2 * product + square, 4 * (8 * 3 * 3 * 3) + 2 * 4 * 8 * 8)


def test_shares_are_of_the_limits() -> None:
    assert Work(5e8, 1e9).shares(0.1, Limits(1e10, 2e10)) == "50% of peak, 50% of bandwidth"
