"""The bundle of benchmarks/fault_run.py: a policy without a planner whose targets are where the joints are."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edge.tabletop import API
from export.bundle import build
from export.policy import metadata
from export.source import CHUNK, IMAGE, JOINT_UNIT, JOINTS_IN, Pace, Port, Source

HORIZON, SIDE = 16, 32


def still_bundle(folder: Path) -> Path:
    """Writes it; returns its directory. The policy is asked ten times a second and does not look at what it sees."""
    value = helper.make_tensor_value_info
    constants = [
        helper.make_tensor("row", TensorProto.INT64, [3], [1, 1, 6]),
        helper.make_tensor("times", TensorProto.INT64, [3], [1, HORIZON, 1]),
    ]
    nodes = [
        helper.make_node("Reshape", ["joints", "row"], ["present"]),
        helper.make_node("Tile", ["present", "times"], ["chunk"]),
    ]
    inputs = [value("front", TensorProto.UINT8, [1, SIDE, SIDE, 3]), value("joints", TensorProto.FLOAT, [1, 6])]
    outputs = [value("chunk", TensorProto.FLOAT, [1, HORIZON, 6])]
    model = helper.make_model(
        helper.make_graph(nodes, "still", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    source = Source(
        "flat",
        lambda: (),
        (
            Port("front", "uint8", (1, SIDE, SIDE, 3), IMAGE, "RGB"),
            Port("joints", "float32", (1, 6), JOINTS_IN, JOINT_UNIT),
        ),
        (Port("chunk", "float32", (1, HORIZON, 6), CHUNK, JOINT_UNIT),),
        lambda: model,
        lambda rng: {},
        1,
        0,
        Pace(20.0, 2, 0),
    )
    helper.set_model_props(model, metadata(source))
    path = folder / "still.onnx"
    onnx.save(model, path)
    return build(API, path, folder / "bundle").path
