"""Policy graphs on a disk that fills, and what stays of an older one: graph and report come together or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from full_disk import files_at_most
from onnx import TensorProto
from small_network import small_network

from export import policy
from export.__main__ import main
from export.errors import ExportError, ParityError
from export.source import Port, Source

WIDTH = 2048


def source(factor: float = 1.0) -> Source:
    """A policy that is one matrix product of 16 kB; the graph's factor is the network's unless `factor` says else."""
    weight = np.random.default_rng(0).normal(size=(WIDTH, 2)).astype(np.float32) / WIDTH

    def graph() -> onnx.ModelProto:
        x, y = (
            onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
            for name, width in (("joints", WIDTH), ("chunk", 2))
        )
        product = onnx.helper.make_node("MatMul", ["joints", "weight"], ["chunk"])
        kept = onnx.numpy_helper.from_array(weight * np.float32(factor), "weight")
        return onnx.helper.make_model(
            onnx.helper.make_graph([product], "product", [x], [y], [kept]),
            ir_version=10,
            opset_imports=[onnx.helper.make_opsetid("", 18)],
        )

    return Source(
        name="product",
        reference=lambda joints: (joints @ torch.from_numpy(weight),),
        inputs=(Port("joints", "float32", (1, WIDTH), "state/joint/position", "radians"),),
        outputs=(Port("chunk", "float32", (1, 2), "command/joint/position", "radians"),),
        graph=graph,
        case=lambda rng: {"joints": rng.normal(size=(1, WIDTH)).astype(np.float32)},
        evaluations=1,
        parameters=weight.size,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("room", [0, 100, 8000])
def test_a_policy_that_does_not_fit_leaves_nothing(tmp_path: Path, room: int) -> None:
    with files_at_most(room), pytest.raises(ExportError, match="cannot write") as caught:
        policy.write(source(), tmp_path / "out" / "policy.onnx")
    assert "policy.onnx" in str(caught.value)
    assert "free some space" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [0, 100, 8000])
def test_an_older_policy_and_its_report_survive_a_full_disk(tmp_path: Path, room: int) -> None:
    out = tmp_path / "policy.onnx"
    policy.write(source(), out)
    before = files(tmp_path)
    assert sorted(before) == ["policy.json", "policy.onnx"]
    with files_at_most(room), pytest.raises(ExportError, match="cannot write"):
        policy.write(source(), out, cases=3)
    assert files(tmp_path) == before


def test_a_report_that_does_not_fit_leaves_the_older_graph_with_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "policy.onnx"
    policy.write(source(), out)
    before = files(tmp_path)

    def full(path: Path, text: str, *_: object, **__: object) -> int:
        with path.open("w") as half:
            half.write(text[: len(text) // 2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ExportError, match="cannot write") as caught:
        policy.write(source(), out, cases=3)
    assert "No space left" in caught.value.got
    assert files(tmp_path) == before


def test_a_policy_that_fails_its_gate_leaves_the_older_one(tmp_path: Path) -> None:
    out = tmp_path / "policy.onnx"
    policy.write(source(), out)
    before = files(tmp_path)
    with pytest.raises(ParityError):
        policy.write(source(factor=2.0), out)
    assert files(tmp_path) == before


def test_the_command_keeps_the_older_policy_if_the_precision_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy.onnx"
    monkeypatch.setattr(policy, "open_source", lambda arguments: source())
    assert main(["policy", "--out", str(out)]) == 0
    before = files(tmp_path)
    assert json.loads(before["policy.json"])["precision"]["precision"] == "fp32"
    assert main(["policy", "--out", str(out), "--precision", "int8"]) == 2
    assert "int8 needs calibration data" in capsys.readouterr().err
    assert files(tmp_path) == before


@pytest.mark.parametrize("room", [0, 100, 8000])
def test_a_typed_graph_that_does_not_fit_leaves_nothing(
    tmp_path: Path, room: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "policy.onnx"
    onnx.save(small_network(), given)
    wanted = ["precision", "--policy", str(given), "--out", str(tmp_path / "fp16" / "policy.onnx")]
    with files_at_most(room):
        assert main([*wanted, "--precision", "fp16"]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [given]


@pytest.mark.parametrize("report", ["{", "[]", "\udcff", "[" * 100_000])
def test_a_damaged_report_beside_a_graph_is_named(
    tmp_path: Path, report: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "policy.onnx"
    onnx.save(small_network(), given)
    given.with_suffix(".json").write_bytes(report.encode(errors="surrogateescape"))
    before = files(tmp_path)
    assert main(["precision", "--policy", str(given), "--out", str(tmp_path / "out" / "policy.onnx")]) == 2
    assert "policy.json" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_where_nothing_can_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "policy.onnx"
    onnx.save(small_network(), given)
    (tmp_path / "folder").mkdir()
    before = files(tmp_path)
    for out in (tmp_path / "folder", given / "policy.onnx", given / "more" / "policy.onnx", tmp_path / ("x" * 300)):
        assert main(["precision", "--policy", str(given), "--out", str(out), "--precision", "fp16"]) == 2
        assert "cannot write" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_rename_that_fails_leaves_the_older_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "policy.onnx"
    out.write_text("old")
    out.with_suffix(".json").write_text("old")
    before, replace = files(tmp_path), os.replace

    def fails(from_: Path, to: Path) -> None:
        if to == out:
            raise OSError(28, "No space left on device", str(to))
        replace(from_, to)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(ExportError, match="cannot write"):
        policy.write(source(), out)
    assert files(tmp_path) == before
