"""The way back: starts where the arm is, ends at the ready pose, at a bounded speed, whatever it is asked from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.retreat import HORIZON, SPEED_RAD_PER_S, retreat

PERIOD_NS = 50_000_000
READY = np.array([0.0, -1.2, 0.6, 1.5, 0.0, 0.46])
joints = st.lists(st.floats(-1.7, 1.7), min_size=5, max_size=5).map(lambda q: np.array([*q, 0.3]))


@given(joints, st.integers(0, 10**12))
def test_passes_from_the_arm_to_the_ready_pose_at_a_bounded_speed(start: np.ndarray, now_ns: int) -> None:
    way = retreat(start, READY, None, now_ns, PERIOD_NS)
    targets = [start]
    while (chunk := way.chunk(now_ns)) is not None:
        assert chunk.joints.shape == (HORIZON, 6)
        assert chunk.start_ns == now_ns
        targets.append(chunk.joints[0])
        now_ns += PERIOD_NS
    np.testing.assert_allclose(targets[-1], READY, atol=1e-9)
    fastest = np.abs(np.diff(targets, axis=0))[:, :5].max() / (PERIOD_NS / 1e9)
    assert fastest <= 1.9 * SPEED_RAD_PER_S
    assert way.chunk(now_ns) is None


def test_what_is_held_stays_held() -> None:
    start = np.array([0.5, 0.0, 0.0, 1.2, 0.3, 0.19])
    way = retreat(start, READY, 0.12, 0, PERIOD_NS)
    chunk = way.chunk(0)
    assert chunk is not None
    np.testing.assert_array_equal(chunk.joints[:, 5], 0.12)
