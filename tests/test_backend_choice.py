"""Which backend runs the policy, and what a person is told about it."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from bundles import write_bundle
from cuda_standin import CudaStandIn
from tensorrt_standin import TensorRtStandIn
from test_policy import write_graph

from edge.cli import main
from edge.config import RunConfig, load
from edge.doctor import examine
from edge.errors import ConfigError, PolicyError
from edge.manifest import load as load_bundle
from edge.policy.backends import choice, open_backend
from edge.policy.backends.engines import Compiler, Device, find, folders
from edge.policy.policy import Policy
from edge.tabletop import API
from edge.types import BACKENDS
from export.engine import make

ORIN = Device("Orin", 8, 7)
JETPACK = Compiler("tensorrt", "10.3.0")


class Robot:
    """A machine with a GPU and TensorRT, as far as imports can tell."""

    def __init__(self, patch: pytest.MonkeyPatch, cache: Path) -> None:
        self.cuda = CudaStandIn()
        self.trt = TensorRtStandIn("10.3.0", self.cuda)
        bindings = types.ModuleType("cuda.bindings")
        patch.setitem(sys.modules, "cuda.bindings", bindings)
        patch.setitem(sys.modules, "cuda.bindings.runtime", self.cuda)
        patch.setitem(sys.modules, "tensorrt", self.trt)
        patch.setenv("XDG_CACHE_HOME", str(cache))

    def build(self, graph: Path, folder: Path | None = None) -> Path:
        return make(graph, folder or folders(graph)[0], self.trt, JETPACK, ORIN)[0]


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Robot:
    return Robot(monkeypatch, tmp_path / "cache")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "policy.onnx")


def test_the_engine_of_this_graph_and_device_is_taken(robot: Robot, graph: Path) -> None:
    robot.build(graph)
    backend = open_backend(graph, 1)
    assert backend.name == "TensorRT 10.3.0, Orin (sm87)"
    assert backend.note == ""
    backend.close()
    assert robot.cuda.alive() == {}


def test_an_engine_in_the_users_cache_is_found_too(robot: Robot, graph: Path) -> None:
    robot.build(graph, folders(graph)[1])
    assert open_backend(graph, 1).name.startswith("TensorRT")


def test_without_an_engine_the_processor_runs_it_and_the_command_that_builds_one_is_told(
    robot: Robot, graph: Path
) -> None:
    backend = open_backend(graph, 1)
    assert backend.name.startswith("ONNX Runtime")
    assert "processor" in backend.name
    assert f"python -m export engine --policy {graph}" in backend.note
    with pytest.raises(PolicyError, match=r"no engine of policy\.onnx") as caught:
        open_backend(graph, 1, "tensorrt")
    assert "python -m export engine" in caught.value.fix


def test_an_engine_for_something_else_is_not_taken_and_the_difference_is_told(
    robot: Robot, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.build(graph)
    with monkeypatch.context() as other:
        other.setattr(robot.trt, "__version__", "10.7.0")
        assert "built for version 10.3.0, here is 10.7.0" in open_backend(graph, 1).note
    with monkeypatch.context() as other:
        other.setattr(robot.cuda, "name", "Orin Nano")
        assert "built for device Orin, here is Orin Nano" in open_backend(graph, 1).note
    with monkeypatch.context() as other:
        other.setattr(robot.cuda, "minor", 9)
        assert "built for compute capability sm87, here is sm89" in open_backend(graph, 1).note
    write_graph(graph, drift=0.1)
    note = open_backend(graph, 1).note
    assert "built for model" in note
    assert open_backend(graph, 1).name.startswith("ONNX Runtime")


def test_a_damaged_engine_is_not_run(robot: Robot, graph: Path) -> None:
    engine = robot.build(graph)
    engine.write_bytes(engine.read_bytes() + b"x")
    assert "is not the engine it was built as" in open_backend(graph, 1).note
    with pytest.raises(PolicyError, match="is not the engine it was built as"):
        open_backend(graph, 1, "tensorrt")


def test_an_engine_without_its_record_is_not_found_and_a_broken_record_is_told(robot: Robot, graph: Path) -> None:
    record = robot.build(graph).with_suffix(".json")
    content = json.loads(record.read_text())
    for broken in ("{", "[]", json.dumps({**content, "colour": "red"}), json.dumps({**content, "format": 2})):
        record.write_text(broken)
        with pytest.raises(PolicyError, match=r"cannot be read|another format"):
            find(graph, ORIN, JETPACK)
        assert open_backend(graph, 1).name.startswith("ONNX Runtime")
    record.unlink()
    assert "no engine in" in open_backend(graph, 1).note


def test_the_processor_can_be_asked_for_by_name(robot: Robot, graph: Path) -> None:
    robot.build(graph)
    backend = open_backend(graph, 1, "onnx")
    assert backend.name.startswith("ONNX Runtime")
    assert robot.cuda.calls == [], "the GPU is not even looked at"


def test_a_gpu_that_is_not_there_is_an_error_only_if_asked_for(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setitem(sys.modules, "cuda.cudart", None)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    backend = open_backend(graph, 1)
    assert backend.name.startswith("ONNX Runtime")
    assert backend.note == "", "a machine without a GPU has nothing to be told"
    with pytest.raises(PolicyError, match="cuda-python is not installed"):
        open_backend(graph, 1, "tensorrt")
    monkeypatch.setattr(choice, "find_spec", lambda name: name == "tensorrt")
    assert "TensorRT is installed, but cuda-python is not" in open_backend(graph, 1).note


def test_onnx_runtime_on_a_gpu_is_never_silently_the_processor(graph: Path) -> None:
    with pytest.raises(PolicyError, match="GPU") as caught:
        open_backend(graph, 1, "onnx-cuda")
    assert caught.value.expected == "CUDAExecutionProvider"


def test_the_configuration_and_the_command_line_name_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "arm.toml").write_text('[policy]\nbackend = "tensorrt"\n')
    assert load(tmp_path / "arm.toml").policy.backend == "tensorrt"
    assert load(tmp_path / "arm.toml", {"policy.backend": "onnx"}).policy.backend == "onnx"
    with pytest.raises(ConfigError, match=r"policy\.backend") as caught:
        load(overrides={"policy.backend": "npu"})
    assert caught.value.expected == ", ".join(BACKENDS)
    with pytest.raises(SystemExit):
        main(["doctor", "--backend", "npu"])
    assert "--backend" in capsys.readouterr().err


def test_a_policy_gives_back_what_its_backend_holds(robot: Robot, tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path))
    robot.build(bundle.file("policy.onnx"))
    bundle.verify()
    policy = Policy.load(bundle, API)
    assert policy.backend_name.startswith("TensorRT")
    assert robot.cuda.alive()
    policy.close()
    assert robot.cuda.alive() == {}


def test_doctor_says_what_runs_the_policy_and_what_would_be_faster(
    robot: Robot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path)
    examine(RunConfig(bundle=str(bundle), port="/dev/ttyNONE"), API)
    text = capsys.readouterr().out
    assert "policy on ONNX Runtime" in text
    assert f"python -m export engine --policy {bundle / 'policy.onnx'}" in text
    robot.build(bundle / "policy.onnx")
    examine(RunConfig(bundle=str(bundle), port="/dev/ttyNONE"), API)
    assert "policy on TensorRT 10.3.0, Orin (sm87)" in capsys.readouterr().out
    assert robot.cuda.alive() == {}
