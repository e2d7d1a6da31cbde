"""Making a bundle from exported parts, through the command line a person uses."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from full_disk import files_at_most
from test_policy import write_graph

from edge.manifest import MANIFEST, load
from edge.tabletop import API
from export.__main__ import main
from learning import evaluate

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "planner").mkdir()
    write_graph(tmp_path / "policy.onnx")
    (tmp_path / "planner/planner.gguf").write_bytes(b"words")
    (tmp_path / "planner/planner-mmproj.gguf").write_bytes(b"eyes")
    (tmp_path / "planner/planner.json").write_text(
        json.dumps({"api_hash": API.hash, "image_size": 128, "type": "q8_0"})
    )
    return tmp_path


def bundle_command(parts: Path, *more: str) -> int:
    planner, policy, out = parts / "planner", parts / "policy.onnx", parts / "out" / "reference"
    return main(
        ["bundle", "--planner", str(planner), "--policy", str(policy), "--out", str(out), "--no-latency", *more]
    )


def test_a_bundle_is_made_verified_and_shown(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (parts / "results.json").write_text(json.dumps({"pick": {"n": 100, "done": 97}}))
    assert (
        bundle_command(parts, "--results", str(parts / "results.json"), "--seed", "7", "--monitor", "held_above=0.2")
        == 0
    )
    out = parts / "out/reference"
    assert "97 / 100" in capsys.readouterr().out, "the card is shown when a bundle is made"
    assert main(["verify", str(out)]) == 0
    checked = capsys.readouterr().out
    assert all(word in checked for word in (*load(out).manifest.files, API.hash[:12], "policy graph", "not loaded"))
    assert main(["inspect", str(out), "--no-latency", "--details"]) == 0
    made = load(out).manifest
    assert set(made.files) == {"policy.onnx", "planner.gguf", "planner-mmproj.gguf"}
    assert (made.rates.horizon, made.images.policy, made.images.planner) == (16, 96, 128)
    assert made.units == ("rad",) * 5 + ("fraction",)
    assert made.monitor.held_above == 0.2
    assert made.made_by.seed == 7
    shown = capsys.readouterr().out
    assert "97 / 100" in shown
    assert "command/joint/" in shown


def test_the_episodes_of_an_evaluation_are_counted(parts: Path) -> None:
    """What `learning.evaluate --out` writes; our own episodes give the counts that the reference bundle carries."""
    assert bundle_command(parts, "--results", str(ROOT / "docs/results.json")) == 0
    made = load(parts / "out/reference").manifest.results
    reference = load(ROOT / "models/reference").manifest.results
    assert {cell: made[cell] for cell in reference} == reference
    evaluate.write(parts / "one.json", [evaluate.Score("both", "put", 0, False, False, False, 6.0, "lost", ())])
    assert bundle_command(parts, "--results", str(parts / "one.json")) == 0
    assert load(parts / "out/reference").manifest.results == {"both": {"put": {"n": 1, "done": 0}}}


def test_a_damaged_bundle_does_not_verify(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle_command(parts)
    (parts / "out/reference/planner.gguf").write_bytes(b"other")
    assert main(["verify", str(parts / "out/reference")]) == 2
    assert "planner.gguf" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 3_000])
def test_a_disk_that_fills_leaves_no_half_bundle(parts: Path, capsys: pytest.CaptureFixture[str], size: int) -> None:
    with files_at_most(size):
        status = bundle_command(parts)
    assert status == 2
    error = capsys.readouterr().err
    assert "cannot write the bundle" in error
    assert "free some space" in error
    assert not any((parts / "out").iterdir())


def test_a_disk_that_fills_leaves_the_old_bundle_as_it_was(parts: Path) -> None:
    bundle_command(parts)
    before = {path.name: path.read_bytes() for path in (parts / "out/reference").iterdir()}
    (parts / "planner/planner.gguf").write_bytes(bytes(100_000))
    with files_at_most(50_000):
        assert bundle_command(parts) == 2
    assert {path.name: path.read_bytes() for path in (parts / "out/reference").iterdir()} == before
    assert [path.name for path in (parts / "out").iterdir()] == ["reference"]


@pytest.mark.parametrize("text", ["", "not json", "[1]", "3", '{"pick": '])
@pytest.mark.parametrize("where", ["results.json", "planner/planner.json"])
def test_a_report_that_is_no_json_object_is_named(
    parts: Path, capsys: pytest.CaptureFixture[str], where: str, text: str
) -> None:
    (parts / where).write_text(text)
    more = ("--results", str(parts / where)) if where == "results.json" else ()
    assert bundle_command(parts, *more) == 2
    assert where in capsys.readouterr().err
    assert not (parts / "out").exists()


def test_an_old_bundle_is_replaced_whole_and_nothing_is_left_beside_it(parts: Path) -> None:
    bundle_command(parts)
    (parts / "out/reference/stray").write_text("")
    (parts / "planner/planner.gguf").write_bytes(b"new words")
    assert bundle_command(parts) == 0
    assert [path.name for path in (parts / "out").iterdir()] == ["reference"]
    assert (parts / "out/reference/planner.gguf").read_bytes() == b"new words"
    assert not (parts / "out/reference/stray").exists()


def test_a_directory_that_is_no_bundle_is_not_replaced(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (parts / "out/reference").mkdir(parents=True)
    (parts / "out/reference/thesis.txt").write_text("years of work")
    assert bundle_command(parts) == 2
    assert (parts / "out/reference/thesis.txt").read_text() == "years of work"
    assert [path.name for path in (parts / "out").iterdir()] == ["reference"]
    assert "not a bundle" in capsys.readouterr().err


def test_an_export_that_fails_leaves_the_old_bundle_as_it_was(parts: Path) -> None:
    bundle_command(parts)
    before = (parts / "out/reference" / MANIFEST).read_text()
    write_graph(parts / "policy.onnx", front=[1, 64, 64, 3])
    assert bundle_command(parts) == 2
    assert (parts / "out/reference" / MANIFEST).read_text() == before


@pytest.mark.parametrize(
    ("missing", "words"), [("policy.onnx", "no policy.onnx"), ("planner/planner.gguf", "no planner.gguf")]
)
def test_a_missing_part_is_named(parts: Path, capsys: pytest.CaptureFixture[str], missing: str, words: str) -> None:
    (parts / missing).unlink()
    assert bundle_command(parts) == 2
    assert words in capsys.readouterr().err


def test_a_part_trained_for_another_api_is_refused(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (parts / "planner/planner.json").write_text(json.dumps({"api_hash": "0" * 64}))
    assert bundle_command(parts) == 2
    assert "another robot API" in capsys.readouterr().err


def test_a_policy_trained_for_another_api_is_refused(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The graph itself says what it was trained for; its report does not."""
    graph = onnx.load(parts / "policy.onnx")
    onnx.helper.set_model_props(graph, {"api_hash": "0" * 64})
    onnx.save(graph, parts / "policy.onnx")
    assert bundle_command(parts) == 2
    error = capsys.readouterr().err
    assert "policy.onnx was exported for another robot API" in error
    assert API.hash in error
    onnx.helper.set_model_props(graph, {"api_hash": API.hash})
    onnx.save(graph, parts / "policy.onnx")
    assert bundle_command(parts) == 0


