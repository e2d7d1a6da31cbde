"""Programs recover from every failure, and the judge cannot be talked into anything."""

from __future__ import annotations

import numpy as np
import pytest

from edge.api import Call, Outcome
from learning.sim.scene import Item
from learning.tasks import KINDS, Task, judge, next_call, pair_is_held_out, sample

OK, MISSED, LOST, TIMEOUT = Outcome.OK, Outcome.MISSED, Outcome.LOST, Outcome.TIMEOUT
RED, GREEN, PLATE = Item("red cube", 0.2, 0.1), Item("green cube", 0.2, -0.1), Item("blue plate", 0.12, 0.0)
ITEMS = (RED, GREEN, PLATE)
SWAP = Task("swap", ("red cube", "green cube"), "swap the red cube and the green cube")
PUT = Task("put", ("red cube", "blue plate"), "put the red cube on the blue plate")


def moved(item: Item, x: float, y: float, z: float = 0.0) -> Item:
    return Item(item.name, x, y, 0.0, z)


def written(task: Task, *outcomes: Outcome) -> str:
    transcript: list[tuple[Call, Outcome]] = []
    for outcome in outcomes:
        transcript.append((next_call(task, ITEMS, transcript), outcome))
    return str(next_call(task, ITEMS, transcript))


def test_swap_is_the_program_that_needs_memory() -> None:
    steps = [written(SWAP, *[OK] * n) for n in range(7)]
    assert steps == [
        'pick("red cube")', "place_free()", 'pick("green cube")', 'place_at("red cube")', 'pick("red cube")',
        'place_at("green cube")', "done()",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((MISSED,), 'pick("red cube")'),
        ((TIMEOUT, MISSED), 'pick("red cube")'),
        ((OK, LOST), 'pick("red cube")'),
        ((OK, LOST, OK), 'place_on("blue plate")'),
        ((OK, TIMEOUT), 'place_on("blue plate")'),
        ((MISSED, OK, LOST, MISSED, OK, OK), "done()"),
    ],
)
def test_failures_are_tried_again(outcomes: tuple[Outcome, ...], expected: str) -> None:
    assert written(PUT, *outcomes) == expected


def test_nearest_takes_the_nearest_cube() -> None:
    task = Task("nearest", (), "put the cube that is nearest to the arm on the plate")
    items = (Item("red cube", 0.25, 0.1), Item("green cube", 0.14, -0.05), PLATE)
    assert str(next_call(task, items, ())) == 'pick("green cube")'


def test_all_on_plates_goes_left_to_right_and_skips_what_is_done() -> None:
    task = Task("all_on_plates", (), "put all the cubes on plates")
    items = (
        Item("red cube", 0.2, 0.15), Item("green cube", 0.2, -0.15), Item("blue plate", 0.2, 0.05),
        Item("yellow plate", 0.2, -0.05),
    )  # fmt: skip
    assert str(next_call(task, items, ())) == 'pick("green cube")'
    first = [(next_call(task, items, ()), OK)]
    assert str(next_call(task, items, first)) == 'place_on("yellow plate")'
    done = (moved(items[1], 0.2, -0.05, 0.006), items[0], items[2], items[3])
    assert str(next_call(task, done, ())) == 'pick("red cube")'


def test_judge_of_put() -> None:
    on_plate = (moved(RED, 0.13, 0.01, 0.006), GREEN, PLATE)
    assert judge(PUT, [ITEMS, on_plate], None)
    assert not judge(PUT, [ITEMS, on_plate], "red cube"), "still in the gripper"
    assert not judge(PUT, [ITEMS, ITEMS], None)
    assert not judge(PUT, [ITEMS, (moved(RED, 0.12, 0.06, 0.0), GREEN, PLATE)], None), "beside the plate"


def test_judge_of_stack() -> None:
    task = Task("stack", ("red cube", "green cube"), "stack the red cube on the green cube")
    assert judge(task, [ITEMS, (moved(RED, 0.205, -0.1, 0.03), GREEN, PLATE)], None)
    assert not judge(task, [ITEMS, (moved(RED, 0.235, -0.1, 0.0), GREEN, PLATE)], None), "beside it"
    assert not judge(task, [ITEMS, (RED, moved(GREEN, 0.2, 0.1, 0.03), PLATE)], None), "the wrong way round"


def test_judge_of_swap_wants_both() -> None:
    both = (moved(RED, 0.2, -0.1), moved(GREEN, 0.2, 0.1), PLATE)
    assert judge(SWAP, [ITEMS, both], None)
    assert not judge(SWAP, [ITEMS, (both[0], moved(GREEN, 0.2, 0.05), PLATE)], None)
    assert not judge(SWAP, [ITEMS, ITEMS], None)


def test_judge_of_restore_wants_the_detour() -> None:
    task = Task("restore", ("red cube", "blue plate"), "put it there and back")
    on_plate = (moved(RED, 0.12, 0.0, 0.006), GREEN, PLATE)
    assert judge(task, [ITEMS, on_plate, ITEMS], None)
    assert not judge(task, [ITEMS, ITEMS, ITEMS], None)


def test_judge_of_pick_wants_the_named_cube_in_the_air() -> None:
    task = Task("pick", ("red cube",), "pick up the red cube")
    lifted = (moved(RED, 0.2, 0.1, 0.07), GREEN, PLATE)
    assert judge(task, [ITEMS, lifted], "red cube")
    assert not judge(task, [ITEMS, lifted], None)
    assert not judge(task, [ITEMS, ITEMS], "red cube")


@pytest.mark.parametrize("kind", KINDS)
def test_samples_name_objects_of_their_scene(kind: str) -> None:
    for seed in range(40):
        scene, task = sample(kind, np.random.default_rng(seed), held_out=seed % 2 == 0)
        names = {item.name for item in scene.items}
        assert set(task.objects) <= names
        assert all(name in task.text.lower() for name in task.objects)
        assert not judge(task, [scene.items, scene.items], None), "a task that is done before it begins"


def test_held_out_pairs_exist_and_are_rare() -> None:
    pairs = [pair_is_held_out(sample("swap", np.random.default_rng(seed))[1]) for seed in range(300)]
    assert 0.05 < np.mean(pairs) < 0.30
    assert not pair_is_held_out(Task("pick", ("red cube",), "pick up the red cube"))


def test_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="unknown kind 'juggle'"):
        next_call(Task("juggle", (), "juggle"), ITEMS, ())
