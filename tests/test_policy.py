"""The policy around its graph: what goes in, what comes out, and what is refused before the arm moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.errors import PolicyError
from edge.manifest import Images, PolicyPart, Rates, Tensor
from edge.policy.backends import open_backend
from edge.policy.contract import read_contract
from edge.policy.policy import Policy
from edge.tabletop import API
from edge.types import Frame, Observation, Pose

RATES, IMAGES = Rates(20.0, 16), Images(96, 192)


def write_graph(
    path: Path,
    *,
    horizon: int = 16,
    front: list[int | str] | None = None,
    stands_still: bool = False,
    drift: float = 0.0,
) -> Path:
    """A graph whose targets are the joints, then the call, then the goal; `finished` is the images' mean brightness.

    With `stands_still` every target is the joints: a policy that a control loop follows without moving the arm. With
    `drift` as well, each target leaves the one before it by so much in the first joint.
    """

    def value(name: str, kind: int, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [
        value("front", TensorProto.UINT8, front or [1, 96, 96, 3]),
        value("wrist", TensorProto.UINT8, [1, 96, 96, 3]),
        value("joints", TensorProto.FLOAT, [1, 6]),
        value("call", TensorProto.INT32, [1, 5]),
        value("goal", TensorProto.FLOAT, [1, 6]),
    ]
    outputs = [value("chunk", TensorProto.FLOAT, [1, horizon, 6]), value("finished", TensorProto.FLOAT, [1, 1])]
    constants = [
        helper.make_tensor("tile", TensorProto.INT64, [3], [1, horizon - 2, 1]),
        helper.make_tensor("row", TensorProto.INT64, [3], [1, 1, 6]),
        helper.make_tensor("one", TensorProto.INT64, [2], [1, 1]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [2 * 255.0]),
        helper.make_tensor("pad", TensorProto.FLOAT, [1, 1], [0.0]),
        helper.make_tensor(
            "ramp",
            TensorProto.FLOAT,
            [1, horizon, 6],
            [drift * (k + 1) * (joint == 0) for k in range(horizon) for joint in range(6)],
        ),
    ]
    nodes = [
        helper.make_node("Reshape", ["joints", "row"], ["joints_row"]),
        helper.make_node("Reshape", ["goal", "row"], ["goal_row"]),
        helper.make_node("Cast", ["call"], ["call_float"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["call_float", "pad"], ["call_six"], axis=1),
        helper.make_node("Reshape", ["call_six", "row"], ["call_row"]),
        helper.make_node("Tile", ["joints_row", "tile"], ["head"]),
        helper.make_node(
            "Concat", ["head", *(["joints_row"] * 2 if stands_still else ["call_row", "goal_row"])], ["flat"], axis=1
        ),
        helper.make_node("Add", ["flat", "ramp"], ["chunk"]),
        helper.make_node("Cast", ["front"], ["front_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["wrist"], ["wrist_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["front_float", "wrist_float"], ["both"]),
        helper.make_node("ReduceMean", ["both"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["share"]),
        helper.make_node("Reshape", ["share", "one"], ["finished"]),
    ]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def observation(joints: np.ndarray, brightness: int = 0) -> Observation:
    image = np.full((120, 160, 3), brightness, np.uint8)
    return Observation(7_000, {name: Frame(name, image, 6_000) for name in ("front", "wrist")}, joints)


def open_policy(path: Path, **parts: PolicyPart) -> Policy:
    return Policy(open_backend(path, 1), RATES, IMAGES, **parts)


def test_what_the_graph_sees_is_the_observation_the_call_and_the_goal(tmp_path: Path) -> None:
    policy = open_policy(write_graph(tmp_path / "policy.onnx"))
    joints = np.arange(6) / 7
    call = API.encode(API.parse('pick("red cube", at=(3, 7))'))
    chunk = policy.infer(observation(joints, 51), call, Pose(0.1, 0.2, 0.3, 0.0))
    assert chunk.joints.shape == (16, 6)
    assert chunk.joints.dtype == np.float64
    assert chunk.joints[:14] == pytest.approx(np.tile(joints, (14, 1)), abs=1e-6)
    assert chunk.joints[14, :5] == pytest.approx(call)
    assert chunk.joints[15] == pytest.approx([1, 0.1, 0.2, 0.3, 1, 0])
    assert chunk.finished == pytest.approx(0.2)
    assert chunk.start_ns == 7_000 - RATES.lead_ns, "the arm is sent ahead by the lead"
    assert (RATES.lead_ns, chunk.period_ns) == (100_000_000, 50_000_000)
    assert policy.last_ms > 0


def test_a_missing_camera_is_named(tmp_path: Path) -> None:
    policy = open_policy(write_graph(tmp_path / "policy.onnx"))
    whole = observation(np.zeros(6))
    half = Observation(0, {"front": whole.frames["front"]}, whole.joints)
    with pytest.raises(PolicyError, match="no wrist image"):
        policy.infer(half, np.zeros(5, np.int32), None)


def test_a_graph_of_another_horizon_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="other outputs") as caught:
        open_policy(write_graph(tmp_path / "policy.onnx", horizon=8))
    assert "[1, 16, 6]" in caught.value.expected
    assert "[1, 8, 6]" in caught.value.got


def test_a_graph_without_static_shapes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no fixed shape"):
        open_policy(write_graph(tmp_path / "policy.onnx", front=["batch", 96, 96, 3]))


def test_a_graph_that_is_not_the_one_in_the_manifest_is_refused(tmp_path: Path) -> None:
    said = PolicyPart("policy.onnx", (Tensor("joints", "float32", (1, 7), "state/joint/position"),), ())
    with pytest.raises(PolicyError, match="other inputs"):
        open_policy(write_graph(tmp_path / "policy.onnx"), part=said)


def test_a_policy_that_sees_nothing_is_refused() -> None:
    outputs = {"chunk": ("float32", (1, 16, 6))}
    with pytest.raises(PolicyError, match="takes no image") as caught:
        read_contract({"joints": ("float32", (1, 6))}, outputs, RATES, Images(policy=None, planner=IMAGES.planner))
    assert "joints float32[1, 6]" in caught.value.got


@pytest.mark.parametrize(
    ("name", "words"), [("policy.onnx", "not a graph that runs here"), ("policy.bin", "nothing here runs")]
)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"not a graph")
    with pytest.raises(PolicyError, match=words) as caught:
        open_backend(tmp_path / name, 1)
    assert caught.value.fix
