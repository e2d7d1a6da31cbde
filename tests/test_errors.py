"""Errors reach whoever can do something about them, whatever process they were raised in."""

from __future__ import annotations

import pickle

import pytest

from edge.errors import BundleError, EdgeError, PlannerError
from export.errors import ParityError


@pytest.mark.parametrize("kind", [EdgeError, BundleError, PlannerError, ParityError])
def test_an_error_survives_the_way_out_of_a_worker_process(kind: type[EdgeError]) -> None:
    error = kind("no fish", expected="a fish", got="a bird", fix="fetch a fish")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.args, again.exit_status) == (str(error), error.args, error.exit_status)
