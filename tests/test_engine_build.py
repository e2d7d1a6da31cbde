"""Engines: every policy graph under the real TensorRT-RTX compiler, which needs no GPU; the rules for other versions.

An engine that was built here was not run: that needs the device.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
import tensorrt_rtx_bindings
from cuda_standin import CudaStandIn
from onnx import TensorProto, helper
from small_network import small_network
from tensorrt_standin import DataType, TensorRtStandIn
from test_policy import write_graph

from edge.manifest import sha256
from edge.policy.backends.engines import Compiler, Device, engine_name, find, read_record
from edge.policy.backends.tensorrt import load_compiler
from export import engine
from export.__main__ import main
from export.calibration import random_inputs
from export.engine import make
from export.errors import ExportError, ParityError
from export.graph import checked, inputs_of, read, widen_images
from export.half import to_half
from export.quantize import calibrate, quantizable, to_int8
from export.tensorrt import build, check_types, typing_for

ROOT = Path(__file__).resolve().parents[1]
AMPERE, BLACKWELL, ORIN = Device("", 8, 6), Device("", 12, 0), Device("Orin", 8, 7)
RTX = Compiler("tensorrt_rtx", "1.7.1.116")


def in_precision(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Every layer that may be is converted, so that all of it comes before the compiler. Not a graph to run."""
    import numpy as np

    model = widen_images(model)
    if precision == "fp16":
        return to_half(model)[0]
    if precision == "int8":
        rng, layers = np.random.default_rng(0), quantizable(model)[0]
        return to_int8(model, layers, calibrate(model, layers, [random_inputs(inputs_of(model), rng)] * 2))
    return model


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("graph", ["reference", "small"])
def test_the_real_compiler_builds_every_policy_graph(graph: str, precision: str) -> None:
    model = read(ROOT / "models/reference/policy.onnx") if graph == "reference" else checked(small_network())
    model = in_precision(model, precision)
    module, compiler = load_compiler("tensorrt_rtx")
    assert module is tensorrt_rtx_bindings
    sizes = []
    for device in (AMPERE, BLACKWELL):
        built = build(model, module, compiler, device)
        assert built.typing == "strong"
        assert built.layers > 30
        sizes.append(len(built.engine))
    assert min(sizes) > 10_000


def test_an_operator_that_tensorrt_lacks_is_named_with_its_node() -> None:
    node = helper.make_node("Det", ["x"], ["y"], name="volume")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3, 3]), ("y", [1]))]
    graph = helper.make_graph([node], "lacking", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(ExportError, match=r"has no operator Det \(node volume\)") as caught:
        build(model, tensorrt_rtx_bindings, RTX, AMPERE)
    assert "--backend onnx" in caught.value.fix


def test_the_command_builds_for_a_device_that_is_not_at_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = write_graph(tmp_path / "policy.onnx")
    wanted = ["engine", "--policy", str(graph), "--compiler", "tensorrt_rtx"]
    assert main([*wanted, "--sm", "8.9"]) == 0
    assert "not run: no GPU is at hand" in capsys.readouterr().out
    found = find(graph, Device("any of them", 8, 9), RTX)
    assert not isinstance(found, str), found
    path, record = found
    assert path.parent == tmp_path / "engines"
    assert (record.sm, record.device, record.typing, record.precision) == ("sm89", "", "strong", "fp32")
    assert record.engine == sha256(path)
    assert record.model == sha256(graph)
    assert isinstance(find(graph, Device("", 8, 6), RTX), str)
    assert main([*wanted, "--sm", "8.7"]) == 2
    assert "does not build for" in capsys.readouterr().err
    assert main([*wanted, "--sm", "orin"]) == 2
    assert "compute capability such as" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("compiler", "asked", "typing"),
    [
        (Compiler("tensorrt", "10.3.0"), "auto", "weak"),
        (Compiler("tensorrt", "10.3.0"), "strong", "strong"),
        (Compiler("tensorrt", "10.11.0.33"), "auto", "weak"),
        (Compiler("tensorrt", "10.12.0.36"), "auto", "strong"),
        (Compiler("tensorrt", "10.16.2"), "auto", "strong"),
        (Compiler("tensorrt", "11.4.1"), "auto", "strong"),
        (RTX, "auto", "strong"),
    ],
)
def test_typing_follows_the_version(compiler: Compiler, asked: str, typing: str) -> None:
    assert typing_for(compiler, asked) == typing


