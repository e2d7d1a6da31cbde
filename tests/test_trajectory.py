"""Chunks become smooth motion: through the knots, without a step in position or velocity, within the limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_arm import ARM, MS, PERIOD, Bench, chunk, line, still

RNG_SEEDS = st.integers(0, 2**32 - 1)
STEP_S = 1e-3


def smooth_targets(seed: int, start: np.ndarray, horizon: int = 16) -> np.ndarray:
    """Targets within a third of the velocity limits, as a policy would write them: (horizon, 6)."""
    rng = np.random.default_rng(seed)
    rate = ARM.max_velocity * 0.3 * np.sin(np.arange(horizon)[:, None] * 0.4 + rng.uniform(0, 6.28, 6))
    moved = start + np.cumsum(rate * PERIOD * 1e-9, axis=0)
    return np.clip(moved, ARM.lower + 0.05, ARM.upper - 0.05)


def assert_within_limits(track: np.ndarray) -> None:
    velocity = np.diff(track, axis=0) / STEP_S
    assert np.all(track >= ARM.lower - 1e-9)
    assert np.all(track <= ARM.upper + 1e-9)
    assert np.all(np.abs(velocity) <= ARM.max_velocity + 1e-6)
    acceleration = np.diff(velocity, axis=0) / STEP_S
    assert np.all(np.abs(acceleration) <= ARM.max_acceleration + 1e-6)
    # Differences of numbers of 2^-32: 8 of them in a jerk, over the cube of a step.
    assert np.all(np.abs(np.diff(acceleration, axis=0)) / STEP_S <= ARM.max_jerk + 8 * 2**-32 / STEP_S**3)


@given(RNG_SEEDS)
@settings(max_examples=30, deadline=None)
def test_it_passes_through_its_knots(seed: int) -> None:
    bench = Bench().ready()
    targets = smooth_targets(seed, bench.measured)
    start = bench.now
    assert bench.loop.offer(chunk(start, targets))
    bench.step(16 * 50)
    joined = 4  # from rest the first targets are out of reach within the acceleration limits
    at_knots = bench.track[[(k + 1) * 50 for k in range(joined, 16)]]
    assert at_knots == pytest.approx(targets[joined:], abs=1e-8)
    assert_within_limits(bench.track)


@given(RNG_SEEDS, st.lists(st.integers(1, 400), min_size=1, max_size=5), st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_a_new_chunk_joins_the_running_motion_within_the_limits(seed: int, gaps: list[int], delay_ms: int) -> None:
    """Whatever the chunks are and however late they come, the command never leaves the limits."""
    bench = Bench().ready()
    for i, gap in enumerate(gaps):
        observed = bench.now
        targets = smooth_targets(seed + i, bench.measured)
        bench.step(delay_ms)
        bench.loop.offer(chunk(observed, targets))
        bench.step(gap)
    assert_within_limits(bench.track)


def test_joining_is_continuous_in_velocity_even_against_the_motion() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, [0.08, 0, 0, 0, 0, 0]))
    bench.step(500)
    forward = (bench.track[-1] - bench.track[-2])[0] / STEP_S
    assert forward == pytest.approx(1.6, rel=0.02)
    bench.loop.offer(line(bench.now, bench.measured, [-0.08, 0, 0, 0, 0, 0]))
    bench.step(750)
    assert_within_limits(bench.track)
    assert (bench.track[-1] - bench.track[-2])[0] / STEP_S == pytest.approx(-1.6, rel=0.02)


def test_the_same_motion_offered_again_changes_nothing() -> None:
    """Re-planning along the same line must not be felt: the second chunk continues what the first one says."""
    once, twice = Bench().ready(), Bench().ready()
    step = np.array([0.05, -0.03, 0.02, 0.01, 0.04, -0.01])
    first = once.measured
    for bench in (once, twice):
        bench.loop.offer(line(bench.now, first, step))
        bench.step(300)
    assert twice.loop.offer(line(twice.now, first + 6 * step, step))
    once.step(300)
    twice.step(300)
    assert twice.track == pytest.approx(once.track, abs=1e-3)


def stepped(to: float) -> Bench:
    """A chunk whose pan targets change from 0 to `to` between two knots, followed to its end."""
    bench = Bench().ready()
    targets = np.tile(bench.measured, (16, 1))
    targets[8:, 0] = to
    bench.loop.offer(chunk(bench.now, targets))
    bench.step(900)
    assert_within_limits(bench.track)
    return bench


def test_between_two_knots_nothing_overshoots() -> None:
    # The most that a quintic from rest to rest may cover in a period: its acceleration and its jerk are the limits'.
    period_s = PERIOD * 1e-9
    sharpest = min(ARM.max_acceleration[0] * period_s**2 * 3**0.5 / 10, ARM.max_jerk[0] * period_s**3 / 60)
    track = stepped(0.95 * sharpest).track[:, 0]
    assert track.min() >= -1e-6
    assert track.max() <= 0.95 * sharpest + 1e-6


def test_a_step_that_is_too_sharp_for_the_joint_is_rounded_and_ends_on_its_target() -> None:
    bench = stepped(0.05)
    assert bench.measured[0] == pytest.approx(0.05, abs=1e-6)


def test_a_late_chunk_is_entered_where_it_is_by_now() -> None:
    bench = Bench().ready()
    observed, pose = bench.now, bench.measured
    bench.step(260)
    assert bench.loop.offer(line(observed, pose, [0.02, 0, 0, 0, 0, 0]))
    bench.step(240)
    assert bench.measured[0] == pytest.approx(0.02 * 500 / 50, abs=5e-3)


def test_out_of_targets_the_arm_comes_to_rest_and_a_newer_chunk_resumes() -> None:
    bench = Bench().ready()
    bench.loop.offer(line(bench.now, bench.measured, [0.05, 0, 0, 0, 0, 0], horizon=4))
    assert bench.step(200) == "running"
    assert bench.step(1) == "hold"
    bench.step(200)
    held = bench.measured.copy()
    snapshot = bench.loop.snapshot()
    assert snapshot["at_rest"]
    assert snapshot["hold_cause"] == "out of targets"
    assert snapshot["counters"]["holds_out_of_targets"] == 1
    bench.step(50)
    assert np.array_equal(bench.measured, held)
    assert bench.loop.offer(line(bench.now, held, [-0.05, 0, 0, 0, 0, 0]))
    assert bench.step(100) == "running"
    assert bench.measured[0] < held[0]
    assert_within_limits(bench.track)


def test_a_single_target_is_a_chunk() -> None:
    bench = Bench().ready()
    goal = bench.measured + 0.005
    assert bench.loop.offer(still(bench.now, goal, horizon=1))
    bench.step(60)
    assert bench.measured == pytest.approx(goal, abs=1e-3)


@pytest.mark.parametrize("blend_ms", [0, 1, 50, 200])
def test_any_blend_keeps_the_limits(blend_ms: int) -> None:
    from edge._core import LoopConfig

    bench = Bench(LoopConfig(blend_ns=blend_ms * MS)).ready()
    for start in range(5):
        bench.loop.offer(chunk(bench.now, smooth_targets(start, bench.measured)))
        bench.step(50)
    assert_within_limits(bench.track)
