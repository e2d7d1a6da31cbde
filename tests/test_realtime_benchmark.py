"""The real-time benchmark: what it makes of histograms, and all of its phases for a moment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.python_loop import STEP_NS, Step, Times
from benchmarks.realtime_report import FIRST, LOOP, SECOND, Core, Phase, Ratios, as_json, bins, draw, table
from benchmarks.scripted import HORIZON, PERIOD_NS, Swing
from learning.cyclictest import Histogram

ROOT = Path(__file__).resolve().parents[1]
NAMES = (FIRST, LOOP, SECOND, "Python", "Python, plain")


def latency(p999: int, worst: int) -> Histogram:
    """Ten thousand cycles that say where their p99.9 is, and one that says the maximum."""
    return Histogram({1: 10_000 - 20, p999: 19, worst: 1}, float(worst))


def phases() -> list[Phase]:
    made = [Phase(name, latency(100, 1000), Core(500, 50, 10)) for name in NAMES]
    made[1] = replace(
        made[1], step=Histogram({900: 996, 4000: 4}, 33_000), more={"deadlines missed": 3, "holds": 0, "rights": "all"}
    )
    return made


def test_percentiles_of_counts_agree_with_sorting() -> None:
    samples = np.sort(np.random.default_rng(3).lognormal(3, 1, 5000).astype(int))
    us, counts = np.unique(samples, return_counts=True)
    read = Histogram(dict(zip(us.tolist(), counts.tolist(), strict=True)), float(samples[-1]))
    assert read.n == 5000
    for share in (0.5, 0.99, 0.999, 0.9999):
        assert read.percentile(share) == samples[int(np.ceil(share * 5000)) - 1]


def test_the_loop_is_compared_with_the_mean_of_the_cyclictests_around_it() -> None:
    seen = Ratios.of(latency(80, 500), latency(120, 1132), latency(120, 1002))
    assert seen.p999 == pytest.approx(1.2)
    assert seen.p999_met
    assert seen.worst == pytest.approx(1132 / 751)
    assert seen.worst_allowed_us == pytest.approx(1.5 * 751 + 5)
    assert not seen.worst_met
    assert (seen.drift_p999, seen.drift_worst) == pytest.approx((1.5, 2.004))
    assert Ratios.of(latency(80, 500), latency(121, 1131), latency(120, 1002)).worst_met
    assert not Ratios.of(latency(80, 500), latency(121, 1131), latency(120, 1002)).p999_met


def test_five_microseconds_more_are_allowed_so_that_a_fast_machine_is_not_judged_by_its_clock() -> None:
    assert Ratios.of(latency(2, 4), latency(2, 11), latency(2, 4)).worst_met
    assert not Ratios.of(latency(2, 4), latency(2, 12), latency(2, 4)).worst_met
    still = Histogram({0: 1000}, 0.0)
    assert Ratios.of(still, still, still).p999 == 1


def test_the_table_has_a_row_a_phase_and_says_what_was_met() -> None:
    rows = table("idle", phases())
    assert [row[:18].strip() for row in rows[1:6]] == list(NAMES)
    assert rows[2].split()[2:8] == ["10000", "1", "1", "100", "100", "1000"]
    assert rows[2].split()[8:] == ["912", "4000", "33000", "10.0%", "2.00%"]
    assert "p99.9 1.00 (asked at most 1.2: met)" in rows[6]
    assert "here 1505 µs: met" in rows[6]
    assert rows[8:] == [f"{LOOP}: deadlines missed 3, rights all"]


def test_a_busy_machine_is_not_taken_for_an_idle_one() -> None:
    busy = [replace(phase, core=Core(500, 400, 0)) for phase in phases()]
    assert "NOT idle: other programs kept this core busy for 80% of the time" in table("idle", busy)
    assert not any(row.startswith("NOT idle") for row in table("inference", busy) + table("idle", phases()))


def test_rounds_add_up_and_each_is_told() -> None:
    one, two = (replace(phase, p999_us=(us,)) for phase, us in zip((phases()[1],) * 2, (80.0, 120.0), strict=True))
    both = one + two
    assert both.latency == Histogram({1: 2 * 9980, 100: 2 * 19, 1000: 2}, 1000)
    assert both.step is not None
    assert both.step.n == 2000
    assert both.more == {"deadlines missed": 6, "holds": 0, "rights": "all"}
    assert both.core.shares == one.core.shares
    rows = table("idle", [*phases()[:1], both, *phases()[2:]])
    assert f"p99.9 of each round  {LOOP:<18}80 120" in rows


def test_the_json_holds_the_histograms_and_is_json() -> None:
    made = phases()
    made[0] = replace(made[0], latency=Histogram({5: 98}, 200_000.0, beyond=2))
    told = json.loads(json.dumps(as_json(made), allow_nan=False))
    assert told["phases"][0]["p50_us"] == 5
    assert told["phases"][0]["p99.9_us"] is None
    assert told["phases"][1]["counts_us"] == [[1, 9980], [100, 19], [1000, 1]]
    assert told["phases"][1]["step_ns"] == {"mean": 912.4, "p99.9": 4000, "max": 33_000}
    assert told["ratios"]["worst_met"] is True


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    edges = bins(5000)
    assert edges[0] < 1 <= edges[1] < 5000 < edges[-1]
    assert np.all(np.diff(edges) > 0)
    draw({"idle": phases(), "inference": phases()}, "a title", tmp_path / "picture.svg")
    assert "a title" in (tmp_path / "picture.svg").read_text()


def test_the_python_loop_follows_the_motion_and_keeps_its_limits() -> None:
    step = Step(seed=2)
    start = step._start_ns
    swing = Swing(2, step._swing._middle)
    before = step.command.copy()
    for now in range(start, start + 2_000_000_000, STEP_NS):
        step(now)
        assert np.all(np.abs(step.command - before) <= step._farthest + 1e-12)
        before = step.command.copy()
    assert step.command == pytest.approx(swing.at(np.array([now]))[0], abs=5e-3)


def test_a_chunk_of_the_scripted_motion_is_the_motion_at_its_times() -> None:
    swing = Swing(1, np.zeros(6))
    chunk = swing.chunk(7)
    assert chunk.joints.shape == (HORIZON, 6)
    assert np.array_equal(chunk.joints[3], swing.at(np.array([7 + 4 * PERIOD_NS]))[0])


def test_times_are_counted_in_microseconds_and_early_is_not_late() -> None:
    times = Times(4)
    for late, took in ((-200, 100), (1999, 200), (2000, 300), (1500, 400), (9, 9)):
        times.add(late, took)
    told = times.summary()
    assert told["late_us"] == [(0, 1), (1, 2), (2, 1)]
    assert told["late_worst_us"] == 2
    assert told["step_ns"] == [(100, 1), (200, 1), (300, 1), (400, 1)]  # the fifth found no room
    assert told["step_worst_ns"] == 400


def fifo_granted() -> bool:
    asked = [sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(shutil.which("cyclictest") is None, reason="needs cyclictest (rt-tests)")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs a core beside the measured one")
@pytest.mark.skipif(not fifo_granted(), reason="needs the right to SCHED_FIFO")
def test_all_phases_for_a_moment(tmp_path: Path) -> None:
    """Both loads, 0.6 s a phase: everything runs, ends, and is written. How late anything was is not looked at."""
    realtime = ROOT / "benchmarks/realtime.py"
    command = [sys.executable, str(realtime), "--minutes=0.01", "--rounds=1", f"--out={tmp_path / 'x'}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "x.json").read_text())
    for load in ("idle", "inference"):
        assert [phase["name"] for phase in told[load]["phases"]] == list(NAMES)
        assert all(phase["n"] > 0 for phase in told[load]["phases"])
        assert told[load]["phases"][1]["more"]["chunks taken"] >= 1
        assert f"load {load}" in ran.stdout
    assert all(phase["more"]["policy chunks"] > 0 for phase in told["inference"]["phases"])
    assert (tmp_path / "x.svg").exists()


def test_a_core_for_the_rest_is_needed() -> None:
    alone = str(min(os.sched_getaffinity(0)))
    script = f"import os; os.sched_setaffinity(0, {{{alone}}}); from benchmarks.realtime import main; exit(main([]))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 2
    assert "a core beside the measured one" in ran.stderr
