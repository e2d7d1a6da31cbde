"""The report card of a bundle: what it says, of which bundle, whoever wrote the manifest and whatever the disk does."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from bundles import write_bundle
from full_disk import files_at_most
from rich.console import Console

from edge.manifest import MANIFEST, load
from export.__main__ import main
from export.card import measure as measuring
from export.card.data import Card
from export.card.headline import figures, verdicts
from export.card.measure import Measured, measure, timing
from export.card.page import render
from export.card.reading import plain, read_card, successes
from export.card.tables import tables
from export.card.terminal import show
from learning.intervals import wilson

REFERENCE = Path(__file__).resolve().parents[1] / "models/reference"
MACHINE = {
    "processor": "a processor",
    "cores": "2",
    "memory": "8.0 GB",
    "system": "Linux",
    "libraries": "numpy 2",
    "load before": "0.1",
    "measured": "2026-01-02 03:04 UTC",
}
MEASURED = Measured(
    MACHINE,
    1,
    "ONNX Runtime 1, processor",
    "",
    (
        timing("policy", "load", [50.0]),
        timing("policy", "evaluation", [4.0, 5.0, 6.0]),
        timing("planner", "re-plan, warm", [30.0, 40.0]),
    ),
    memory_mb=80.0,
    process_mb=160.0,
    answer_tokens=8.0,
)
HOSTILE = "</title><script>alert(1)</script>\"'& [bold]\x1b[2J\x1b]0;owned\x07\u202egnp.exe\ud800\nnext"


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.depth: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "rect"):
            self.depth.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.depth.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(card: Card, *, details: bool = True) -> str:
    out = io.StringIO()
    show(card, Console(file=out, width=160, highlight=False), details=details)
    return out.getvalue()


def test_the_reference_card_says_what_the_manifest_and_the_files_say() -> None:
    bundle = load(REFERENCE)
    card = read_card(bundle, MEASURED)
    assert {file.name: file.bytes for file in card.files} == {
        name: (REFERENCE / name).stat().st_size for name in bundle.manifest.files
    }
    assert sum(file.share for file in card.files) == pytest.approx(1)
    assert [file.bytes for file in card.files] == sorted((file.bytes for file in card.files), reverse=True)
    noted = bundle.manifest.made_by.parts["planner"]["parity"]
    assert {row.precision: (row.equal, row.cases) for row in card.planner_parity} == {
        name: (row["equal"], row["cases"]) for name, row in noted.items()
    }
    assert card.policy_parity[0].worst == bundle.manifest.made_by.parts["policy"]["parity"]["worst"]
    kinds = {(row.cell, row.kind): (row.done, row.n) for row in card.success}
    assert kinds == {
        (cell, kind): (row["done"], row["n"])
        for cell, rows in bundle.manifest.results.items()
        for kind, row in rows.items()
    }
    assert all((row.low, row.high) == wilson(row.done, row.n) for row in card.success)
    assert "; ".join(card.commands) == bundle.manifest.made_by.command
    assert card.between_chunks_ms == 400
    assert not any(good is False for good, _ in verdicts(card))


def test_the_three_renderings_say_the_same() -> None:
    card = read_card(load(REFERENCE), MEASURED)
    terminal, page = shown(card), Page(render(card))
    assert page.depth == []
    data = json.loads(json.dumps(card.as_dict()))
    assert data["measured"]["timings"][1]["p50"] == 5.0
    for figure in figures(card):
        assert figure.value in terminal
        assert figure.value in page.text
    for table in tables(card):
        for row in table.rows:
            for cell in row:
                assert cell.text in page.text
    for row in card.success:
        assert f"{row.done} / {row.n}" in terminal
    assert "5.0 ms" in [figure.value for figure in figures(card)]
    assert "checksums" not in shown(card, details=False).lower(), "a closer look is for who asks for it"


def test_the_page_needs_nothing_else_and_its_tables_have_heads() -> None:
    page = Page(render(read_card(load(REFERENCE), MEASURED)))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not any(key.startswith("on") or key in ("src", "href", "style") for _, keys in page.tags for key in keys)
    assert "url(" not in page.text
    assert "@import" not in page.text
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") == tags.count("thead") > 5
    scopes = [keys.get("scope") for tag, keys in page.tags if tag == "th"]
    assert set(scopes) == {"row", "col"}
    assert scopes.count("row") == tags.count("tr") - tags.count("thead")
    assert all(keys.get("aria-hidden") == "true" for tag, keys in page.tags if tag == "svg")
    assert ("html", {"lang": "en"}) in page.tags


def test_two_cards_agree_but_for_what_was_measured() -> None:
    first, second = (read_card(load(REFERENCE), MEASURED) for _ in range(2))
    assert render(first) == render(second)
    slower = dataclasses.replace(MEASURED, timings=(timing("policy", "evaluation", [500.0]),))
    third = read_card(load(REFERENCE), slower)
    assert dataclasses.replace(third, measured=None) == dataclasses.replace(first, measured=None)
    assert [good for good, text in verdicts(third) if "too slow" in text] == [False]


def test_a_bundle_that_knows_nothing_of_itself_says_so(tmp_path: Path) -> None:
    card = read_card(load(write_bundle(tmp_path)))
    assert (card.success, card.planner_parity, card.policy_parity, card.measured) == ((), (), (), None)
    told = [text for good, text in verdicts(card) if good is None]
    assert len(told) == 3
    page = Page(render(card))
    for words in ("No evaluation came with this bundle.", "The parts brought no report.", "Not measured"):
        assert words in page.text
        assert words in shown(card)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"n": 10, "done": 3}, [("", "all", 3, 10)]),
        ({"pick": {"n": 10, "done": 3}}, [("", "pick", 3, 10)]),
        ({"both": {"pick": {"n": 10, "done": 10, "held out": 2}}}, [("both", "pick", 10, 10)]),
        ({"pick": {"n": 0, "done": 0}}, []),
        ({"pick": {"n": 2, "done": 3}}, []),
        ({"pick": {"n": "100", "done": True}}, []),
        ({"pick": {"n": 2.5, "done": -1}, "note": [1, 2]}, []),
    ],
)
def test_only_counts_of_episodes_are_taken_for_a_success_rate(results: dict[str, Any], expected: list[object]) -> None:
    assert [(row.cell, row.kind, row.done, row.n) for row in successes(results)] == expected


def test_what_an_evaluation_says_besides_is_shown_too(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["results"] = {"pick": {"n": 10, "done": 9, "held out": {"n": 4, "done": 3}, "seconds": 3.5}, "by": "me"}

    card = read_card(load(write_bundle(tmp_path, change)))
    assert dict(card.other) == {"pick.seconds": "3.5", "by": "me"}
    assert [(row.cell, row.kind, row.n) for row in card.success] == [("", "pick", 10), ("pick", "held out", 4)]


@pytest.mark.parametrize("error", [0.02, 0.5])
def test_what_is_beyond_the_allowed_is_marked(tmp_path: Path, error: float) -> None:
    def change(data: dict[str, Any]) -> None:
        data["policy"]["precision"] = "int8"
        far = {"median": 0.0, "p99": error, "worst": error}
        typed = {"error": {"chunk": far, "observations": 8, "than": "the fp32 graph"}, "tolerance": {"worst": 0.15}}
        data["made_by"]["parts"] = {"policy": {"precision": typed, "parity": {"cases": 4, "worst": 1e-6}}}

    card = read_card(load(write_bundle(tmp_path, change)))
    marks = [cell.good for table in tables(card) for row in table.rows for cell in row if cell.good is not None]
    assert marks == [error <= 0.15]
    assert ("✗" in shown(card)) == (error > 0.15)


def spoil(data: dict[str, Any]) -> None:
    """Every text that a manifest may hold is hostile, and numbers are what nobody expects."""
    data["robot"] = data["joints"][0] = data["policy"]["precision"] = HOSTILE
    for tensor in data["policy"]["inputs"]:
        tensor["kind"] = tensor["unit"] = HOSTILE
    data["results"] = {HOSTILE: {HOSTILE: {"n": 3, "done": 1}}, "deep": {}, "inf": float("inf"), "list": [HOSTILE]}
    inner = data["results"]["deep"]
    for _ in range(60):
        inner[HOSTILE] = inner = {}
    data["made_by"] = {
        "command": f"{HOSTILE}; {HOSTILE}",
        "seed": 10**30,
        "versions": {HOSTILE: HOSTILE},
        "parts": {
            HOSTILE: {"training": {HOSTILE: HOSTILE}, "method": HOSTILE},
            "policy": {"parity": {"cases": 3, "worst": 10**400, "tolerance": "x"}, "training": [HOSTILE]},
            "planner": {
                "type": HOSTILE,
                "parity": {
                    HOSTILE: {"cases": 2, "equal": 1, "right": HOSTILE, "logits_error": float("nan")},
                    "none": HOSTILE,
                    "zero": {"cases": 0, "equal": 0, "logits_error": 1, "logits_scale": 0},
                },
            },
        },
    }


def test_hostile_texts_of_a_manifest_are_only_shown(tmp_path: Path) -> None:
    card = read_card(load(write_bundle(tmp_path, spoil)), MEASURED)
    page, terminal = render(card), shown(card)
    page.encode("utf-8")
    parsed = Page(page)
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert parsed.depth == []
    assert "alert(1)" in parsed.text
    for rendered in (page, terminal, json.dumps(card.as_dict(), ensure_ascii=False)):
        assert not set(rendered) & {"\x1b", "\x07", "\u202e", "\ud800"}
    assert "[bold]" in terminal
    assert card.policy_parity == ()


def test_a_very_long_text_is_cut() -> None:
    assert len(plain("x" * 1_000_000)) < 5000


def damage(folder: Path) -> None:
    (folder / "planner.gguf").write_bytes(b"other")


def remove(folder: Path) -> None:
    (folder / "policy.onnx").unlink()


def nest(folder: Path) -> None:
    (folder / MANIFEST).write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("harm", "name", "fix"),
    [
        (damage, "planner.gguf", "restore the file"),
        (remove, "policy.onnx", "copy the whole"),
        (nest, MANIFEST, "again"),
    ],
)
def test_a_bundle_that_is_not_whole_has_no_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None], name: str, fix: str
) -> None:
    folder = write_bundle(tmp_path)
    harm(folder)
    assert main(["inspect", str(folder), "--html", str(tmp_path / "card.html")]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert fix in error
    assert not (tmp_path / "card.html").exists()


def test_a_page_that_does_not_fit_on_the_disk_leaves_the_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "cards"
    command = ["inspect", str(REFERENCE), "--no-latency", "--html", str(home / "card.html")]
    with files_at_most(4000):
        assert main(command) == 2
    assert "free some space" in capsys.readouterr().err
    assert not any(home.iterdir())
    assert main(command) == 0
    before = (home / "card.html").read_text()
    with files_at_most(4000):
        assert main(command) == 2
    assert [path.name for path in home.iterdir()] == ["card.html"]
    assert (home / "card.html").read_text() == before


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").mkdir()
    assert main(["inspect", str(REFERENCE), "--no-latency", "--html", str(tmp_path / "taken")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(REFERENCE), "--no-latency", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == sum(
        (REFERENCE / name).stat().st_size for name in load(REFERENCE).manifest.files
    )


def test_the_reference_bundle_is_measured_by_the_runtimes_own_classes() -> None:
    found = measure(REFERENCE)
    assert [(row.part, row.what) for row in found.timings] == [
        ("policy", "load"),
        ("policy", "evaluation"),
        ("planner", "load"),
        ("planner", "image encode"),
        ("planner", "re-plan, warm"),
        ("planner", "re-plan, cold"),
        ("planner", "one token"),
    ]
    assert all(0 < row.p50 <= row.p99 <= row.worst for row in found.timings)
    assert {row.what: row.n for row in found.timings}["evaluation"] == measuring.EVALUATIONS
    assert found.memory_mb > 0.5 * sum(path.stat().st_size for path in REFERENCE.iterdir()) / 1e6
    assert found.process_mb > found.memory_mb
    assert (found.threads, found.machine["cores"] != "") == (1, True)


def test_a_bundle_that_is_whole_but_does_not_run_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_bundle(tmp_path)
    assert main(["inspect", str(folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "speed was not measured: the bundle cannot be run" in said
    assert "llama.cpp refused" in said


def test_a_policy_without_a_planner_is_measured_alone(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "alone")
    path = tmp_path / "alone" / MANIFEST
    data = json.loads(path.read_text())
    data["planner"] = None
    path.write_text(json.dumps(data))
    found = measure(tmp_path / "alone")
    assert {row.part for row in found.timings} == {"policy"}
    assert found.answer_tokens is None
    card = read_card(load(tmp_path / "alone"), found)
    assert card.planner_parity == ()
    assert "to re-plan" not in [figure.what for figure in figures(card)]
