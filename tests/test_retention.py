"""Old run directories make room: which ones go, in what order, and what is never touched."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import retention
from edge._core import SubtaskMemory
from edge.config import RunConfig, Service, load
from edge.earlier import JOURNAL, earlier_runs
from edge.errors import ConfigError
from edge.retention import Retention

BLOCK = 4096


def make_run(runs: Path, minute: int, blocks: int) -> Path:
    """A run directory with files that take up so many blocks of the disk."""
    path = runs / f"2026-01-31-12{minute:02d}00"
    path.mkdir(parents=True)
    for block in range(blocks):
        (path / f"file{block}").write_bytes(b"x" * BLOCK)
    return path


def finish(keeper: Retention) -> list[str]:
    """Turns until there is nothing to do."""
    told = []
    while keeper._due:
        told += keeper.turn()
    return told


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 20), st.booleans())
def test_the_oldest_go_until_the_rest_fits_and_the_newest_stays(blocks: list[int], keep: int, hurried: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if hurried:
            patch.setattr(retention, "_TURN_S", 0.0)  # one step a turn
        runs = [make_run(Path(folder), minute, count) for minute, count in enumerate(blocks)]
        told = finish(Retention(Path(folder), keep * BLOCK))
        left = [run for run in runs if run.exists()]
        removed = len(runs) - len(left)
        assert left == runs[removed:]
        assert len(told) == removed
        assert sum(blocks[removed:]) <= keep or len(left) == 1
        if removed:
            assert sum(blocks[removed - 1 :]) > keep, "one more than needed is gone"
        assert not runs or runs[-1] in left
        assert sum(len(os.listdir(run)) for run in left) == sum(blocks[removed:])


def test_what_is_not_a_run_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "big").write_bytes(bytes(100 * BLOCK))
    (tmp_path / "2026-01-31.txt").write_text("a file")
    elsewhere = make_run(tmp_path.parent / "elsewhere", 0, 9)
    (tmp_path / "2026-01-31-110000").symlink_to(elsewhere)
    runs = [make_run(tmp_path, minute, 1) for minute in range(3)]
    assert finish(Retention(tmp_path, 3 * BLOCK)) == []
    assert len(finish(Retention(tmp_path, 1 * BLOCK))) == 2
    assert [run.exists() for run in runs] == [False, False, True]
    assert (tmp_path / "notes" / "big").exists()
    assert (tmp_path / "2026-01-31.txt").exists()
    assert len(os.listdir(elsewhere)) == 9


def test_a_run_that_goes_on_stays_and_a_finished_one_is_told_of(tmp_path: Path) -> None:
    going_on, old, newest = (make_run(tmp_path, minute, 2) for minute in range(3))
    memory = SubtaskMemory(str(going_on / JOURNAL))
    memory.clear("swap the red cube and the green cube")
    (old / JOURNAL).write_text("of another version")
    told = finish(Retention(tmp_path, BLOCK))
    assert (going_on.exists(), old.exists(), newest.exists()) == (True, False, True)
    assert len(told) == 1
    assert told[0].startswith(f"removed   {old}: ")
    del memory
    assert len(finish(Retention(tmp_path, BLOCK))) == 1
    assert not going_on.exists()


def test_a_run_that_may_not_be_looked_into_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, as which this may run, may look into everything."""
    theirs, ours, newest = (make_run(tmp_path, minute, 2) for minute in range(3))
    really = Path.is_file

    def is_file(path: Path) -> bool:
        if path.parent == theirs:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    finish(Retention(tmp_path, BLOCK))
    assert (theirs.exists(), ours.exists(), newest.exists()) == (True, False, True)


def test_each_new_run_makes_room_for_itself_and_nothing_else_is_looked_at_again(tmp_path: Path) -> None:
    keeper = Retention(tmp_path, 4 * BLOCK)
    assert keeper.turn() == []
    for minute in range(20):
        make_run(tmp_path, minute, 2)
        assert keeper.turn() == []  # nobody said that a run has ended
        keeper.run_ended()
        finish(keeper)
        assert len(os.listdir(tmp_path)) <= 2
    assert set(keeper._sizes) == set(os.listdir(tmp_path))


def test_a_full_disk_takes_more_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make_run(tmp_path, minute, 2) for minute in range(5)]
    usage = retention.shutil.disk_usage(tmp_path)
    wanted = usage._replace(free=retention.FREE - 3 * BLOCK)
    monkeypatch.setattr(retention.shutil, "disk_usage", lambda _: wanted)
    finish(Retention(tmp_path, 1000 * BLOCK))
    assert [run.exists() for run in runs] == [False, False, True, True, True]
    monkeypatch.setattr(retention.shutil, "disk_usage", lambda _: usage._replace(free=0))
    finish(Retention(tmp_path, 1000 * BLOCK))
    assert [run.exists() for run in runs] == [False, False, False, False, True]


def test_zero_keeps_everything(tmp_path: Path) -> None:
    for minute in range(3):
        make_run(tmp_path, minute, 3)
    keeper = Retention(tmp_path, 0)
    keeper.run_ended()
    assert keeper.turn() == []
    assert len(os.listdir(tmp_path)) == 3
    assert Retention(tmp_path / "not there yet", BLOCK).turn() == []


def test_one_that_cannot_be_removed_is_said_once_and_the_next_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, *others = (make_run(tmp_path, minute, 2) for minute in range(4))
    really = retention.shutil.rmtree

    def fails(path: Path) -> None:
        if path == stuck:
            raise PermissionError(13, "Permission denied")
        really(path)

    monkeypatch.setattr(retention.shutil, "rmtree", fails)
    keeper = Retention(tmp_path, 4 * BLOCK)
    told = finish(keeper)
    assert [line.split()[0] for line in told] == ["kept", "removed", "removed"]
    assert "Permission denied" in told[0]
    assert [other.exists() for other in others] == [False, False, True]
    keeper.run_ended()
    assert finish(keeper) == []


def test_a_removal_that_is_cut_short_leaves_nothing_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_run(tmp_path, 0, 3)
    memory = SubtaskMemory(str(old / JOURNAL))
    memory.clear("swap the red cube and the green cube")
    del memory
    make_run(tmp_path, 1, 1)
    assert [run.directory for run in earlier_runs(tmp_path)] == [old]

    def cut_short(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retention.shutil, "rmtree", cut_short)
    with pytest.raises(KeyboardInterrupt):
        Retention(tmp_path, BLOCK).turn()
    monkeypatch.undo()
    assert list(earlier_runs(tmp_path)) == []
    finish(Retention(tmp_path, BLOCK))
    assert not old.exists()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_size_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"service\.keep_runs_mb cannot be used"):
        RunConfig(service=Service(keep_runs_mb=value))


def test_it_is_a_key_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[service]\nkeep_runs_mb = 250\n")
    assert load(tmp_path / "config.toml").service.keep_runs_mb == 250
