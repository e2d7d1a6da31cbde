"""`edge run` behind the microcontroller when something fails; `benchmarks/process_faults.py` counts every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from wire import GOAL_POSITION, TORQUE_ENABLE, Wire

from benchmarks.controller_bench import STOPPED, ControllerBench, ControllerRow, Setting
from benchmarks.controller_faults import FAULTS, inject, setting
from benchmarks.controller_latency import delays_ms
from benchmarks.process_faults import table
from firmware_bridge._bridge import Clear, Release, State
from firmware_bridge._feetech import encode_sync_write
from firmware_bridge.emulators.server import TAP

MS = 1_000_000
SIZE = {TORQUE_ENABLE: 1, GOAL_POSITION: 2}
ONCE = ("run killed", "adapter hangs, hands all on", "wrong calibration")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with setting(tmp_path_factory.mktemp("made")) as made:
        yield made


@pytest.mark.parametrize("fault", ONCE)
def test_what_is_promised_is_kept(fault: str, made: Setting, tmp_path: Path) -> None:
    row = inject(fault, 1, tmp_path, made, tmp_path / "no clock")
    assert row.injections == 1
    assert row.kept, row


def judged(path: Path, said: list[tuple[int, int]], orders: list[tuple[int, Any]]) -> ControllerRow:
    """What is counted since 10 ms of registers that were written, and orders that were given, at times in ms."""
    frames = [
        (at * MS, encode_sync_write(what, SIZE[what], dict.fromkeys(range(1, 7), bytes(SIZE[what]))))
        for at, what in said
    ]
    path.write_bytes(b"".join(TAP.pack(at_ns, len(frame)) + frame for at_ns, frame in frames))
    bench = ControllerBench.__new__(ControllerBench)
    bench.row, bench.wire = ControllerRow("a fault", ""), Wire(path)
    bench.adapter = cast(Any, SimpleNamespace(orders=[(at * MS, order) for at, order in orders]))
    bench.count_told(10 * MS)
    return bench.row


CLEAR, RELEASE = Clear(50, 1, 2, 0, 1), Release(50, 1, 2, 0, 1)


@pytest.mark.parametrize(
    ("said", "orders", "stale", "torque"),
    [
        ([(5, GOAL_POSITION), (9, TORQUE_ENABLE)], [], 0, 0),
        ([(12, GOAL_POSITION), (16, GOAL_POSITION)], [], 2, 0),
        ([(12, TORQUE_ENABLE)], [], 0, 1),
        ([(12, TORQUE_ENABLE), (16, GOAL_POSITION)], [(11, RELEASE)], 1, 0),
        ([(12, GOAL_POSITION), (16, GOAL_POSITION), (20, TORQUE_ENABLE)], [(14, CLEAR)], 1, 0),
        ([(12, GOAL_POSITION)], [(5, CLEAR)], 1, 0),
    ],
    ids=["before", "goals", "torque", "a release allows torque alone", "a clear allows both", "an earlier clear"],
)
def test_what_is_told_without_an_order_is_counted(
    said: list[tuple[int, int]], orders: list[tuple[int, Any]], stale: int, torque: int, tmp_path: Path
) -> None:
    row = judged(tmp_path / "wire", said, orders)
    assert (row.stale, row.torque) == (stale, torque)
    assert row.kept == (not stale and not torque)


def state(arm: int, time_ms: int, sequence: int) -> tuple[int, State]:
    return 0, State(arm, 0, 7, sequence, time_ms * 1000, 0, 1, 0, 0, 0, (0,) * 6)


@pytest.mark.parametrize(("silent", "late"), [(4, 0), (5, 1)])
def test_a_stop_is_counted_from_before_the_last_order_in_the_firmwares_ticks(silent: int, late: int) -> None:
    states = [state(3, 4, 1), *(state(3, 8 + 4 * n, 2) for n in range(silent))]
    states += [state(4, 8 + 4 * silent, 2), state(STOPPED, 60, 2)]
    bench = ControllerBench.__new__(ControllerBench)
    bench.row, bench.adapter = ControllerRow("a fault", ""), cast(Any, SimpleNamespace(states=states))
    bench.count_ticks()
    assert (bench.row.late, bench.row.ticks) == (late, silent + 1)
    assert bench.row.kept == (not late)


def test_a_delay_is_the_time_since_the_loop_was_where_the_goal_is() -> None:
    times = np.arange(0, 4_000 * MS, MS)
    commanded = 2048 + 0.4 * (times / MS)  # a tick of the encoder in 2.5 ms
    goals = [(at * MS, round(2048 + 0.4 * (at - 7))) for at in range(1000, 3000, 4)]
    delays = delays_ms((times, commanded), [(at, float(goal)) for at, goal in goals])
    assert len(delays) == len(goals)
    assert np.median(delays) == pytest.approx(7, abs=0.2)
    assert np.abs(delays - 7).max() <= 1.26  # half a tick
    assert len(delays_ms((times, np.full(len(times), 2048.0)), [(2000 * MS, 2048.0)])) == 0


def test_the_table_tells_what_only_a_microcontroller_has() -> None:
    lines = table([ControllerRow("run killed", "brake", 20, late=1, ticks=6, void=2)]).splitlines()
    assert lines[0].endswith("| other | late | ticks | void |")
    assert lines[2] == "| run killed | brake | 20 | 0 | 0 | 0 | 0 | 0 | 1 | 6 | 2 |"
    assert set(ONCE) <= set(FAULTS)
