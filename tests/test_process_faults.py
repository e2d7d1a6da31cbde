"""Faults of processes, ports and clocks, once each; `python benchmarks/process_faults.py` counts them.

Where each kind of fault is tested and counted, always by what emulated servos decode. FT: benchmarks/faults.md, 10^6
injections, 10^4 in ctest `faults`. PF: benchmarks/process_faults.md; a direct bus here, `edge run` behind the
microcontroller in test_controller_faults (C). FW: tests/firmware, the microcontroller under a clock that the test
moves. HIL: tests/hil, the same as a process. W: native/test_wire.cpp.

| fault                       | direct servo bus                      | behind a microcontroller             | in    |
|-----------------------------|---------------------------------------|--------------------------------------|-------|
| bit flip, swap, truncation  | W, test_faulty_line                   | HIL damaged_answers, noise           | FT    |
| drop, duplicate, delay      | test_servo_faults, test_faulty_line   | FW test_wire                         | FT    |
| reorder                     | (no number in a frame: only counted)  | codec/test_bridge_gate               | FT    |
| NaN                         | W, test_run_faults, here              | (integers on its wire)               | FT PF |
| policy killed               | test_torque (exception)               | PF                                   | PF    |
| policy stopped              | test_run_faults, here                 | PF                                   | PF    |
| host killed, stopped        | test_failures, test_run_faults        | C; HIL test_computer_dies; FW        | PF    |
| port closed                 | here (its descriptor)                 | FW test_stop (silence)               | PF    |
| adapter unplugged, and back | test_driver, test_run, here           | C (hangs); FW test_stop (silence)    | PF    |
| queue full                  | here, native/test_mailbox, test_slcan | FW test_wire                         | PF    |
| overload status             | test_driver, test_run_faults, here    | HIL an_overload; FW test_faults      | PF    |
| microcontroller reset       |                                       | HIL the_watchdog; FW test_power_up   | PF    |
| stale feedback              | W, here (frozen)                      | HIL a_silent_servo; FW test_faults   | FT PF |
| wrong calibration           | here, test_calibration                | C; HIL hello_says_what_does_not…     | PF    |
| clock step                  | test_run_faults, test_clocks, here    | (has no wall clock)                  | PF    |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from wire import READ, SYNC_READ, WRITE, Wire

from benchmarks.fault_bench import STANDING, Judge, Row
from benchmarks.process_faults import FAULTS, inject, table
from edge._core import Arm, ControlLoop, Driver
from edge.arm import SO101
from edge.errors import ArmError
from firmware_bridge._feetech import encode_sync_write, encode_write
from firmware_bridge.emulators import BusProcess
from firmware_bridge.emulators.server import TAP

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
PING = 0x01


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_promised_is_kept(fault: str, tmp_path: Path) -> None:
    row = inject(fault, 1, tmp_path)
    assert row.injections == 1
    assert row.kept, row


def test_the_table_has_a_row_a_fault() -> None:
    rows = [Row("host killed", "silence", 20, stale=3), Row("NaN", "refused", 7)]
    assert [row.kept for row in rows] == [False, True]
    lines = table(rows).splitlines()
    assert lines[0] == "| fault | promise | injections | outside | jumps | stale | torque | other |"
    assert lines[2:4] == [
        "| host killed | silence | 20 | 0 | 0 | 3 | 0 | 0 |",
        "| NaN | refused | 7 | 0 | 0 | 0 | 0 | 0 |",
    ]


def heard(path: Path, said: list[tuple[int, bytes]]) -> Wire:
    """A wire on which this was said, at times in milliseconds."""
    path.write_bytes(b"".join(TAP.pack(ms * 1_000_000, len(data)) + data for ms, data in said))
    return Wire(path)


def goal(*ticks: int) -> bytes:
    return encode_sync_write(42, 2, {id: tick.to_bytes(2, "little") for id, tick in enumerate(ticks, 1)})


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ([(0, goal(*STANDING)), (4, goal(2050, *STANDING[1:]))], {}),
        ([(0, goal(*STANDING)), (4, goal(2148, *STANDING[1:]))], {"jumps": 1}),
        ([(0, goal(*STANDING)), (4000, goal(2448, *STANDING[1:]))], {"jumps": 1}),
        ([(0, goal(*STANDING)), (0, goal(2148, *STANDING[1:]))], {}),
        ([(0, goal(*STANDING)), (0, goal(2448, *STANDING[1:]))], {"jumps": 1}),
        ([(0, goal(3400, *STANDING[1:]))], {"outside": 1}),
        ([(0, goal(*STANDING)), (4, encode_write(3, 40, b"\0"))], {"torque": 1}),
    ],
    ids=["as it should be", "a jump", "a jump after a pause", "buffered", "a buffered jump", "outside", "torque off"],
)
def test_the_judge_sees_what_must_not_be(
    said: list[tuple[int, bytes]], counted: dict[str, int], tmp_path: Path
) -> None:
    row = Row("host stopped for 0.4 s", "")
    Judge().count(heard(tmp_path / "wire", said), row)
    assert {name: value for name, value in vars(row).items() if value and name not in ("fault", "promise")} == counted
    assert row.kept == (not counted)


def file_of(path: Path, change: dict[str, dict[str, int]]) -> Path:
    """A calibration that the servos of `arm` hold, but for this."""
    data: dict[str, Any] = {
        name: {"id": id, "drive_mode": 0, "homing_offset": 0, "range_min": 700, "range_max": 3300}
        for id, name in enumerate(NAMES, 1)
    }
    for name, fields in change.items():
        data[name] |= fields
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"elbow_flex": {"homing_offset": 100}},
        {"gripper": {"range_max": 3299}},
        {"shoulder_lift": {"range_min": 701}},
        {name: {"homing_offset": 17 * n, "range_min": 800 + n, "range_max": 3100 - n} for n, name in enumerate(NAMES)},
    ],
    ids=["a zero", "an end", "the other end", "another arm"],
)
def test_an_arm_of_another_calibration_is_asked_and_told_nothing(
    change: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    wire = Wire(tmp_path / "wire")
    registers = {id: {"min_position_limit": 700, "max_position_limit": 3300} for id in range(1, 7)}
    with BusProcess(registers=registers, wiretap=wire.path) as bus:
        loop = ControlLoop(Arm(SO101, file_of(tmp_path / "arm.json", change)))
        with pytest.raises(ArmError, match="does not hold the calibration in the file") as refused:
            Driver(loop, bus.port).start()
        assert bus.block.torque.tolist() == [0] * 6
    for name in NAMES:
        assert (name in refused.value.got) == (name in change)
    codes = {frame.code for _, frame in wire.frames()}
    assert codes <= {PING, READ, SYNC_READ}
    assert WRITE not in codes
