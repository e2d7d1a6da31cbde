"""fp16 and int8 in the graph: what is converted, what is left alone, and how far from fp32 the result may be."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from full_disk import files_at_most
from onnx import TensorProto, numpy_helper
from small_network import small_network
from test_dataset import _write

from edge.policy.backends.onnx import OnnxBackend
from edge.tabletop import API
from export.__main__ import main
from export.bundle import build as build_bundle
from export.calibration import Inputs, demonstrations, random_inputs
from export.errors import ExportError, ParityError
from export.graph import Wiring, checked, clone, inputs_of, metadata, set_metadata, types, widen_images
from export.half import to_half
from export.precision import TOLERANCES, convert, errors, outputs
from export.quantize import calibrate, quantizable, to_int8
from learning.dataset import finish

SENSITIVE = {
    "front_logits": "makes the logits of a softmax",
    "wrist_logits": "makes the logits of a softmax",
    "front_points": "is weighed by a softmax",
    "wrist_points": "is weighed by a softmax",
    "last": "makes an output",
}


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return checked(small_network())


@pytest.fixture(scope="module")
def feeds(model: onnx.ModelProto) -> list[Inputs]:
    rng = np.random.default_rng(5)
    return [random_inputs(inputs_of(model), rng) for _ in range(24)]


def by_name(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in model.graph.node}


def ports(model: onnx.ModelProto) -> list[tuple[str, bytes]]:
    return [(value.name, value.type.SerializeToString()) for value in (*model.graph.input, *model.graph.output)]


def test_images_are_cast_first_and_nothing_else_changes(model: onnx.ModelProto, feeds: list[Inputs]) -> None:
    wide = widen_images(model)
    readers = [node.op_type for node in wide.graph.node if {"front", "wrist"} & set(node.input)]
    assert readers == ["Cast", "Cast"]
    assert errors(model, wide, feeds)["chunk"]["worst"] == 0.0
    assert widen_images(wide) == wide, "once is enough"


def test_fp16_converts_heavy_layers_and_what_lies_between_and_leaves_the_rest(model: onnx.ModelProto) -> None:
    half, report = to_half(model)
    assert report["kept in fp32"] == SENSITIVE
    kinds, nodes = types(half), by_name(half)
    in_half = {
        name for name, node in nodes.items() if node.op_type != "Cast" and kinds[node.output[0]] == TensorProto.FLOAT16
    }
    assert in_half == {
        "front_conv1", "front_relu", "front_conv2", "wrist_conv1", "wrist_relu", "wrist_conv2",
        "first", "gate", "silu", "second", "sum",
    }  # fmt: skip
    assert ports(half) == ports(model), "inputs and outputs keep names, types and shapes"
    assert sum(report["in fp16"].values()) == len(in_half)


def test_in_fp16_neighbours_in_fp32_exchange_fp32(model: onnx.ModelProto) -> None:
    half, _ = to_half(model)
    for name in ("sine", "cosine", "turned", "tool"):
        node = by_name(half)[name]
        assert all(not source.endswith("_half") for source in node.input), name


def test_fp16_stays_within_its_tolerance_and_a_weight_beyond_fp16_stays_fp32(feeds: list[Inputs]) -> None:
    typed, report = convert(small_network(), "fp16", [], feeds)
    assert 0 < report["error"]["chunk"]["worst"] <= TOLERANCES["fp16"].worst
    assert metadata(typed)["precision"] == "fp16"
    _, beyond = to_half(checked(small_network(factor=1e8)))
    assert beyond["kept in fp32"]["first"] == "a constant is beyond 65504"


def test_int8_weights_are_per_channel_and_within_half_a_step(model: onnx.ModelProto, feeds: list[Inputs]) -> None:
    layers, kept = quantizable(model)
    assert kept == SENSITIVE
    assert layers == ["front_conv1", "front_conv2", "wrist_conv1", "wrist_conv2", "first", "second"]
    rounded = to_int8(model, layers, calibrate(model, layers, feeds))
    assert ports(rounded) == ports(model)
    before, after, nodes = Wiring(model.graph), Wiring(rounded.graph), by_name(rounded)
    for layer in layers:
        dequantize = after.makers[nodes[layer].input[1]]
        axis = next(a.i for a in dequantize.attribute if a.name == "axis")
        integers, scale, zero = (numpy_helper.to_array(after.constants[name]) for name in dequantize.input)
        weight = numpy_helper.to_array(before.constants[by_name(model)[layer].input[1]])
        assert integers.dtype == np.int8
        assert not zero.any(), "symmetric: TensorRT takes nothing else"
        assert scale.shape == (weight.shape[axis],)
        assert axis == (1 if layer == "second" else 0)
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        assert (np.abs(integers * scale.reshape(shape) - weight) <= scale.reshape(shape) * 0.5001).all()
        activation = after.makers[nodes[layer].input[0]]
        assert activation.op_type == "DequantizeLinear"
        assert numpy_helper.to_array(after.constants[activation.input[1]]).shape == (), "per tensor"
        assert not numpy_helper.to_array(after.constants[activation.input[2]]).any()
        if len(nodes[layer].input) > 2:
            assert numpy_helper.to_array(after.constants[nodes[layer].input[2]]).dtype == np.float32, "biases stay"


def test_a_range_loses_little_more_than_the_best_one_would(model: onnx.ModelProto, feeds: list[Inputs]) -> None:
    ranges = calibrate(model, ["first", "second", "front_conv2"], feeds)
    assert ranges.observations == len(feeds)
    for name, magnitude in ranges.magnitude.items():
        probe = clone(model)
        probe.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        seen = np.concatenate([found[name].ravel() for found in outputs(probe, feeds)])

        def loss(largest: float, seen: np.ndarray = seen) -> float:
            step = largest / 127
            return float(((np.clip(np.round(seen / step), -127, 127) * step - seen) ** 2).mean())

        best = min(loss(share * float(np.abs(seen).max())) for share in np.linspace(0.1, 1, 181))
        assert loss(magnitude) <= 1.05 * best, name


def test_int8_takes_as_many_layers_as_the_tolerance_allows_and_says_which(
    model: onnx.ModelProto, feeds: list[Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    from export import precision

    wide, report = convert(model, "int8", feeds, feeds, "random inputs")
    assert report["calibration"]["observations"] == len(feeds)
    assert json.loads(metadata(wide)["calibration"])["source"] == "random inputs"
    taken, kept = set(report["operators"]["in int8"]), report["operators"]["kept in fp32"]
    assert taken | set(kept) == set(quantizable(model)[0]) | set(SENSITIVE)
    worst = report["error"]["chunk"]["worst"]
    monkeypatch.setitem(precision.TOLERANCES, "int8", precision.Tolerance(worst / 3, worst / 3, 1.0))
    _, tight = convert(model, "int8", feeds, feeds)
    fewer = set(tight["operators"]["in int8"])
    assert fewer < taken
    assert tight["error"]["chunk"]["worst"] <= worst / 3
    assert all("alone it costs" in tight["operators"]["kept in fp32"][layer] for layer in taken - fewer)


def test_a_graph_that_is_too_far_from_fp32_is_refused(feeds: list[Inputs], monkeypatch: pytest.MonkeyPatch) -> None:
    from export import precision

    monkeypatch.setitem(precision.TOLERANCES, "fp16", precision.Tolerance(1e-9, 1e-9, 1.0))
    with pytest.raises(ParityError, match="fp16 graph differs too much") as caught:
        convert(small_network(), "fp16", [], feeds)
    assert "rad" in caught.value.expected
    assert f"n = {len(feeds)}" in caught.value.got


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("wanted", ["fp32", "fp16", "int8"])
def test_only_an_fp32_graph_is_converted(
    model: onnx.ModelProto, feeds: list[Inputs], precision: str, wanted: str, told: bool
) -> None:
    """What was rounded once would be measured against itself, and called fp32; metadata or not."""
    layers, _ = quantizable(model)
    narrow = to_half(model)[0] if precision == "fp16" else to_int8(model, layers, calibrate(model, layers, feeds))
    if told:
        set_metadata(narrow, {"precision": precision})
    with pytest.raises(ExportError, match="not fp32"):
        convert(narrow, wanted, feeds, feeds)


def test_calibration_and_check_are_different_observations_of_the_dataset(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _write(root, 0, range(4))
    _write(root, 1, range(4, 8))
    finish(root)
    calibrate_with, check = demonstrations(root, 8, "calibrate"), demonstrations(root, 8, "check")
    assert len(calibrate_with) == len(check) == 8
    seen = {feed["joints"].tobytes() for feed in calibrate_with}
    assert len(seen) == 8
    assert seen.isdisjoint(feed["joints"].tobytes() for feed in check)
    wanted = inputs_of(small_network())
    for feed in (*calibrate_with, *check):
        assert {name: (value.dtype.name, value.shape) for name, value in feed.items()} == wanted
    one = tmp_path / "one"
    _write(one, 0, range(2))
    finish(one)
    even, odd = demonstrations(one, 4, "calibrate"), demonstrations(one, 4, "check")
    assert {f["joints"].tobytes() for f in even}.isdisjoint(f["joints"].tobytes() for f in odd)
    with pytest.raises(ExportError, match="too short"):
        demonstrations(one, 500, "check")


def test_int8_without_demonstrations_is_a_clear_error(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "policy.onnx", tmp_path / "int8" / "policy.onnx"
    onnx.save(model, source)
    wanted = ["precision", "--policy", str(source), "--out", str(out), "--precision", "int8"]
    assert main(wanted) == 2
    assert "int8 needs calibration data" in capsys.readouterr().err
    assert main([*wanted, "--calibration-data", str(tmp_path / "nothing")]) == 2
    assert "no calibration data at" in capsys.readouterr().err
    assert not out.parent.exists(), "nothing is written"


def test_the_command_writes_the_graph_and_its_report(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "policy.onnx", tmp_path / "fp16" / "policy.onnx"
    onnx.save(model, source)
    source.with_suffix(".json").write_text('{"method": "small"}')
    assert main(["precision", "--policy", str(source), "--out", str(out), "--precision", "fp16"]) == 0
    assert f"fp16, {out.stat().st_size / 1e6:.1f} MB: chunk p99" in capsys.readouterr().out
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["method"] == "small"
    assert report["precision"]["precision"] == "fp16"
    assert report["bytes"] == out.stat().st_size < source.stat().st_size
    assert OnnxBackend(out).inputs == OnnxBackend(source).inputs
    assert sorted(path.name for path in out.parent.iterdir()) == ["policy.json", "policy.onnx"]


def test_a_graph_is_not_written_where_its_report_goes(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(model, tmp_path / "policy.onnx")
    assert main(["precision", "--policy", str(tmp_path / "policy.onnx"), "--out", str(tmp_path / "x.json")]) == 2
    assert "x.onnx" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_disk_that_fills_leaves_the_older_graph_and_its_report(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    source, out = tmp_path / "policy.onnx", tmp_path / "fp16" / "policy.onnx"
    onnx.save(model, source)
    wanted = ["precision", "--policy", str(source), "--out", str(out), "--precision", "fp16"]
    with files_at_most(size):
        assert main(wanted) == 2
    assert "cannot write" in capsys.readouterr().err
    assert not out.parent.exists()
    assert main(wanted) == 0
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    with files_at_most(size):
        assert main(wanted) == 2
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


def test_a_disk_that_is_full_only_when_it_is_flushed_does_no_harm(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "policy.onnx", tmp_path / "fp16" / "policy.onnx"
    onnx.save(model, source)
    wanted = ["precision", "--policy", str(source), "--out", str(out), "--precision", "fp16"]
    assert main(wanted) == 0
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("export.staging.os.fsync", full)
    assert main(wanted) == 2
    assert "No space left" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.onnx").write_bytes(content)
    assert main(["precision", "--policy", str(tmp_path / "policy.onnx"), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


def test_a_bundle_tells_the_precision_and_the_units_of_its_graph(model: onnx.ModelProto, tmp_path: Path) -> None:
    port = {"name": "joints", "dtype": "float32", "shape": [1, 6], "kind": "", "unit": "radians", "scaled": "by 1.2"}
    half, _ = to_half(model)
    set_metadata(half, {"precision": "fp16", "inputs": json.dumps([port])})
    onnx.save(half, tmp_path / "policy.onnx")
    part = build_bundle(API, tmp_path / "policy.onnx", tmp_path / "bundle").manifest.policy
    assert part.precision == "fp16"
    joints = next(tensor for tensor in part.inputs if tensor.name == "joints")
    assert (joints.kind, joints.unit, joints.scaled) == ("state/joint/position", "radians", "by 1.2")


def test_demonstrations_of_another_robot_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "data", 0, range(2))
    finish(tmp_path / "data")
    x, y = (onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 7]) for name in ("joints", "chunk"))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["joints"], ["chunk"])], "other", [x], [y])
    onnx.save(onnx.helper.make_model(graph, ir_version=10), tmp_path / "policy.onnx")
    wanted = ["precision", "--policy", str(tmp_path / "policy.onnx"), "--out", str(tmp_path / "out.onnx")]
    assert main([*wanted, "--calibration-data", str(tmp_path / "data"), "--precision", "int8"]) == 2
    assert "does not show what this policy sees" in capsys.readouterr().err
    assert not (tmp_path / "out.onnx").exists()