@pytest.mark.parametrize(
    ("compiler", "asked", "words"),
    [
        (Compiler("tensorrt", "10.12.0"), "weak", "has no weak typing"),
        (Compiler("tensorrt", "11.0.0"), "weak", "has no weak typing"),
        (RTX, "weak", "has no weak typing"),
        (Compiler("tensorrt", "8.6.1"), "auto", "too old"),
        (Compiler("tensorrt", "next"), "auto", "no version"),
    ],
)
def test_a_typing_that_a_version_lacks_is_refused(compiler: Compiler, asked: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        typing_for(compiler, asked)


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", set()), ("fp16", {"FP16", "OBEY_PRECISION_CONSTRAINTS"}), ("int8", {"INT8"})],
)
def test_weakly_typed_the_flags_follow_from_the_graph_and_fp32_is_held(precision: str, flags: set[str]) -> None:
    trt = TensorRtStandIn("10.3.0", CudaStandIn())
    model = in_precision(checked(small_network()), precision)
    built = build(model, trt, Compiler("tensorrt", "10.3.0"), ORIN)
    assert built.typing == "weak"
    assert {flag.name for flag in trt.configs[0].set} == flags, "and no TF32"
    held = {layer.name for layer in trt.networks[0].layers if layer.precision == DataType.FLOAT}
    if precision == "fp16":
        assert {"front_logits", "front_softmax", "front_points", "turned", "last"} <= held
        assert held.isdisjoint({"front_conv1", "first", "second", "silu"})
    else:
        assert not held


