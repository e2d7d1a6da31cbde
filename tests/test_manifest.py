"""A bundle that is incomplete, damaged or made for another robot never reaches the arm."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import BundleError
from edge.manifest import (
    FORMAT,
    MANIFEST,
    Images,
    Manifest,
    Origin,
    PlannerPart,
    PolicyPart,
    Rates,
    Tensor,
    load,
    sha256,
)
from edge.types import JOINTS

FILES = {"policy.onnx": b"graph", "planner/planner.gguf": b"words", "planner/mmproj.gguf": b"eyes"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    manifest = Manifest(
        format=FORMAT,
        api_hash="abc",
        robot="so101",
        joints=JOINTS,
        units=("rad",) * 5 + ("fraction",),
        rates=Rates(20.0, 16),
        images=Images(96, 192),
        policy=PolicyPart("policy.onnx", (Tensor("joints", "float32", (1, 6), "state/joint/position"),), ()),
        files={name: sha256(root / name) for name in FILES},
        made_by=Origin("python -m export bundle", seed=1, versions={"onnx": "1"}),
        planner=PlannerPart("planner/planner.gguf", "planner/mmproj.gguf"),
    )
    (root / MANIFEST).write_text(manifest.to_json())
    return root


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((bundle / MANIFEST).read_text())
    change(data)
    (bundle / MANIFEST).write_text(json.dumps(data))


def test_what_is_written_is_what_is_read(bundle: Path) -> None:
    loaded = load(bundle)
    loaded.verify()
    loaded.check_fits(api_hash="abc", robot="so101", joints=JOINTS)
    assert loaded.manifest.to_json() == (bundle / MANIFEST).read_text()
    assert loaded.manifest.rates.period_ns == 50_000_000
    assert dataclasses.is_dataclass(loaded.manifest.planner)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_by_name(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(FILES[name] + b"!")
    with pytest.raises(BundleError, match=name) as caught:
        load(bundle).verify()
    assert "sha256" in caught.value.expected
    assert caught.value.fix


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}") as caught:
        load(bundle).verify()
    assert caught.value.fix


def test_a_file_without_a_checksum_is_refused(bundle: Path) -> None:
    rewrite(bundle, lambda data: data["files"].pop("policy.onnx"))
    with pytest.raises(BundleError, match="no checksum"):
        load(bundle).verify()


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/passwd"])
def test_a_manifest_cannot_reach_outside_its_bundle(bundle: Path, name: str) -> None:
    rewrite(bundle, lambda data: data["files"].update({name: "0"}))
    with pytest.raises(BundleError, match="outside"):
        load(bundle).verify()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"api_hash": "other"}, "robot API"),
        ({"robot": "so100"}, "robot"),
        ({"joints": JOINTS[::-1]}, "joints"),
        ({"joints": JOINTS[:5]}, "joints"),
    ],
)
def test_a_bundle_for_another_robot_is_refused_with_both_sides(bundle: Path, asked: dict[str, Any], word: str) -> None:
    right: dict[str, Any] = {"api_hash": "abc", "robot": "so101", "joints": JOINTS}
    with pytest.raises(BundleError, match=f"another {word}") as caught:
        load(bundle).check_fits(**(right | asked))
    assert caught.value.expected != caught.value.got
    assert caught.value.fix


def test_an_unknown_key_names_the_nearest_one(bundle: Path) -> None:
    rewrite(bundle, lambda data: data.update(api_hsh="x"))
    with pytest.raises(BundleError, match="did you mean 'api_hash'"):
        load(bundle)


def test_an_unknown_key_inside_is_found_too(bundle: Path) -> None:
    rewrite(bundle, lambda data: data["rates"].update(horizons=3))
    with pytest.raises(BundleError, match="did you mean 'horizon'"):
        load(bundle)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.pop("joints"), "no key 'joints'"),
        (lambda data: data.update(format=99), "another format"),
        (lambda data: data["rates"].update(horizon="16"), "horizon"),
        (lambda data: data["rates"].update(horizon=True), "horizon"),
        (lambda data: data["rates"].update(target_hz=0), "rates"),
        (lambda data: data["rates"].update(target_hz=float("inf")), "target_hz"),
        (lambda data: data["rates"].update(replan_every=0), "replan_every"),
        (lambda data: data["rates"].update(replan_every=17), "replan_every"),
        (lambda data: data["rates"].update(lead=-1), "lead"),
        (lambda data: data["rates"].update(lead=16), "lead"),
        (lambda data: data["monitor"].update(held_below=float("nan")), "held_below"),
        (lambda data: data["monitor"].update(finished_count=0), "finished_count"),
        (lambda data: data.update(units=["rad"]), "units"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    rewrite(bundle, change)
    with pytest.raises(BundleError, match=words):
        load(bundle)


def test_what_is_not_a_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BundleError, match="no bundle at") as caught:
            load(path)
        assert "python -m export bundle" in caught.value.fix
    for content in ("{", "[]", "\udcff"):
        (tmp_path / MANIFEST).write_text(content, errors="surrogateescape")
        with pytest.raises(BundleError):
            load(tmp_path)
