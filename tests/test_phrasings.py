"""What people say: enough ways for every kind, the held-out ones never in training, object names word for word."""

from __future__ import annotations

import numpy as np
import pytest

from edge.planner.prompt import clean_task
from learning.phrasings import HELD_OUT, TEMPLATES, TRAIN, phrase
from learning.planner.wording import MORE, WORDINGS, say
from learning.tasks import KINDS

SLOTS = {"pick": "a", "move": "a", "nearest": "", "all_on_plates": ""}
A, B = "red cube", "blue plate"


def test_every_kind_has_templates() -> None:
    assert set(TEMPLATES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_at_least_ten_ways_two_of_them_held_out(kind: str) -> None:
    assert len(set(TEMPLATES[kind])) == len(TEMPLATES[kind]) >= 10
    assert len(HELD_OUT[kind]) == 2
    assert not set(HELD_OUT[kind]) & set(TRAIN[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_template_names_its_objects(kind: str) -> None:
    for row in TEMPLATES[kind]:
        found = "".join(slot for slot in "ab" if f"{{{slot}}}" in row)
        assert found == SLOTS.get(kind, "ab"), row


@pytest.mark.parametrize("kind", KINDS)
def test_names_survive_every_decoration(kind: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        said = clean_task(phrase(kind, (A, B), rng))
        for slot, name in zip("ab", (A, B), strict=True):
            assert (name in said) == (slot in SLOTS.get(kind, "ab")), said


@pytest.mark.parametrize("kind", KINDS)
def test_training_never_draws_a_held_out_phrasing(kind: str) -> None:
    rng = np.random.default_rng(4)
    forbidden = {row.format(a=A, b=B) for row in HELD_OUT[kind]}
    drawn = {clean_task(phrase(kind, (A, B), rng)) for _ in range(300)}
    assert not any(row in said for row in forbidden for said in drawn)
    assert {phrase(kind, (A, B), rng, held_out=True) for _ in range(60)} == forbidden


def test_without_randomness_the_plainest_template() -> None:
    assert phrase("put", (A, B)) == "put the red cube on the blue plate"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        phrase("juggle", (A, B))


@pytest.mark.parametrize("kind", KINDS)
def test_the_planner_hears_more_wordings_and_no_held_out_one(kind: str) -> None:
    assert len(set(WORDINGS[kind])) == len(WORDINGS[kind]) > len(TRAIN[kind])
    assert not set(MORE[kind]) & set(TEMPLATES[kind])
    for row in MORE[kind]:
        assert "".join(slot for slot in "ab" if f"{{{slot}}}" in row) == SLOTS.get(kind, "ab"), row


def test_wordings_that_name_the_second_object_first_are_drawn_often() -> None:
    rng = np.random.default_rng(5)
    said = [clean_task(say("stack", ("red cube", "green cube"), rng)) for _ in range(1000)]
    turned = sum(0 <= text.find("green cube") < text.find("red cube") for text in said)
    assert 400 < turned < 800
