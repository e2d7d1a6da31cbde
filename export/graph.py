"""What conversions of a policy's graph have in common: who makes what, which layers are heavy, is it still sound."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.errors import ExportError

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"})
LARGE = 1024
"""Elements a weight has at least where a narrower type pays. Below are rotations and offsets of the geometry."""

POINTWISE = frozenset(
    {"Add", "Sub", "Mul", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Erf", "Neg", "Abs", "Max", "Min"}
)
MOVING = frozenset(
    {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Concat", "Split", "Slice", "MaxPool", "Identity"}
)
LIGHT = POINTWISE | MOVING


class Wiring:
    """Who makes and who reads each tensor of a graph, and which are constants."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in graph.output}

    def heavy(self, node: NodeProto) -> bool:
        """Whether it is a convolution or a product with a large constant weight."""
        if node.op_type not in HEAVY or len(node.input) < 2 or node.input[1] not in self.constants:
            return False
        size = 1
        for extent in self.constants[node.input[1]].dims:
            size *= extent
        return size >= LARGE

    def leads_to(self, node: NodeProto, kinds: Iterable[str]) -> str:
        """The first of `kinds`, or `output`, that a node's result reaches through light operators alone; or nothing."""
        seen, waiting = set(), list(node.output)
        while waiting:
            name = waiting.pop()
            if name in self.outputs:
                return "output"
            for reader in self.readers.get(name, ()):
                if reader.op_type in kinds:
                    return reader.op_type
                if reader.op_type in LIGHT and reader.output[0] not in seen:
                    seen.add(reader.output[0])
                    waiting += reader.output
        return ""

    def sensitive(self, node: NodeProto) -> str:
        """Why a heavy node must keep its full precision; empty if it need not.

        Logits and what a softmax weighs decide where the policy looks, to a fraction of a pixel; the output layers say
        where the arm goes.
        """
        after = self.leads_to(node, ("Softmax",))
        if after == "output":
            return "makes an output"
        if after:
            return "makes the logits of a softmax"
        maker = self.makers.get(node.input[0])
        if maker is not None and maker.op_type == "Softmax":
            return "is weighed by a softmax"
        return ""


def widen_images(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with uint8 inputs made float before anything else is done to them.

    TensorRT takes uint8 only where a network begins, and only to cast it.
    """
    model = clone(model)
    graph = model.graph
    wiring = Wiring(graph)
    inputs = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    nodes = list(graph.node)
    for first in [node for node in nodes if node.op_type in MOVING and node.input[0] in inputs]:
        readers = wiring.readers.get(first.output[0], [])
        if len(first.output) != 1 or len(readers) != 1 or readers[0].op_type != "Cast":
            continue  # the compiler will name it
        cast = readers[0]
        source, result = first.input[0], cast.output[0]
        cast.input[0], cast.output[0] = source, f"{source}_wide"
        first.input[0], first.output[0] = f"{source}_wide", result
        nodes.remove(cast)
        nodes.insert(nodes.index(first), cast)
    del graph.node[:]
    graph.node.extend(nodes)
    return checked(model)


def clone(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy to change."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every type and shape inferred anew, after onnx's checker and strict shape inference.

    Raises:
        ExportError: It is no sound graph, or a shape is not static.
    """
    try:
        del model.graph.value_info[:]
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        got = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise ExportError("the graph is not sound ONNX", got=got, fix="report it with the checkpoint") from problem
    for value in (*model.graph.input, *model.graph.output):
        if not all(size.HasField("dim_value") for size in value.type.tensor_type.shape.dim):
            raise ExportError(
                f"{value.name} has no fixed shape", expected="numbers only", fix="export with static shapes, batch 1"
            )
    return model


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor, as `TensorProto` numbers them."""
    graph = model.graph
    found = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        found[value.name] = value.type.tensor_type.elem_type
    return found


def narrower(model: onnx.ModelProto) -> str:
    """What of a graph's arithmetic has fewer bits than fp32: the first such operator or type; empty if nothing."""
    half = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
    held = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in (*model.graph.initializer, *held):
        if tensor.data_type in half:
            return half[tensor.data_type]
    return next((node.op_type for node in model.graph.node if node.op_type in QUANTIZING), "")


def set_metadata(model: onnx.ModelProto, values: dict[str, str]) -> None:
    """Adds to the model's metadata, or replaces what is there under the same names."""
    helper.set_model_props(model, {**metadata(model), **values})


def as_half(tensor: TensorProto) -> TensorProto:
    """A float constant in fp16, under another name."""
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), tensor.name + "_half")


def read(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file.

    Raises:
        ExportError: It is none.
    """
    try:
        return onnx.load(path)
    except (OSError, DecodeError) as problem:
        got = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise ExportError(f"cannot read {path}", expected="an ONNX file", got=got) from problem


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """What the graph says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}


def inputs_of(model: onnx.ModelProto) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type (numpy name) and shape of each input."""
    return {
        value.name: (
            helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            tuple(size.dim_value for size in value.type.tensor_type.shape.dim),
        )
        for value in model.graph.input
    }
