"""The fault table says what was counted, with bounds that hold. The counting itself is a C++ test (ctest: faults)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults import table, upper_bound


@given(st.integers(1, 10**9))
def test_the_bound_of_nothing_seen_is_the_rule_of_three(count: int) -> None:
    assert upper_bound(0, count) == pytest.approx(-math.expm1(math.log(0.05) / count), rel=1e-6)
    assert upper_bound(0, count) <= 3 / count


@pytest.mark.parametrize(
    ("happened", "count", "bound"),  # from the tables of Clopper and Pearson's method
    [(1, 10, 0.394163), (5, 100, 0.102254), (10, 10, 1.0), (2, 1000, 0.006283)],
)
def test_bounds_that_are_known(happened: int, count: int, bound: float) -> None:
    assert upper_bound(happened, count) == pytest.approx(bound, rel=2e-3)


@given(st.integers(0, 60), st.integers(1, 10**6))
def test_a_bound_is_above_what_was_seen_and_grows_with_it(happened: int, more: int) -> None:
    count = happened + more
    assert happened / count < upper_bound(happened, count) < upper_bound(happened + 1, count) <= 1


@pytest.mark.parametrize(("happened", "count"), [(-1, 5), (6, 5), (0, 0)])
def test_counts_that_are_none(happened: int, count: int) -> None:
    with pytest.raises(ValueError, match="a count from 0"):
        upper_bound(happened, count)


def test_the_table_marks_what_is_not_promised_and_leaves_out_what_was_not_counted() -> None:
    zero = dict.fromkeys(("outside", "jumps", "stale", "holds", "aborts", "undetected"), 0)
    result = {
        "seed": 7,
        "kept": True,
        "rows": [
            {"path": "bridge", "fault": "drop", "injections": 48000, **zero, "promised": True},
            {"path": "servo bus", "fault": "swap", "injections": 500, **zero, "outside": 9, "promised": False},
            {"path": "bridge", "fault": "drop 1 %", "injections": 1, **zero, "aborts": None, "promised": True},
        ],
        "detection": [
            {"code": "CRC", "damage": "1 bit", "frames": 1000, "undetected": 0},
            {"code": "CRC", "damage": "2 bits", "frames": 2000, "undetected": 0},
        ],
    }
    lines = table(result).splitlines()
    assert "| bridge | drop | 48 000 | 0 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert "| servo bus * | swap | 500 | 9 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert "| bridge | drop 1 % | 1 | 0 | 0 | 0 | 0 |  | 0 |" in lines
    assert "| CRC | 1 bit | 1 000 | 0 | 3.0e-03 |" in lines
    assert "| CRC | all of it | 3 000 | 0 | 1.0e-03 |" in lines
