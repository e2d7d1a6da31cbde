"""The hierarchical step, driven in lock-step by a toy arm: what is planned, remembered, retried and refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_robot import CUBE_WIDTH, ToyArm, ToyMemory, ToyPolicy, pinch_pose, run

from edge.api import Call, Outcome
from edge.config import Budgets
from edge.errors import CallError, TaskError
from edge.executive import Executive, State
from edge.memory import PoseTuple
from edge.tabletop import API
from edge.types import Pose

TASK = "put the red cube on the blue plate"
PICK, PLACE = 'pick("red cube")', 'place_on("blue plate")'


class Rig:
    def __init__(self, **options: object) -> None:
        self.arm, self.policy, self.memory = ToyArm(), ToyPolicy(), ToyMemory()
        self.executive = Executive(API, self.policy, self.memory, pinch_pose=pinch_pose, **options)  # type: ignore[arg-type]
        self.misses = 0

    def cubes_everywhere(self, text: str) -> None:
        """Puts a cube between the pads for every pick, except for the first `misses` of them."""
        if text.startswith("pick"):
            self.misses -= 1
            self.arm.width = 0.0 if self.misses >= 0 else CUBE_WIDTH

    def run(self, *plan: str, task: str = TASK) -> Executive:
        self.executive.start(task, self.arm.now_ns)
        run(self.executive, self.arm, self.policy, list(plan), self.cubes_everywhere)
        return self.executive

    def outcomes(self) -> list[str]:
        return [f"{call} -> {outcome}" for call, outcome in self.executive.entries]


def test_a_task_goes_from_its_words_to_done() -> None:
    rig = Rig()
    executive = rig.run(PICK, PLACE, "done()")
    assert executive.state is State.FINISHED
    assert rig.outcomes() == [f"{PICK} -> ok", f"{PLACE} -> ok"]
    assert [event.kind for event in executive.events] == [
        *("task", "call", "grasped", "end", "call", "released", "end", "finished")
    ]
    assert rig.memory.log == [
        *(f"clear {TASK}", f"begin {PICK}", "grasped red cube", "end ok"),
        *(f"begin {PLACE}", "released red cube", "end ok", "conclude finished"),
    ]


def test_the_policy_is_conditioned_on_the_tokens_of_the_call() -> None:
    rig = Rig()
    rig.run(PICK, PLACE, "done()")
    seen = {tokens for tokens, _ in rig.policy.seen}
    assert seen == {tuple(API.encode(API.parse(text))) for text in (PICK, PLACE)}
    assert all(goal is None for _, goal in rig.policy.seen)


def test_a_place_is_remembered_from_where_the_pads_met_the_cube_not_from_where_it_was_lifted() -> None:
    rig = Rig()
    rig.run(PICK, "place_free()", 'pick("green cube")', 'place_at("red cube")', "done()")
    assert rig.executive.state is State.FINISHED
    goals = [goal for tokens, goal in rig.policy.seen if tokens[0] == 3]
    assert goals
    assert all(goal == Pose(*pinch_pose([0.3])) for goal in goals)


def test_a_grasp_first_noticed_while_lifting_is_remembered_where_it_was_lowest() -> None:
    rig = Rig()
    heights = {0.3: 0.017, 0.4: 0.05, 0.5: 0.09}  # by the pan angle of the script: at the cube, lifting, lifted

    def forward(joints: NDArray[np.float64]) -> PoseTuple:
        return float(joints[0]), 0.0, heights.get(round(float(joints[0]), 1), 0.08), 0.0

    rig.executive = Executive(API, rig.policy, rig.memory, pinch_pose=forward)
    # Late: one look before the gripper closes, the next when the arm has lifted a little.
    rig.policy.scripts[1] = lambda: iter(
        [(0.0, 0.46, 0.0), (0.3, 0.46, 0.0), (0.4, 0.12, 0.0), *[(0.5, 0.12, 0.9)] * 9]
    )
    rig.run(PICK)
    assert rig.memory.places["red cube"] == (0.3, 0.0, 0.017, 0.0)


def test_swap_reaches_both_remembered_places() -> None:
    plan = [
        PICK,
        "place_free()",
        'pick("green cube")',
        'place_at("red cube")',
        PICK,
        'place_at("green cube")',
        "done()",
    ]
    rig = Rig()
    assert rig.run(*plan).state is State.FINISHED
    assert [outcome for _, outcome in rig.executive.entries] == [Outcome.OK] * 6


def test_a_grasp_of_nothing_is_missed_and_may_be_tried_again() -> None:
    rig = Rig()
    rig.misses = 2
    executive = rig.run(PICK, PICK, PICK, PLACE, "done()")
    assert executive.state is State.FINISHED
    assert rig.outcomes() == [f"{PICK} -> missed", f"{PICK} -> missed", f"{PICK} -> ok", f"{PLACE} -> ok"]


def test_too_many_failures_in_a_row_stop_the_task_with_the_reason() -> None:
    rig = Rig(budgets=Budgets(retries=2))
    rig.misses = 99
    executive = rig.run(*[PICK] * 9)
    assert executive.state is State.FAILED
    assert len(executive.entries) == 3
    assert "3 calls in a row failed, the last with missed" in executive.reason


def test_a_success_between_failures_gives_the_retries_back() -> None:
    rig = Rig(budgets=Budgets(retries=1))
    rig.misses = 1
    executive = rig.run(PICK, PICK, PLACE)
    assert executive.state is State.PLANNING
    rig.misses = 1
    run(executive, rig.arm, rig.policy, [PICK, PICK], rig.cubes_everywhere)
    assert executive.state is State.PLANNING


def test_an_object_that_drops_on_the_way_is_lost() -> None:
    rig = Rig()
    rig.run(PICK)
    rig.arm.width = 0.0  # it fell out
    rig.policy.scripts[2] = lambda: iter([(-0.4, 0.05, 0.0)])
    run(rig.executive, rig.arm, rig.policy, [PLACE])
    assert rig.outcomes() == [f"{PICK} -> ok", f"{PLACE} -> lost"]
    assert rig.executive.carried is None


def test_a_placement_with_nothing_in_the_gripper_does_not_count_as_done() -> None:
    rig = Rig()
    assert rig.run(PLACE).entries == [(API.parse(PLACE), Outcome.LOST)]


def test_a_call_that_never_finishes_times_out_within_its_budget() -> None:
    rig = Rig(budgets=Budgets(call_s=3.0))
    rig.policy.scripts[1] = lambda: itertools.cycle([(0.0, 0.56, 0.0), (0.4, 0.56, 0.0)])
    began = rig.arm.now_ns
    assert rig.run(PICK).entries == [(API.parse(PICK), Outcome.TIMEOUT)]
    assert rig.arm.now_ns - began <= 3.5e9


def test_the_place_of_an_object_never_grasped_is_refused_then_the_task_stops() -> None:
    rig = Rig(budgets=Budgets(plan_attempts=1))
    rig.executive.start(TASK, 0)
    rig.executive.give_plan(Call("place_at", ("green cube",)), 1)
    assert rig.executive.needs_plan
    assert not rig.executive.entries
    rig.executive.give_plan(Call("place_at", ("green cube",)), 2)
    assert rig.executive.state is State.FAILED
    assert "green cube was never grasped" in rig.executive.reason
    assert rig.policy.seen == []


def test_a_usable_call_after_a_refused_one_gives_the_attempts_back() -> None:
    rig = Rig(budgets=Budgets(plan_attempts=1))
    executive = rig.run('place_at("green cube")', PICK, 'place_at("green cube")', PLACE, "done()")
    assert executive.state is State.FINISHED
    assert [event.kind for event in executive.events].count("refused") == 2


def test_the_number_of_calls_is_bounded() -> None:
    rig = Rig(budgets=Budgets(calls=4))
    executive = rig.run(*[PICK, PLACE] * 9)
    assert executive.state is State.FAILED
    assert len(executive.entries) == 4
    assert "4 calls were made" in executive.reason


def test_without_memory_the_planner_sees_no_transcript_and_the_policy_no_place() -> None:
    rig = Rig(remember=False)
    executive = rig.run(PICK, "place_free()", 'pick("green cube")', 'place_at("red cube")')
    assert len(executive.entries) == 4
    assert executive.transcript == ()
    assert all(goal is None for _, goal in rig.policy.seen)


def test_places_do_not_survive_into_the_next_task() -> None:
    rig = Rig()
    rig.run(PICK, PLACE, "done()")
    rig.executive.start("another", rig.arm.now_ns)
    rig.executive.give_plan(Call("place_at", ("red cube",)), rig.arm.now_ns)
    assert rig.executive.needs_plan
    assert rig.executive.entries == []


def test_stopping_ends_the_running_call_and_nothing_moves_any_more() -> None:
    rig = Rig()
    rig.executive.start(TASK, 0)
    rig.executive.give_plan(API.parse(PICK), 0)
    rig.executive.stop("camera front is stale", 1)
    assert rig.executive.state is State.FAILED
    assert rig.executive.reason == "camera front is stale"
    assert rig.executive.act(rig.arm.observe(), 2) is None
    assert rig.memory.log[-2:] == ["end timeout", "conclude failed"]


def test_after_a_crash_the_task_goes_on_with_what_was_done_and_remembered() -> None:
    rig = Rig()
    rig.run(PICK, "place_free()", 'pick("green cube")', task="swap the red cube and the green cube")
    rig.executive.give_plan(API.parse('place_at("red cube")'), rig.arm.now_ns)  # and now the power goes
    again = Executive(API, rig.policy, rig.memory, pinch_pose=pinch_pose)
    again.resume(rig.arm.now_ns)
    assert again.needs_plan
    assert again.task == "swap the red cube and the green cube"
    assert [str(outcome) for _, outcome in again.transcript] == ["ok", "ok", "ok", "timeout"]
    again.give_plan(API.parse('place_at("red cube")'), rig.arm.now_ns)
    assert again.goal == Pose(*pinch_pose([0.3]))


def test_what_is_in_the_gripper_is_known_after_a_crash_and_its_release_remembered() -> None:
    rig = Rig()
    rig.run(PICK)
    rig.executive = Executive(API, rig.policy, rig.memory, pinch_pose=pinch_pose)
    rig.executive.resume(rig.arm.now_ns)
    assert rig.executive.carried == "red cube"
    run(rig.executive, rig.arm, rig.policy, [PLACE], rig.cubes_everywhere)
    assert rig.outcomes() == [f"{PICK} -> ok", f"{PLACE} -> ok"]
    assert rig.memory.log[-2:] == ["released red cube", "end ok"]
    assert rig.executive.carried is None


def test_a_task_that_was_given_up_goes_on_with_fresh_budgets() -> None:
    rig = Rig(budgets=Budgets(retries=1, calls=3))
    rig.misses = 99
    assert rig.run(*[PICK] * 9).state is State.FAILED
    assert rig.memory.ending == "failed"
    rig.executive.resume(rig.arm.now_ns)
    rig.misses = 1
    run(rig.executive, rig.arm, rig.policy, [PICK, PICK, PLACE, "done()"], rig.cubes_everywhere)
    assert rig.executive.state is State.FINISHED
    assert [str(outcome) for _, outcome in rig.executive.entries] == ["missed", "missed", "missed", "ok", "ok"]


def test_nothing_is_resumed_from_an_empty_memory_or_a_finished_task() -> None:
    rig = Rig()
    with pytest.raises(TaskError, match="no task to resume"):
        rig.executive.resume(0)
    rig.run(PICK, PLACE, "done()")
    with pytest.raises(TaskError, match="nothing left to resume"):
        rig.executive.resume(0)


@pytest.mark.parametrize("task", ["", "   "])
def test_an_empty_task_is_refused(task: str) -> None:
    with pytest.raises(TaskError, match="empty"):
        Rig().executive.start(task, 0)


def test_a_call_the_robot_does_not_know_is_an_error_and_the_arm_does_not_move() -> None:
    rig = Rig()
    rig.executive.start(TASK, 0)
    with pytest.raises(CallError, match="red cube"):
        rig.executive.give_plan(Call("pick", ("red cub",)), 0)
    assert rig.executive.needs_plan


READY = (0.0, -1.2, 0.6, 1.5, 0.0, 0.46)


def test_after_a_failed_call_the_arm_goes_back_to_where_calls_begin() -> None:
    rig = Rig(ready=READY)
    rig.misses = 1
    executive = rig.run(PICK, PICK, PLACE, "done()")
    assert rig.outcomes() == [f"{PICK} -> missed", f"{PICK} -> ok", f"{PLACE} -> ok"]
    assert executive.state is State.FINISHED


def test_the_way_back_ends_at_the_ready_pose_and_then_the_planner_is_asked() -> None:
    rig = Rig(ready=READY)
    executive = rig.executive
    executive.start(TASK, rig.arm.now_ns)
    executive.give_plan(API.parse(PICK), rig.arm.now_ns)
    chunk = None
    while executive.state is State.ACTING:
        chunk = executive.act(rig.arm.observe(), rig.arm.now_ns)
        rig.arm.follow(chunk)
    assert rig.outcomes() == [f"{PICK} -> missed"]
    assert executive.state is State.RETREATING
    assert not executive.needs_plan, "the arm is in the planner's view"
    while (chunk := executive.act(rig.arm.observe(), rig.arm.now_ns)) is not None:
        last = chunk
        rig.arm.follow(chunk)
    assert tuple(last.joints[-1]) == pytest.approx(READY)
    assert executive.needs_plan
