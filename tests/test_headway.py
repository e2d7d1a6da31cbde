"""When a chunk is followed to its end instead of the newest one."""

from __future__ import annotations

import numpy as np
import pytest

from edge.policy.headway import ASKED, DECISIONS, Headway
from edge.types import Chunk, Observation

PERIOD_NS = 50_000_000
EVERY_NS = 8 * PERIOD_NS


class Bench:
    """A decision every eight targets: where the arm is, how far the chunk asks it to go, which chunk is followed."""

    def __init__(self) -> None:
        self.headway = Headway()
        self.now_ns = 0

    def decide(self, pan: float, asks: float, horizon: int = 16, finished: float = 0.0) -> tuple[Chunk, Chunk]:
        """The newest chunk and the chosen one."""
        self.now_ns += EVERY_NS
        joints = np.zeros((horizon, 6))
        joints[:, 0] = np.linspace(pan, pan + asks, horizon)
        newest = Chunk(self.now_ns, PERIOD_NS, joints, finished)
        observation = Observation(self.now_ns, {}, np.array([pan, 0, 0, 0, 0, 0.46]))
        return newest, self.headway.choose(observation, newest)

    def hover(self, count: int) -> list[bool]:
        """Whether each of so many decisions on the spot was the newest chunk."""
        return [newest is chosen for newest, chosen in (self.decide(0.0, 0.4) for _ in range(count))]


def test_an_arm_that_gets_along_always_follows_the_newest() -> None:
    bench = Bench()
    for step in range(30):
        newest, chosen = bench.decide(0.1 * step, 0.4)
        assert chosen is newest


def test_an_arm_that_hovers_follows_a_chunk_to_its_end_and_then_decides_anew() -> None:
    bench = Bench()
    once = [True] * (DECISIONS - 1) + [False]
    assert bench.hover(3 * DECISIONS) == 3 * once


def test_what_is_left_is_what_was_due_later_with_the_newest_word_on_the_end() -> None:
    bench = Bench()
    for step in range(DECISIONS - 1):
        before, _ = bench.decide(0.001 * step, 0.4)
    newest, chosen = bench.decide(0.001, 0.4, finished=0.3)
    assert chosen.finished == newest.finished
    assert chosen.start_ns == newest.start_ns
    np.testing.assert_array_equal(chosen.joints, before.joints[8:])


def test_a_new_call_starts_anew() -> None:
    bench = Bench()
    bench.hover(DECISIONS - 1)
    bench.headway.begin()
    assert bench.hover(DECISIONS) == [True] * (DECISIONS - 1) + [False]


@pytest.mark.parametrize("asks", [0.0, 0.99 * ASKED])
def test_an_arm_that_is_hardly_asked_to_move_is_no_hovering_arm(asks: float) -> None:
    bench = Bench()
    assert all(newest is chosen for newest, chosen in (bench.decide(0.0, asks) for _ in range(20)))


def test_one_decision_to_stay_breaks_the_row() -> None:
    bench = Bench()
    assert bench.hover(DECISIONS - 1) == [True] * (DECISIONS - 1)
    bench.decide(0.0, 0.0)
    assert bench.hover(DECISIONS - 1) == [True] * (DECISIONS - 1)


def test_a_chunk_without_anything_left_is_not_followed() -> None:
    bench = Bench()
    for _ in range(20):
        newest, chosen = bench.decide(0.0, 0.4, horizon=8)
        assert chosen is newest
