"""Exporting the planner: the files do what the checkpoint does, and a difference stops the export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors.torch import load_file, save_file
from tiny_planner import build_checkpoint

from edge.api import Call, Outcome
from edge.planner.planner import Planner
from edge.planner.prompt import fingerprint
from edge.tabletop import API
from export.__main__ import main
from export.errors import ExportError, ParityError
from export.gguf_convert import convert
from export.gguf_quantize import quantize
from export.gguf_types import FILE_TYPES
from export.planner import MMPROJ_FILE, MODEL_FILE, REPORT_FILE, export_planner
from export.planner_cases import Case, load_cases, save_cases
from export.planner_export import Wish
from export.planner_gate import check_planner
from export.planner_parity import Limits, compare
from export.planner_sides import TorchSide

#: A random model's logits lie close together, so quantization swaps more calls than in a trained one.
LOOSE = Wish("q8_0", limits=Limits(equal=0.5))


def make_cases(count: int = 8) -> list[Case]:
    random = np.random.default_rng(0)
    calls = list(API.calls())
    return [
        Case(
            image=random.integers(0, 256, (192, 192, 3), dtype=np.uint8),
            task=f"put cube {index} on the plate",
            transcript=tuple((calls[random.integers(26)], Outcome.OK) for _ in range(index % 4)),
            call=calls[index],
        )
        for index in range(count)
    ]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "checkpoint"
    build_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def cases_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cases") / "cases.npz"
    save_cases(path, API, make_cases())
    return path


def damaged(checkpoint: Path, tmp_path: Path, **changes: object) -> Path:
    """A copy of the checkpoint with keys `part__key` of its configuration changed."""
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    for name, value in changes.items():
        part, key = name.split("__")
        (config[part] if part else config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_exported_planner_plans(checkpoint: Path, cases_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export_planner(API, checkpoint, cases_file, out, wish=LOOSE)
    assert report == json.loads((out / REPORT_FILE).read_text())
    assert report["api_hash"] == API.hash
    assert report["image_size"] == 192
    full, small = report["parity"]["full"], report["parity"]["q8_0"]
    assert full["equal"] == full["cases"] == 8
    assert full["logits_error"] < small["logits_error"]
    assert full["kl"] < small["kl"]
    assert full["embedding_error"] < 1e-3
    case = make_cases()[1]
    with Planner(API, out / MODEL_FILE, out / MMPROJ_FILE) as planner:
        assert planner.next_call(case.image, case.task, case.transcript).call.subtask in API.subtasks


def test_quantized_files_are_smaller(checkpoint: Path, tmp_path: Path) -> None:
    full = tmp_path / "full.gguf", tmp_path / "full-mmproj.gguf"
    convert(checkpoint, *full, "any")
    for path in full:
        small = path.with_suffix(".q8")
        quantize(path, small, "q8_0")
        assert small.stat().st_size < path.stat().st_size


def test_converted_twice_the_files_are_the_same(checkpoint: Path, tmp_path: Path) -> None:
    twice = [(tmp_path / f"{name}.gguf", tmp_path / f"{name}-mmproj.gguf") for name in "ab"]
    for files in twice:
        convert(checkpoint, *files, "any")
    for first, second in zip(*twice, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert GGUFReader(twice[0][0]).fields["general.name"].contents() == "Checkpoint"


def test_other_weights_fail_the_gate_and_write_nothing(checkpoint: Path, cases_file: Path, tmp_path: Path) -> None:
    """The gate compares with the checkpoint it is given: files made from other weights must not pass."""
    other = tmp_path / "other"
    build_checkpoint(other, seed=1)
    files = tmp_path / "other.gguf", tmp_path / "other-mmproj.gguf"
    convert(other, *files, fingerprint(API))
    cases = load_cases(cases_file, API)
    with pytest.raises(ParityError, match="does not plan as the checkpoint does") as caught:
        compare(API, cases, TorchSide(checkpoint), files, Limits(equal=1.0), "f16")
    assert "case " in caught.value.got
    with pytest.raises(ParityError, match="logits differ"):
        compare(API, cases, TorchSide(checkpoint), files, Limits(equal=0.0, logits=0.02), "f16")


def test_a_small_change_of_the_vision_half_fails_the_gate(checkpoint: Path, cases_file: Path, tmp_path: Path) -> None:
    """One swapped pair of channels in the patch embedding: the calls may survive, the logits do not."""
    files = tmp_path / "a.gguf", tmp_path / "a-mmproj.gguf"
    changed = tmp_path / "changed"
    shutil.copytree(checkpoint, changed)
    weights = load_file(changed / "model.safetensors")
    name = next(name for name in weights if "patch_embedding.weight" in name)
    weights[name] = weights[name].flip(1).contiguous()
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    convert(changed, *files, fingerprint(API))
    with pytest.raises(ParityError, match="logits differ"):
        compare(API, load_cases(cases_file, API), TorchSide(checkpoint), files, Limits(equal=0.0, logits=0.02), "f16")


def test_the_command_line_prints_the_figures_and_fails_with_a_status(
    checkpoint: Path, cases_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--checkpoint", str(checkpoint), "--cases", str(cases_file)]
    good = tmp_path / "good"
    assert main(["planner", *options, "--out", str(good), "--type", "f16"]) == 0
    assert "8/8 calls equal" in capsys.readouterr().out
    bad = tmp_path / "bad"
    assert main(["planner", *options, "--out", str(bad), "--type", "q8_0", "--equal", "1.01"]) == 3
    assert "worst" in capsys.readouterr().err
    assert not bad.exists()
    assert main(["planner", "--checkpoint", str(tmp_path), "--cases", str(cases_file), "--out", str(bad)]) == 2
    assert "config.json" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in ((["--help"], "planner"), (["planner", "--help"], "example")):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert word in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"__architectures": ["LlamaForCausalLM"]},
        {"vision_config__intermediate_size": 64},
        {"text_config__intermediate_size": 250},
    ],
)
def test_a_checkpoint_that_llama_cpp_would_get_wrong_is_refused(
    checkpoint: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = damaged(checkpoint, tmp_path, **changes)
    config = json.loads((folder / "config.json").read_text())
    with pytest.raises(ExportError):
        check_planner(config, folder)


@pytest.mark.parametrize("name", ["api_hash", "prompt"])
def test_a_checkpoint_trained_for_something_else_is_refused(
    checkpoint: Path, cases_file: Path, tmp_path: Path, name: str
) -> None:
    folder = damaged(checkpoint, tmp_path)
    (folder / "training.json").write_text(json.dumps({name: "another"}))
    with pytest.raises(ExportError, match=f"another {name}"):
        export_planner(API, folder, cases_file, tmp_path / "out")


def test_an_unknown_quantization_is_refused(checkpoint: Path, cases_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="quantization"):
        export_planner(API, checkpoint, cases_file, tmp_path, wish=Wish("q3_x"))


@pytest.mark.parametrize("name", [kind.name for kind in FILE_TYPES.values() if kind.needs_importance])
def test_a_type_that_needs_calibration_names_one_that_needs_none(name: str) -> None:
    with pytest.raises(ExportError, match="importance matrix") as caught:
        Wish(name)
    assert not FILE_TYPES[caught.value.fix.split()[-1]].needs_importance


def test_cases_read_back(cases_file: Path) -> None:
    for case, read in zip(make_cases(), load_cases(cases_file, API), strict=True):
        assert np.array_equal(case.image, read.image)
        assert (case.task, case.transcript, case.call) == (read.task, read.transcript, read.call)


def test_cases_without_an_answer_read_back(tmp_path: Path) -> None:
    path = tmp_path / "cases.npz"
    image = np.zeros((192, 192, 3), np.uint8)
    save_cases(path, API, [Case(image, "tidy up", ((Call("place_free"), Outcome.LOST),))])
    assert load_cases(path, API)[0].call is None


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_a_damaged_cases_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cases.npz"
    path.write_bytes(content)
    with pytest.raises(ExportError):
        load_cases(path, API)
    with pytest.raises(ExportError):
        load_cases(tmp_path / "missing.npz", API)


def test_pickled_cases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cases.npz"
    objects = np.array([{"task": "x"}], dtype=object)
    np.savez(path, images=objects, tasks=objects, transcripts=objects)
    with pytest.raises(ExportError):
        load_cases(path, API)