@pytest.mark.parametrize(
    ("setting", "words"), [("held_abov=0.2", "did you mean 'held_above'"), ("held_above=wide", "a number")]
)
def test_a_monitor_number_that_cannot_be_used_is_refused(
    parts: Path, capsys: pytest.CaptureFixture[str], setting: str, words: str
) -> None:
    assert bundle_command(parts, "--monitor", setting) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--replan-every", "0", "replan_every"),
        ("--replan-every", "-1", "replan_every"),
        ("--replan-every", "17", "1 to 16"),
        ("--lead", "-1", "lead"),
        ("--lead", "16", "0 to 15"),
        ("--monitor", "held_above=nan", "held_above"),
        ("--monitor", "rest_for_s=inf", "rest_for_s"),
        ("--monitor", "empty_for_s=-1", "empty_for_s"),
        ("--monitor", "finished_probability=1.5", "0 to 1"),
        ("--threads", "0", "--threads"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_written(
    parts: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, words: str
) -> None:
    assert bundle_command(parts, option, value) == 2
    assert words in capsys.readouterr().err
    assert not (parts / "out").exists()


@pytest.mark.parametrize(("every", "lead"), [("1", "0"), ("16", "15")])
def test_the_ends_of_the_ranges_are_within(parts: Path, every: str, lead: str) -> None:
    assert bundle_command(parts, "--replan-every", every, "--lead", lead) == 0
    assert (parts / "out/reference").is_dir()


def test_the_reference_bundle_says_nothing_of_the_machine_that_made_it() -> None:
    for path in (ROOT / "models/reference").iterdir():
        data = path.read_bytes()
        for mark in (b'File "/', b"site-packages", b"/home/", b"/root/"):
            assert mark not in data, path
