"""What the commands of learning/ refuse, in words and before they do anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from learning import demo, demonstrations
from learning.planner.__main__ import main as planner
from learning.sim.__main__ import main as sim


@pytest.mark.parametrize(
    ("command", "asked", "words"),
    [
        (demonstrations.main, ["--episodes", "0"], "--episodes: 1 or more"),
        (demonstrations.main, ["--workers", "0"], "--workers: 1 or more"),
        (demonstrations.main, ["--seed", "-1"], "--seed: 0 or more"),
        (demo.main, ["--seed", "-1"], "--seed: 0 or more"),
        (demo.main, ["--repeat", "0"], "--repeat: 1 or more"),
        (sim, ["serve", "--seed", "-1"], "--seed: 0 or more"),
        (planner, ["train", "--length", "0"], "--length: more than 0"),
        (planner, ["train", "--length", "-1"], "--length: more than 0"),
        (planner, ["train", "--steps", "0"], "--steps: 1 or more"),
    ],
)
def test_a_number_that_cannot_be_used_is_refused(
    command: Callable[[list[str]], object], asked: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command(asked)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_a_planner_that_is_not_there_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planner(["evaluate", "--checkpoint", str(tmp_path / "nope")]) == 2
    assert "no planner at" in capsys.readouterr().err
