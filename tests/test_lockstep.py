"""The lock-step twin with the reference bundle: it does tasks, two runs agree, and the table counts as it says."""

from __future__ import annotations

import json
import math
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from edge.api import Call, Outcome
from edge.errors import PlannerError
from edge.manifest import load
from edge.planner.planner import Budget
from edge.policy.policy import Policy
from edge.tabletop import API
from learning.evaluate import UNHURRIED, Score, Trial, evaluate, main, table
from learning.intervals import wilson
from learning.lockstep import LockStep, OracleArm
from learning.tasks import next_call, sample

REFERENCE = Path(__file__).parent.parent / "models" / "reference"


def oracle(image: np.ndarray, task: object, items: object, transcript: object) -> Call:
    return next_call(task, items, transcript)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lockstep() -> LockStep:
    bundle = load(REFERENCE)
    return LockStep(Policy.load(bundle, API), numbers=bundle.manifest.monitor, ready=bundle.manifest.ready)


def test_the_reference_policy_puts_cubes_on_plates(lockstep: LockStep) -> None:
    done = [lockstep.run(*Trial("policy", "put", index).scene(), oracle).success for index in range(5)]
    assert sum(done) >= 3, "about nineteen in twenty do; see docs/results.json"


def test_two_runs_of_the_same_scene_agree(lockstep: LockStep) -> None:
    scene, task = Trial("policy", "put", 1).scene()
    first, second = lockstep.run(scene, task, oracle), lockstep.run(scene, task, oracle)
    assert first == second


def test_a_planner_that_fails_stops_the_task_with_its_reason(lockstep: LockStep) -> None:
    def lost(image: np.ndarray, task: object, items: object, transcript: object) -> Call:
        raise PlannerError("the planner wrote no valid call", got="'pick(red'")

    result = lockstep.run(*Trial("policy", "put", 0).scene(), lost)
    assert not result.success
    assert "pick(red" in result.reason


def test_a_planner_that_fails_under_the_oracles_hands_ends_that_task_only() -> None:
    def lost(image: np.ndarray, task: object, items: object, transcript: object) -> Call:
        raise PlannerError("the planner wrote no valid call", got="'pick(red'")

    result = OracleArm().run(*Trial("planner", "put", 0).scene(), lost)
    assert not result.success
    assert "pick(red" in result.reason


def test_oracles_hands_report_what_happened() -> None:
    """A planner that insists on a cube that is not there is told so; one that is right gets `ok`."""
    arm = OracleArm()
    scene, task = sample("put", np.random.default_rng(0))
    missing = next(f"{c} cube" for c in API.colours if all(i.name != f"{c} cube" for i in scene.items))
    result = arm.run(scene, task, lambda *_: Call("pick", (missing,)))
    assert not result.success
    assert "cannot be done here" in result.reason
    good = arm.run(scene, task, oracle)
    assert good.success
    assert [outcome for _, outcome in good.entries] == [Outcome.OK, Outcome.OK]


def test_every_cell_gets_the_same_scenes() -> None:
    for kind in ("pick", "swap"):
        assert Trial("both", kind, 7).scene() == Trial("planner", kind, 7).scene()
    assert Trial("both", "put", 3).scene()[1].text != Trial("both", "put", 2).scene()[1].text


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (50, 100, 0.4038, 0.5962), (100, 100, 0.9630, 1.0)]
)
def test_wilson_intervals(successes: int, count: int, low: float, high: float) -> None:
    """Against the closed form's published values."""
    assert wilson(successes, count) == pytest.approx((low, high), abs=1e-3)


def test_the_table_counts_its_episodes() -> None:
    scores = [
        Score("both", "put", i, i < 3, i % 4 == 3, False, 6.0, "", ("pick -> ok",)) for i in range(4)
    ]  # fmt: skip
    view = table(scores, ["both"])
    assert view.row_count == 1
    assert next(iter(view.columns[2].cells)) == "3/4"
    assert next(iter(view.columns[4].cells)) == "0/1"


def test_evaluation_from_the_bundle_with_the_learned_planner() -> None:
    """Planner and policy together, in a worker process, as the table is made."""
    scores = evaluate(REFERENCE, ["both"], 1, None, 1)
    assert [score.kind for score in scores] == ["pick", "put", "stack", "swap"]
    assert all(score.calls for score in scores)


def test_the_planner_is_judged_by_what_it_writes_and_not_by_the_machines_speed() -> None:
    assert UNHURRIED.milliseconds == math.inf
    assert UNHURRIED.tokens == Budget().tokens


def test_an_error_of_a_worker_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked = ["--bundle", str(tmp_path / "nowhere"), "--cells", "policy", "--episodes", "1", "--workers", "1"]
    assert main(asked) == 2
    assert "no bundle at" in capsys.readouterr().err


def test_results_are_kept_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second share fails; the first is on the disk by then."""
    score = Score("policy", "pick", 0, True, False, False, 1.0, "", ())

    class Pool:
        def __init__(self, *_: object) -> None:
            self.shares = 0

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, *_: object) -> Future[list[Score]]:
            self.shares += 1
            done: Future[list[Score]] = Future()
            if self.shares == 1:
                done.set_result([score])
            else:
                done.set_exception(PlannerError("gone"))
            return done

    monkeypatch.setattr("learning.evaluate.ProcessPoolExecutor", Pool)
    assert main(["--cells", "policy,oracle", "--episodes", "1", "--out", str(tmp_path / "new/results.json")]) == 2
    assert [row["kind"] for row in json.loads((tmp_path / "new/results.json").read_text())] == ["pick"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["results.json"]