@pytest.mark.parametrize("version", ["10.12.0", "11.4.1"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_strongly_typed_no_flag_is_set(version: str, precision: str) -> None:
    trt = TensorRtStandIn(version, CudaStandIn())
    build(in_precision(checked(small_network()), precision), trt, Compiler("tensorrt", version), ORIN)
    assert trt.configs[0].set == set()
    assert trt.networks[0].strong


@pytest.mark.parametrize(
    ("kind", "name", "least"), [(TensorProto.FLOAT8E4M3FN, "FP8", (8, 9)), (TensorProto.FLOAT4E2M1, "FP4", (10, 0))]
)
def test_types_that_a_device_lacks_are_refused_with_the_reason(kind: int, name: str, least: tuple[int, int]) -> None:
    value = helper.make_tensor_value_info
    node = helper.make_node("Cast", ["x"], ["y"], to=kind)
    graph = helper.make_graph([node], "narrow", [value("x", TensorProto.FLOAT, [1])], [value("y", kind, [1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    with pytest.raises(ExportError, match=f"has no {name} arithmetic") as caught:
        check_types(model, ORIN)
    assert "Orin (SM 8.7) has FP16 and INT8" in caught.value.what
    check_types(model, Device("", *least))
    check_types(checked(small_network()), ORIN)


def test_the_timing_cache_is_kept_beside_the_engine_and_used_again(tmp_path: Path) -> None:
    graph, trt = write_graph(tmp_path / "policy.onnx"), TensorRtStandIn("10.3.0", CudaStandIn())
    compiler = Compiler("tensorrt", "10.3.0")
    make(graph, tmp_path / "engines", trt, compiler, ORIN)
    make(graph, tmp_path / "engines", trt, compiler, ORIN)
    cache = tmp_path / "engines" / "timing-sm87-orin-10.3.0.cache"
    assert cache.read_bytes() == b"timedtimed"
    assert trt.configs[0].workspace == 512 << 20


def test_names_tell_models_devices_and_versions_apart() -> None:
    first = engine_name("a" * 64, ORIN, Compiler("tensorrt", "10.3.0"))
    assert first == "aaaaaaaaaaaaaaaa-sm87-orin-tensorrt-10.3.0.engine"
    others = [
        engine_name("b" * 64, ORIN, Compiler("tensorrt", "10.3.0")),
        engine_name("a" * 64, Device("Orin Nano/8GB", 8, 7), Compiler("tensorrt", "10.3.0")),
        engine_name("a" * 64, ORIN, Compiler("tensorrt", "10.7.0")),
        engine_name("a" * 64, ORIN, RTX),
    ]
    assert len({first, *others}) == 5
    assert all("/" not in name for name in others)


def test_an_engine_that_fails_its_check_or_does_not_fit_on_the_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, trt = write_graph(tmp_path / "policy.onnx"), TensorRtStandIn("10.3.0", CudaStandIn())
    folder = tmp_path / "engines"

    def engines() -> list[str]:
        return [path.name for path in folder.iterdir() if path.suffix != ".cache"]

    def differs(path: Path) -> str:
        raise ParityError("the engine disagrees")

    with pytest.raises(ParityError):
        make(graph, folder, trt, Compiler("tensorrt", "10.3.0"), ORIN, check=differs)
    assert engines() == []

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as disk:
        disk.setattr(os, "replace", full)
        with pytest.raises(ExportError, match="cannot write the engine") as caught:
            make(graph, folder, trt, Compiler("tensorrt", "10.3.0"), ORIN)
        assert "No space left" in caught.value.got
    assert engines() == []


def test_a_rebuild_that_fails_leaves_the_engine_that_worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, trt = write_graph(tmp_path / "policy.onnx"), TensorRtStandIn("10.3.0", CudaStandIn())
    folder, compiler = tmp_path / "engines", Compiler("tensorrt", "10.3.0")

    def engines() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".cache"}

    def differs(path: Path) -> str:
        raise ParityError("the engine disagrees")

    path, record, _ = make(graph, folder, trt, compiler, ORIN)
    before = engines()
    with pytest.raises(ParityError):
        make(graph, folder, trt, compiler, ORIN, check=differs)
    assert engines() == before

    whole = engine._write

    def fills(target: Path, content: bytes) -> None:
        if target.suffix == ".json":
            raise OSError(28, "No space left on device", str(target))
        whole(target, content)

    with monkeypatch.context() as disk:
        disk.setattr(engine, "_write", fills)
        with pytest.raises(ExportError, match="cannot write the engine"):
            make(graph, folder, trt, compiler, ORIN)
    assert engines() == before
    assert read_record(path) == record
    assert make(graph, folder, trt, compiler, ORIN)[0] == path
    assert set(engines()) == set(before)


def test_on_the_device_an_engine_is_compared_with_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.policy.backends.cuda import Cuda

    graph, device = write_graph(tmp_path / "policy.onnx"), CudaStandIn()
    compiler, trt = Compiler("tensorrt", "10.3.0"), TensorRtStandIn("10.3.0", device)
    path, record, _ = make(graph, tmp_path / "engines", trt, compiler, ORIN)
    assert read_record(path) == record
    told = engine.compare(graph, path, trt, compiler, Cuda(device), "fp32")
    assert told.startswith("32 cases, worst difference from ONNX Runtime: chunk ")
    other = write_graph(tmp_path / "other.onnx", drift=0.1)
    with pytest.raises(ParityError, match="disagrees with ONNX Runtime in 'chunk'"):
        engine.compare(other, path, trt, compiler, Cuda(device), "fp32")
    assert device.alive() == {}


def test_without_a_gpu_the_command_says_where_to_run_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU: the command would build for it")
    graph = write_graph(tmp_path / "policy.onnx")
    assert main(["engine", "--policy", str(graph)]) == 2
    assert "run this on the robot" in capsys.readouterr().err
