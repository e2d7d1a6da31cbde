"""What the soak benchmark says of memory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.soak_report import Sample, Soak


def soak(minutes: float, mb_an_hour: float) -> Soak:
    """A service that grows, with one sample in ten taken between two tasks or while one is drawn."""
    rng, result = np.random.default_rng(0), Soak(minutes, 0, ())
    for seconds in np.arange(0, minutes * 60, 4.0):
        moment = {0: -70.0, 1: 10.0}.get(int(rng.integers(20)), 0.0) + rng.normal(0, 0.1)
        result.samples.append(Sample(seconds, 240 + mb_an_hour * seconds / 3600 + moment, 24, 12, None, None))
    return result


@pytest.mark.parametrize("growth", [0.0, 0.5, 5.0])
def test_growth_is_seen_through_the_moments_between_tasks(growth: float) -> None:
    assert soak(120, growth).growth_mb_h() == pytest.approx(growth, abs=0.1)


def test_what_the_warm_up_takes_is_not_growth() -> None:
    result = soak(120, 0.0)
    result.samples[:400] = [Sample(s.seconds, s.rss_mb - 50, 24, 12, None, None) for s in result.samples[:400]]
    assert result.growth_mb_h() == pytest.approx(0.0, abs=0.1)


def test_of_a_few_minutes_nothing_is_said() -> None:
    assert math.isnan(soak(3, 0.0).growth_mb_h())
