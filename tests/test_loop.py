"""The control loop's states: what it accepts, what it refuses and says why, when it holds, when it faults."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from native_arm import ARM, MS, Bench, chunk, line, still

from edge._core import Arm, ControlLoop, LoopConfig
from edge.arm import SO101
from edge.errors import ArmError

POSITION, FEEDBACK_LATE = 1, 64
MOVE = [0.05, 0, 0, 0, 0, 0]


def test_an_idle_loop_commands_what_is_measured() -> None:
    bench = Bench()
    assert math.isnan(bench.loop.snapshot()["commanded"][0])
    assert bench.step() == "idle"
    assert np.array_equal(bench.loop.snapshot()["commanded"], bench.measured)
    assert bench.loop.offer(still(bench.now, bench.measured)).reason.startswith("idle")


def test_start_waits_for_feedback_and_begins_at_the_measured_pose() -> None:
    bench = Bench(pose=[0.3, -0.2, 0.1, 0, 0, 0.7])
    bench.loop.start()
    assert bench.step(5, feedback=False) == "idle"
    bench.measured = np.array([0.3, -0.2, 0.1, 0, 0, 0.7])
    assert bench.step() == "ready"
    bench.step(20)
    assert bench.measured == pytest.approx([0.3, -0.2, 0.1, 0, 0, 0.7], abs=2**-33)  # the limiter's unit


def test_a_chunk_offered_right_after_start_is_taken_at_the_first_step() -> None:
    bench = Bench()
    bench.loop.start()
    assert bench.loop.offer(still(bench.now, bench.measured))
    assert bench.step() == "running"
    assert bench.loop.snapshot()["chunk_id"] == 1


def with_element(value: float, knot: int = 3, joint: int = 2) -> np.ndarray:
    targets = np.tile([0, 0, 0, 0, 0, 0.5], (16, 1)).astype(np.float64)
    targets[knot, joint] = value
    return targets


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (with_element(math.nan), "not finite: joints[3, 2] (elbow_flex) is nan"),
        (with_element(-math.inf, 15, 5), "not finite: joints[15, 5] (gripper) is -inf"),
        (
            with_element(0.8),
            "step: joints[3, 2] (elbow_flex) is 0.8 from the target before it, the bound is 0.5",
        ),
        (np.zeros((16, 5)), "shape: expected (1 to 64, 6) targets"),
        (np.zeros(6), "shape: expected (1 to 64, 6) targets"),
        (np.zeros((0, 6)), "shape: expected (1 to 64, 6) targets, got 0 targets"),
        (np.zeros((65, 6)), "shape: expected (1 to 64, 6) targets, got 65 targets"),
        (
            np.tile([0.7, 0, 0, 0, 0, 0.5], (16, 1)),
            "jump: joints[0, 0] (shoulder_pan) is 0.7 from the commanded position, the bound is 0.5",
        ),
    ],
)
def test_a_bad_chunk_is_refused_by_element_and_bound_and_the_old_one_goes_on(targets: np.ndarray, reason: str) -> None:
    bench = Bench().ready()
    undisturbed = Bench().ready()
    for each in (bench, undisturbed):
        assert each.loop.offer(line(each.now, each.measured, [0.01, 0, 0, 0, 0, 0]))
    offer = bench.loop.offer(chunk(bench.now + MS, targets))
    assert not offer
    assert offer.chunk_id == 0
    assert offer.reason.startswith(reason)
    bench.step(400)
    undisturbed.step(400)
    assert np.array_equal(bench.track, undisturbed.track)


def test_times_that_make_no_sense_are_refused() -> None:
    bench = Bench().ready()
    pose = bench.measured
    assert bench.loop.offer(still(bench.now + 2_000 * MS, pose)).reason.startswith("future")
    assert bench.loop.offer(still(bench.now - 900 * MS, pose)).reason.startswith("expired")
    assert bench.loop.offer(replace(still(bench.now, pose), period_ns=0)).reason.startswith("period")
    assert bench.loop.offer(still(bench.now, pose))
    assert bench.loop.offer(still(bench.now, pose)).reason.startswith("stale")
    assert bench.loop.offer(still(bench.now - 1, pose)).reason.startswith("stale")
    assert bench.loop.offer(still(bench.now + 1, pose)).chunk_id == 2


def test_of_two_chunks_offered_before_a_step_the_newest_is_followed() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.loop.offer(line(bench.now + 1, bench.measured, [-0.05, 0, 0, 0, 0, 0]))
    bench.step(200)
    assert bench.measured[0] < -0.1
    assert bench.loop.snapshot()["counters"]["chunks_taken"] == 1


def test_hold_stops_and_refuses_what_was_computed_before() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.step(100)
    observed = bench.now
    bench.step(30)
    bench.loop.hold()
    assert bench.step(300) == "hold"
    snapshot = bench.loop.snapshot()
    assert snapshot["at_rest"]
    assert snapshot["hold_cause"] == "requested"
    assert bench.loop.offer(still(observed, bench.measured)).reason.startswith("stale")
    assert bench.loop.offer(still(bench.now, bench.measured))
    assert bench.step() == "running"


def test_a_chunk_under_way_when_hold_came_is_not_taken() -> None:
    bench = Bench().ready()
    assert bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.loop.hold()
    assert bench.step(50) == "ready"
    assert np.array_equal(bench.track[-1], bench.track[0])


def test_late_feedback_holds_and_its_return_resumes_the_same_chunk() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.step(100)
    assert bench.step(12, feedback=False) == "running"
    assert bench.step(1, feedback=False) == "hold"
    assert bench.loop.snapshot()["hold_cause"] == "feedback late"
    assert bench.flags & FEEDBACK_LATE
    assert bench.step(40, feedback=False) == "hold"
    assert bench.step(1) == "running"
    assert bench.loop.snapshot()["counters"]["holds_feedback"] == 1
    bench.step(200)
    assert bench.measured[0] == pytest.approx(0.05 * (bench.now - 1_001 * MS) / (50 * MS), abs=5e-3)
    velocity = np.diff(bench.track, axis=0) / 1e-3
    assert np.all(np.abs(np.diff(velocity, axis=0)) <= ARM.max_acceleration * 1e-3 + 1e-6)


def test_no_feedback_for_the_watchdog_time_is_a_latched_fault_that_brakes() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.step(100)
    assert bench.step(200, feedback=False) == "hold"
    assert bench.step(1, feedback=False) == "fault"
    assert bench.step(100) == "fault"
    snapshot = bench.loop.snapshot()
    assert snapshot["at_rest"]
    assert snapshot["fault_cause"] == "no feedback within the watchdog time"
    assert bench.loop.offer(still(bench.now, bench.measured)).reason.startswith("fault")
    bench.loop.start()
    assert bench.step(10) == "fault"


def test_fault_is_left_by_clear_and_start_from_the_measured_pose() -> None:
    bench = Bench().ready()
    bench.step(201, feedback=False)
    assert bench.loop.snapshot()["state"] == "fault"
    bench.loop.clear()
    bench.measured = np.array([0.4, 0.1, 0, 0, 0, 0.2])  # moved by hand meanwhile
    assert bench.step() == "idle"
    assert bench.loop.offer(still(bench.now, bench.measured)).reason.startswith("idle")
    bench.loop.start()
    assert bench.step() == "ready"
    assert bench.measured == pytest.approx([0.4, 0.1, 0, 0, 0, 0.2], abs=2**-33)
    assert bench.loop.snapshot()["fault_cause"] == ""


def test_clear_while_moving_comes_to_rest_first() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.step(100)
    bench.loop.clear()
    assert bench.step() == "hold"
    assert bench.step(300) == "idle"


def test_feedback_that_is_not_finite_counts_as_none() -> None:
    bench = Bench().ready()
    for _ in range(13):
        bench.now += MS
        bench.loop.step(bench.now, np.full(6, np.nan))
    snapshot = bench.loop.snapshot()
    assert snapshot["feedback_age_ns"] == 13 * MS
    assert np.all(np.isfinite(snapshot["commanded"]))


def test_targets_outside_the_joint_limits_end_at_the_limit() -> None:
    bench = Bench(pose=[1.8, 0, 0, 0, 0, 0.9]).ready()
    bench.loop.offer(line(bench.now, bench.measured, [0.03, 0, 0, 0, 0, 0.03]))
    bench.step(780)
    assert bench.flags & POSITION
    assert np.all(bench.track <= ARM.upper + 1e-9)
    assert bench.measured[[0, 5]] == pytest.approx(ARM.upper[[0, 5]], abs=1e-6)


def test_time_that_stands_still_or_leaps_moves_nothing_far() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.step(100)
    before = bench.measured
    assert np.array_equal(bench.loop.step(bench.now, before).joints, before)
    leap = bench.loop.step(bench.now + 400 * MS, before).joints
    assert np.all(np.abs(leap - before) <= ARM.max_velocity * 0.010 + 1e-9)


def test_however_time_is_cut_into_steps_the_motion_is_the_same() -> None:
    rng = np.random.default_rng(5)
    patient = LoopConfig(stall_ns=1_000 * MS)
    whole, cut = Bench(patient).ready(), Bench(patient).ready()
    targets = whole.measured + np.cumsum(rng.uniform(-0.06, 0.06, (16, 6)), axis=0)  # sharp enough for every limit
    for bench in (whole, cut):
        assert bench.loop.offer(chunk(bench.now, targets))
    start = cut.now
    whole.step(800)
    since_us = 0
    while (since_us := since_us + int(rng.integers(1, 9_000))) < 800_000:
        joints = cut.loop.step(start + since_us * 1000, cut.measured).joints
        ticks = since_us // 1000
        assert np.array_equal(joints, whole.track[ticks])


def test_advance_is_that_many_steps() -> None:
    stepped, advanced = Bench().ready(), Bench().ready()
    for bench in (stepped, advanced):
        bench.loop.offer(line(bench.now, bench.measured, MOVE))
    feedback = stepped.measured
    for k in range(50):
        expected = stepped.loop.step(stepped.now + (k + 1) * MS, feedback).joints
    got = advanced.loop.advance(advanced.now + MS, 50, feedback)
    assert np.array_equal(got, expected)
    assert advanced.loop.snapshot()["now_ns"] == stepped.loop.snapshot()["now_ns"]


def test_the_same_inputs_give_the_same_commands() -> None:
    tracks = []
    for _ in range(2):
        bench = Bench().ready()
        rng = np.random.default_rng(3)
        for _ in range(20):
            bench.loop.offer(line(bench.now, bench.measured, rng.uniform(-0.05, 0.05, 6)))
            bench.step(int(rng.integers(1, 60)), feedback=bool(rng.random() < 0.9))
        tracks.append(bench.track)
    assert np.array_equal(*tracks)


@pytest.mark.parametrize(
    "wrong",
    [
        {"period_ns": 0},
        {"feedback_timeout_ns": 1},
        {"watchdog_ns": 1},
        {"blend_ns": -1},
        {"lookahead_ns": -1},
        {"max_jump": [0.0] * 6},
        {"max_jump": [math.nan] * 6},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="loop configuration"):
        ControlLoop(ARM, LoopConfig(**wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "rate_hz", "names"),
    [
        ({"max_velocity": 40.0}, 1000, "max_velocity 40"),
        ({"max_velocity": 1e-9}, 1000, "max_velocity 1e-09"),
        ({"max_acceleration": 2e5}, 1000, "max_acceleration 200000"),
        ({"max_jerk": 1.0}, 1000, "max_jerk 1, max_acceleration 39"),
        ({"lower": 0.6, "upper": 0.61}, 1000, "lower 0.6, upper 0.61, max_velocity 3"),
        ({}, 100, "max_velocity 4"),  # wrist_roll
    ],
)
def test_limits_that_cannot_be_kept_are_refused_by_joint_and_bound(
    tmp_path: Path, change: dict[str, float], rate_hz: int, names: str
) -> None:
    description = json.loads(SO101.read_text())
    description["joints"][2].update(change)
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(description))
    with pytest.raises(ArmError) as refused:
        ControlLoop(Arm(path), LoopConfig(period_ns=round(1e9 / rate_hz)))
    assert ("elbow_flex" if change else "wrist_roll") in str(refused.value)
    assert names in str(refused.value)


@pytest.mark.parametrize("feedback", [np.zeros(5), np.zeros((6, 1)), np.zeros((2, 6))])
def test_feedback_of_another_shape_is_refused(feedback: np.ndarray) -> None:
    with pytest.raises(ValueError, match="shape"):
        Bench().loop.step(0, feedback)


def test_a_snapshot_is_a_copy() -> None:
    bench = Bench().ready()
    before = bench.loop.snapshot()
    kept = copy.deepcopy(before)
    bench.loop.offer(line(bench.now, bench.measured, MOVE))
    bench.step(100)
    assert np.array_equal(before["commanded"], kept["commanded"])
    assert before["counters"] == kept["counters"]
