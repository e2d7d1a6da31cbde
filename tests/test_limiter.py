"""The safety limiter: laws that hold from any admissible state, for any target and any step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge._feetech import Limiter

LOWER, UPPER, VELOCITY, ACCELERATION = -1.5, 2.0, 3.0, 20.0
POSITION_FLAG, VELOCITY_FLAG, ACCELERATION_FLAG, REJECTED = 1, 2, 4, 8
ROUNDING = 1e-9

wild = st.floats(-1e6, 1e6)
steps = st.floats(1e-5, 0.05)


def limiter(position: float = 0.0, velocity: float = 0.0) -> Limiter:
    made = Limiter(LOWER, UPPER, VELOCITY, ACCELERATION)
    made.state = (position, velocity)
    return made


@st.composite
def admissible(draw: st.DrawFn) -> Limiter:
    """Any state from which the joint can stop before its limit."""
    position = draw(st.floats(LOWER, UPPER))
    down = -min(VELOCITY, math.sqrt(2 * ACCELERATION * (position - LOWER)))
    up = min(VELOCITY, math.sqrt(2 * ACCELERATION * (UPPER - position)))
    return limiter(position, draw(st.floats(down, up)))


@given(admissible(), st.lists(st.tuples(wild, wild, steps), min_size=1, max_size=60))
def test_limits_hold_from_any_admissible_state(joint: Limiter, targets: list[tuple[float, float, float]]) -> None:
    assert joint.admissible
    for position, velocity, dt in targets:
        before = joint.state[1]
        joint.step(position, dt, velocity)
        now, speed = joint.state
        assert LOWER - ROUNDING <= now <= UPPER + ROUNDING
        assert abs(speed) <= VELOCITY + ROUNDING
        assert abs(speed - before) <= ACCELERATION * dt + 1e-6
        assert joint.admissible


@given(admissible(), st.lists(steps, min_size=1, max_size=100))
def test_braking_ends_at_rest_within_the_stopping_distance(joint: Limiter, lengths: list[float]) -> None:
    start, speed = joint.state
    while joint.state[1] != 0.0:
        joint.brake(lengths[0])
        lengths = lengths[1:] + lengths[:1]
    assert abs(joint.state[0] - start) <= speed * speed / (2 * ACCELERATION) + ROUNDING


@given(st.floats(LOWER, UPPER), steps)
def test_at_rest_on_the_target_nothing_moves(position: float, dt: float) -> None:
    joint = limiter(position)
    assert joint.step(position, dt) == 0
    assert joint.state == (position, 0.0)


@given(admissible(), st.floats(LOWER + 0.01, UPPER - 0.01), st.floats(5e-4, 5e-3))
def test_the_goal_is_reached_and_kept(joint: Limiter, goal: float, dt: float) -> None:
    for _ in range(round(6.0 / dt)):
        joint.step(goal, dt)
    assert joint.state[0] == pytest.approx(goal, abs=1e-9)
    assert joint.state[1] == pytest.approx(0.0, abs=1e-6)


@given(st.floats(0.05, 1.0), st.floats(0.1, 3.0))
def test_a_target_within_the_limits_is_followed_without_lag(amplitude: float, frequency: float) -> None:
    """Nothing binds along a sine slower than the limits, so the joint is where the target is."""
    if amplitude * frequency > VELOCITY * 0.9 or amplitude * frequency**2 > ACCELERATION * 0.9:
        amplitude = 0.9 * min(VELOCITY / frequency, ACCELERATION / frequency**2, 1.0)
    dt = 1e-3
    joint = limiter(0.0, amplitude * frequency)
    for k in range(1, 2000):
        phase = frequency * k * dt
        joint.step(amplitude * math.sin(phase), dt, amplitude * frequency * math.cos(phase))
        assert joint.state[0] == pytest.approx(amplitude * math.sin(phase), abs=1e-4)


def test_a_far_goal_is_approached_at_full_speed_and_without_overshoot() -> None:
    joint, dt, seen, top = limiter(), 1e-3, 0, 0.0
    while joint.state != (1.5, 0.0):
        before = joint.state[0]
        seen |= joint.step(1.5, dt)
        assert before - ROUNDING <= joint.state[0] <= 1.5 + ROUNDING
        top = max(top, joint.state[1])
    assert top == pytest.approx(VELOCITY)
    assert seen == VELOCITY_FLAG | ACCELERATION_FLAG


def test_a_goal_outside_is_approached_to_the_limit() -> None:
    joint = limiter()
    flags = [joint.step(99.0, 1e-3, 3.0) for _ in range(3000)]
    assert all(flag & POSITION_FLAG for flag in flags)
    assert joint.state[0] == pytest.approx(UPPER, abs=1e-6)
    assert joint.state[0] <= UPPER + ROUNDING


@given(st.floats(UPPER + 1e-6, UPPER + 1.0), wild)
def test_from_outside_a_joint_only_comes_back(position: float, target: float) -> None:
    joint = limiter(position)
    for _ in range(50):
        before = joint.state[0]
        joint.step(target, 1e-3)
        assert joint.state[0] <= before + ROUNDING


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_rejected_and_changes_nothing(bad: float) -> None:
    joint = limiter(0.3, 0.2)
    assert joint.step(bad, 1e-3) == REJECTED
    assert joint.step(0.0, 1e-3, bad) == REJECTED
    assert joint.step(0.0, bad) == REJECTED
    assert joint.brake(bad) == REJECTED
    assert joint.step(0.0, 0.0) == REJECTED
    assert joint.step(0.0, -1e-3) == REJECTED
    assert joint.state == (0.3, 0.2)


@pytest.mark.parametrize(
    "limits", [(1, 1, 1, 1), (0, 1, 0, 1), (0, 1, 1, -1), (0, math.nan, 1, 1), (0, math.inf, 1, 1)]
)
def test_unusable_limits_are_refused(limits: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="limits must be finite"):
        Limiter(*limits)
