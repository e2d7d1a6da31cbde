"""The preprocessing that training and the robot share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import PolicyError
from edge.policy.transforms import goal_vector, square
from edge.types import Pose


def test_square_keeps_the_centre_and_drops_the_long_sides() -> None:
    image = np.zeros((96, 160, 3), np.uint8)
    image[:, 32:128] = 200  # exactly the centre square
    assert (square(image, 96) == 200).all()
    assert (square(image.transpose(1, 0, 2), 96) == 200).all()


def test_square_averages_areas_rather_than_picking_pixels() -> None:
    board = np.indices((192, 192)).sum(0) % 2 * 200
    image = np.repeat(board[..., None], 3, 2).astype(np.uint8)
    assert (square(image, 96) == 100).all()  # picking pixels would give 0 or 200


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([16, 96]))
def test_square_has_the_asked_shape_and_keeps_a_flat_colour(height: int, width: int, size: int) -> None:
    result = square(np.full((height, width, 3), (7, 130, 250), np.uint8), size)
    assert result.shape == (size, size, 3)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert (result == (7, 130, 250)).all()


def test_square_is_the_identity_on_its_own_result() -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    once = square(image, 96)
    assert (square(once, 96) == once).all()


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_square_refuses_what_is_not_an_rgb_image(bad: np.ndarray) -> None:
    with pytest.raises(PolicyError, match="uint8 RGB"):
        square(bad, 96)


def test_no_goal_is_all_zeros() -> None:
    assert goal_vector(None).dtype == np.float32
    assert not goal_vector(None).any()


@given(st.floats(-10, 10))
def test_the_goal_does_not_change_over_a_whole_turn(yaw: float) -> None:
    a, b = (goal_vector(Pose(0.1, -0.2, 0.03, y)) for y in (yaw, yaw + 2 * math.pi))
    assert np.allclose(a, b, atol=1e-5)
    assert np.allclose(a[:4], [1, 0.1, -0.2, 0.03])
    assert (
        math.atan2(a[5], a[4]) == pytest.approx(math.atan2(math.sin(yaw), math.cos(yaw)), abs=1e-5)
        or abs(abs(yaw) % (2 * math.pi) - math.pi) < 1e-3
    )
