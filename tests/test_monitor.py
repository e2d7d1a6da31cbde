"""How the end of a subtask is read from finished probability, gripper and time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.api import Outcome
from edge.manifest import MonitorNumbers
from edge.policy.monitor import Grip, GripSense, Kind, SubtaskMonitor, commanded_at
from edge.types import Chunk, Observation

STEP_NS = 200_000_000
OPEN, SHUT, CUBE = 0.46, 0.12, 0.19


class Bench:
    """Feeds a monitor one reading every 200 ms: what was commanded, what is measured, what the policy says.

    The policy has the first joint move on all the while, unless it rests.
    """

    def __init__(self, kind: Kind, budget_s: float = 30.0) -> None:
        self.monitor = SubtaskMonitor(MonitorNumbers(), budget_s)
        self.now_ns = 0
        self.pan = 0.0
        self.begin(kind)

    def begin(self, kind: Kind) -> None:
        self.monitor.begin(kind, self.now_ns)

    def feed(
        self, command: float, *measured: float, finished: float = 0.0, moves: float = 0.1, asks: float = 0.1
    ) -> Outcome | None:
        outcome = None
        for opening in measured:
            self.now_ns += STEP_NS
            self.pan += moves
            joints = np.array([self.pan, 0, 0, 0, 0, opening])
            target = np.tile([0, 0, 0, 0, 0, command], (16, 1)).astype(float)
            target[:, 0] = np.linspace(self.pan, self.pan + asks, 16)
            chunk = Chunk(self.now_ns, 50_000_000, target, finished)
            seen = self.monitor.update(Observation(self.now_ns, {}, joints), chunk)
            outcome = outcome or seen.outcome
        return outcome

    def grasp(self) -> None:
        assert self.feed(OPEN, OPEN, OPEN) is None
        assert self.feed(SHUT, OPEN, 0.36, 0.27, CUBE, CUBE) is None


def test_a_grasp_that_finishes_with_something_held_is_ok() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    assert bench.monitor.holding
    assert bench.feed(SHUT, CUBE, CUBE, finished=0.9) is Outcome.OK


def test_a_grasp_that_finishes_on_nothing_is_missed() -> None:
    bench = Bench(Kind.GRASP)
    bench.feed(OPEN, OPEN)
    bench.feed(SHUT, OPEN, 0.3, 0.13)
    assert not bench.monitor.holding
    assert bench.feed(SHUT, 0.12, 0.12, finished=0.9) is Outcome.MISSED


def test_a_grasp_closed_on_nothing_for_long_is_missed_without_the_policys_word() -> None:
    bench = Bench(Kind.GRASP)
    bench.feed(OPEN, OPEN)
    assert bench.feed(SHUT, OPEN, 0.12, 0.12, 0.12) is None
    assert bench.feed(SHUT, *[0.12] * 5) is Outcome.MISSED


def test_a_gripper_found_closed_at_the_start_of_a_grasp_is_not_yet_a_miss() -> None:
    bench = Bench(Kind.GRASP)
    assert bench.feed(SHUT, *[0.12] * 20) is None
    bench.grasp()
    assert bench.feed(SHUT, CUBE, CUBE, finished=0.9) is Outcome.OK


REST = {"moves": 0.01, "asks": 0.03}  # what a policy still asks for that has nothing left to do


def test_a_policy_that_lets_the_arm_rest_is_done_whatever_it_says() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    assert bench.feed(SHUT, *[CUBE] * 5, finished=0.4, **REST) is None
    assert bench.feed(SHUT, CUBE, CUBE, finished=0.4, **REST) is Outcome.OK
    bench.begin(Kind.PLACE)
    assert bench.feed(SHUT, CUBE, CUBE) is None
    assert bench.feed(OPEN, 0.3, OPEN, OPEN) is None
    assert bench.feed(OPEN, *[OPEN] * 7, finished=0.4, **REST) is Outcome.OK


def test_a_grasp_that_rests_with_nothing_held_is_missed() -> None:
    bench = Bench(Kind.GRASP)
    assert bench.feed(OPEN, *[OPEN] * 8, **REST) is Outcome.MISSED


def test_resting_with_the_thing_still_held_places_nothing() -> None:
    bench = Bench(Kind.GRASP, budget_s=5.0)
    bench.grasp()
    bench.begin(Kind.PLACE)
    assert bench.feed(SHUT, *[CUBE] * 20, **REST) is None
    assert bench.feed(SHUT, *[CUBE] * 10, **REST) is Outcome.TIMEOUT


@pytest.mark.parametrize("still", [{"moves": 0.0}, {"asks": 0.0}], ids=["asked to move", "moving"])
def test_an_arm_that_is_asked_to_move_or_moves_does_not_rest(still: dict[str, float]) -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    assert bench.feed(SHUT, *[CUBE] * 20, **still) is None


def test_a_call_that_is_neither_grasp_nor_placement_may_be_to_keep_still() -> None:
    bench = Bench(Kind.OTHER)
    assert bench.feed(OPEN, *[OPEN] * 20, **REST) is None
    assert bench.feed(OPEN, OPEN, OPEN, finished=0.9, **REST) is Outcome.OK


def test_one_confident_inference_is_not_enough() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    for _ in range(4):
        assert bench.feed(SHUT, CUBE, finished=0.9) is None
        assert bench.feed(SHUT, CUBE, finished=0.1) is None


def test_a_closing_gripper_passing_the_width_of_a_cube_holds_nothing() -> None:
    bench = Bench(Kind.GRASP)
    bench.feed(OPEN, OPEN)
    bench.feed(SHUT, OPEN, 0.34, 0.26, 0.18, 0.12)
    assert not bench.monitor.holding


def test_a_placement_is_ok_once_the_gripper_let_go() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    bench.begin(Kind.PLACE)
    assert bench.feed(SHUT, CUBE, CUBE, finished=0.9) is None  # still in the gripper, whatever the policy says
    assert bench.feed(OPEN, CUBE, 0.4, OPEN, OPEN) is None
    assert bench.feed(OPEN, OPEN, OPEN, finished=0.9) is Outcome.OK


def test_a_placement_may_close_the_gripper_again_after_letting_go() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    bench.begin(Kind.PLACE)
    bench.feed(OPEN, CUBE, OPEN, OPEN)
    assert bench.feed(SHUT, *[0.12] * 10) is None
    assert bench.feed(SHUT, 0.12, 0.12, finished=0.9) is Outcome.OK


def test_an_object_that_vanishes_while_carried_is_lost() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    bench.begin(Kind.PLACE)
    assert bench.feed(SHUT, CUBE, 0.12) is None
    assert bench.feed(SHUT, *[0.12] * 6) is Outcome.LOST


def test_an_object_that_slips_for_a_moment_and_is_held_again_is_not_lost() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    bench.begin(Kind.PLACE)
    assert bench.feed(SHUT, CUBE, 0.15, 0.16, 0.17, *[0.18] * 10) is None


def test_a_placement_that_begins_with_an_empty_gripper_is_lost() -> None:
    bench = Bench(Kind.PLACE)
    assert bench.feed(OPEN, *[OPEN] * 6, finished=0.9) is Outcome.LOST


def test_carrying_with_an_eased_command_is_still_holding() -> None:
    bench = Bench(Kind.GRASP)
    bench.grasp()
    bench.feed(0.18, CUBE, CUBE, CUBE)
    assert bench.monitor.holding
    bench.feed(0.45, CUBE, CUBE)
    assert not bench.monitor.holding


@pytest.mark.parametrize("kind", list(Kind))
def test_the_budget_ends_every_kind_of_call(kind: Kind) -> None:
    bench = Bench(Kind.GRASP, budget_s=2.0)
    bench.grasp()
    bench.begin(kind)
    assert bench.feed(SHUT, *[CUBE] * 9) is None
    done = kind is Kind.GRASP  # it holds something: that is what a grasp is for
    assert bench.feed(SHUT, CUBE) is (Outcome.OK if done else Outcome.TIMEOUT)


def test_a_grasp_that_holds_nothing_at_the_end_of_its_budget_is_a_timeout() -> None:
    bench = Bench(Kind.GRASP, budget_s=1.0)
    assert bench.feed(OPEN, *[OPEN] * 4) is None
    assert bench.feed(OPEN, OPEN) is Outcome.TIMEOUT


def test_the_threshold_is_a_number_of_the_bundle() -> None:
    thin = MonitorNumbers(held_above=0.1)
    assert GripSense(thin).update(SHUT, 0.14, 0) is not Grip.EMPTY
    assert GripSense(MonitorNumbers()).update(SHUT, 0.14, 0) is Grip.EMPTY


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.lists(st.floats(0, 1), min_size=40, max_size=40))
def test_nothing_measured_below_the_threshold_is_ever_held(measured: list[float], commanded: list[float]) -> None:
    sense = GripSense(MonitorNumbers())
    for i, (opening, command) in enumerate(zip(measured, commanded, strict=False)):
        grip = sense.update(command, opening, i)
        assert grip is not Grip.HELD or 0.155 < opening < 0.35
        assert (sense.contact_ns is not None) >= (grip is Grip.HELD)


def test_the_command_of_a_moment_is_the_target_due_last() -> None:
    joints = np.zeros((4, 6))
    joints[:, 5] = [0.1, 0.2, 0.3, 0.4]
    chunk = Chunk(1000, 10, joints, 0.0)
    due = {999: 0.1, 1010: 0.1, 1019: 0.1, 1020: 0.2, 1040: 0.4, 5000: 0.4}
    assert {t: commanded_at(chunk, t) for t in due} == due
