"""Words of a task against the vocabulary of the robot."""

from __future__ import annotations

import numpy as np
import pytest

from edge.errors import TaskError
from edge.tabletop import API
from edge.task_text import check_task
from learning.tasks import KINDS, sample


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held_out", [False, True])
def test_everything_that_is_trained_or_evaluated_passes(kind: str, held_out: bool) -> None:
    for seed in range(40):
        text = sample(kind, np.random.default_rng(seed), held_out=held_out)[1].text
        assert check_task(f" {text}\n", API) == text


@pytest.mark.parametrize(
    "task",
    [
        "put all cubes on plates",
        "Swap the red and the green cube!",
        "put the nearest cube on the plate",
        "stack the small red cube on it",
    ],
)
def test_what_a_person_may_say_beyond_the_training_passes(task: str) -> None:
    assert check_task(task, API) == task


@pytest.mark.parametrize(
    ("task", "what", "fix"),
    [
        ("put the pink cube on the blue plate", "no pink cube", "trained"),
        ("pick the gren cube", "no gren cube", "green cube"),
        ("pick the red ball", "no red ball", "trained"),
        ("put the red cubee on the blue plate", "no red cubee", "red cube"),
        ("make me a coffee", "names no object", "e.g."),
        ("", "empty", "e.g."),
        (" \n", "empty", "e.g."),
        ("!?", "empty", "e.g."),
    ],
)
def test_what_the_robot_does_not_know_is_named_with_the_nearest(task: str, what: str, fix: str) -> None:
    with pytest.raises(TaskError, match=what) as caught:
        check_task(task, API)
    assert fix in caught.value.fix
