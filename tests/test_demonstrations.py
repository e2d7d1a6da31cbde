"""Demonstrations go where they are asked for, and nothing else is lost there."""

from __future__ import annotations

from pathlib import Path

import pytest

from learning import demonstrations
from learning.dataset import DatasetError


def test_a_directory_of_datasets_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/tabletop/meta").mkdir(parents=True)
    (tmp_path / "data/tabletop/meta/info.json").write_text("{}")
    assert demonstrations.main(["--out", str(tmp_path / "data"), "--episodes", "1", "--workers", "1"]) == 2
    assert "is not a dataset" in capsys.readouterr().err
    assert (tmp_path / "data/tabletop/meta/info.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_older_dataset_is_replaced_whole(tmp_path: Path) -> None:
    for name, text in (("out", "old"), ("out.making", "new")):
        (tmp_path / name / "meta").mkdir(parents=True)
        (tmp_path / name / "meta/info.json").write_text(text)
    demonstrations._replace(tmp_path / "out.making", tmp_path / "out")
    assert (tmp_path / "out/meta/info.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_older_dataset_stays_if_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "out/meta").mkdir(parents=True)
    (tmp_path / "out/meta/info.json").write_text("old")
    with pytest.raises(FileNotFoundError):
        demonstrations._replace(tmp_path / "out.making", tmp_path / "out")
    assert (tmp_path / "out/meta/info.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years of work")
    with pytest.raises(DatasetError, match="is not a dataset"):
        demonstrations.generate(tmp_path / "thesis", episodes=1, seed=0, workers=1)
