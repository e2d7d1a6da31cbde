"""fp32 → fp16 in the graph: the heavy layers and what lies between them; everything delicate stays as it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.graph import LIGHT, Wiring, as_half, checked, clone, types

_LARGEST = float(np.finfo(np.float16).max)


def to_half(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The same graph with fp16 where it is safe; inputs and outputs keep their types.

    In fp16 are convolutions and products with a large constant weight, and pointwise operators all of whose operands
    are fp16 by then. In fp32 stay softmax, normalisation, sums, trigonometry, the kinematics and the camera rays (no
    large weight), logits, output layers, and whatever this module does not know. Two neighbours in fp32 exchange fp32:
    the converters of onnxruntime and onnxconverter-common take a value to fp16 and back between them, which costs
    the kinematics their last digits.

    Returns:
        The graph, and a report: operators by type in fp16 and in fp32, heavy nodes kept in fp32 with the reason.

    Raises:
        ExportError: The result is no sound graph.
    """
    model = clone(model)
    graph = model.graph
    of, wiring = types(model), Wiring(graph)
    kept: dict[str, str] = {}
    half: set[str] = set()  # tensors that are fp16 from now on
    chosen: list[int] = []
    for index, node in enumerate(graph.node):
        if wiring.heavy(node):
            reason = wiring.sensitive(node) or _too_large(node, wiring)
            if reason:
                kept[node.name] = reason
                continue
        else:
            moving = [name for name in node.input if of.get(name) == TensorProto.FLOAT and name not in wiring.constants]
            if node.op_type not in LIGHT or not moving or not half.issuperset(moving) or _too_large(node, wiring):
                continue
        chosen.append(index)
        half.update(name for name in node.output if of[name] == TensorProto.FLOAT)
    done = Counter(graph.node[index].op_type for index in chosen)
    rest = Counter(node.op_type for node in graph.node) - done
    _rewrite(model, set(chosen), half, of, wiring)
    report = {"in fp16": dict(sorted(done.items())), "in fp32": dict(sorted(rest.items())), "kept in fp32": kept}
    return checked(model), report


def _too_large(node: NodeProto, wiring: Wiring) -> str:
    for name in node.input:
        constant = wiring.constants.get(name)
        if constant is not None and constant.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(constant)
            if values.size and np.abs(values).max() > _LARGEST:
                return f"a constant is beyond {_LARGEST:g}"
    return ""


def _rewrite(model: onnx.ModelProto, chosen: set[int], half: set[str], of: dict[str, int], wiring: Wiring) -> None:
    """Renames what becomes fp16 and puts casts at the borders, one for each tensor that crosses."""
    graph = model.graph
    nodes: list[NodeProto] = []
    made: set[str] = set()
    constants: dict[str, TensorProto] = {}

    def cast(name: str, to: int) -> str:
        crossed = f"{name}_{'half' if to == TensorProto.FLOAT16 else 'single'}"
        if crossed not in made:
            made.add(crossed)
            nodes.append(helper.make_node("Cast", [name], [crossed], name=f"cast_{crossed}", to=to))
        return crossed

    for index, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            if index in chosen and of.get(name) == TensorProto.FLOAT and name not in half:
                if name in wiring.constants:
                    constants[name] = as_half(wiring.constants[name])
                    node.input[place] = constants[name].name
                else:
                    node.input[place] = cast(name, TensorProto.FLOAT16)
            elif index not in chosen and name in half:
                node.input[place] = cast(name, TensorProto.FLOAT)
        nodes.append(node)
    for value in graph.output:
        if value.name in half:  # the output keeps its name and type; what is inside gets another name
            inside = f"{value.name}_inside"
            for node in nodes:
                for names in (node.input, node.output):
                    for place, name in enumerate(names):
                        if name == value.name:
                            names[place] = inside
            nodes.append(
                helper.make_node("Cast", [inside], [value.name], name=f"cast_{value.name}", to=TensorProto.FLOAT)
            )
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants.values())
    used = {name for node in nodes for name in node.input}
    for name in constants.keys() - used:
        graph.initializer.remove(wiring.constants[name])
