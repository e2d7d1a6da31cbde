"""From a person's words to a table and a judge."""

from __future__ import annotations

import numpy as np
import pytest

from edge.errors import ConfigError, TaskError
from learning.asked import read_task, scene_for
from learning.cyclictest import Histogram
from learning.demo import TASKS, Trial, verdict
from learning.tasks import KINDS, next_call, sample


@pytest.mark.parametrize("kind", KINDS)
def test_every_phrasing_is_read_back_as_what_it_was_made_from(kind: str) -> None:
    for seed in range(60):
        task = sample(kind, np.random.default_rng(seed), held_out=seed % 2 == 0)[1]
        read = read_task(task.text)
        assert (read.kind, read.objects, read.text) == (task.kind, task.objects, task.text)


@pytest.mark.parametrize("text", [*TASKS, "stack the green cube on the red cube", "Please put all cubes on plates!"])
def test_the_table_is_set_so_that_the_task_can_be_done(text: str) -> None:
    task = read_task(text)
    for seed in range(20):
        scene = scene_for(task, np.random.default_rng(seed))
        names = [item.name for item in scene.items]
        assert set(task.objects) <= set(names)
        assert len(set(names)) == len(names)
        assert next_call(task, scene.items, ()).subtask == "pick"


def test_a_seed_sets_the_same_table_again() -> None:
    task = read_task(TASKS[0])
    one, same, other = (scene_for(task, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one == same != other


@pytest.mark.parametrize(
    "text", ["sing a song", "put the red plate on the blue cube", "swap the red cube and the red cube", ""]
)
def test_a_task_the_judge_cannot_tell_is_refused_with_examples(text: str) -> None:
    with pytest.raises(TaskError, match="cannot judge") as caught:
        read_task(text)
    assert "swap the red cube" in caught.value.expected


def test_the_verdict_tells_the_judge_from_the_robot() -> None:
    rows = verdict([Trial("a", 1, 0, False, 0.0, None)])
    assert rows[0].startswith("NOT done")
    assert "edge run: 0" in rows[0]
    rows = verdict([Trial("a", seed, 0, seed != 2, 0.1, None) for seed in range(4)])
    assert any(row.startswith("3/4 done (0.30–0.95)") for row in rows)


HISTOGRAM = """# Histogram
000000 000000
000010 000900
000020 000080
000030 000015
# Total: 000000995
# Min Latencies: 00009
# Avg Latencies: 00012
# Max Latencies: 06123
# Histogram Overflows: 00005
"""


def test_cyclictest_is_read_with_what_lies_beyond_its_histogram() -> None:
    read = Histogram.read(HISTOGRAM)
    assert read == Histogram({10: 900, 20: 80, 30: 15}, worst=6123.0, beyond=5)
    assert (read.n, read.p99, read.percentile(0.98)) == (1000, 30.0, 20.0)
    assert read.percentile(0.999) == float("inf")
    assert Histogram.read(HISTOGRAM.replace("00005", "00500")).p99 == float("inf")
    with pytest.raises(ConfigError, match="no histogram"):
        Histogram.read("unable to get scheduling parameters")
