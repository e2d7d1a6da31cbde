"""LeRobot calibration files, read as they are: where the zero of each servo is, and how far its joint may turn.

LeRobot writes one for every arm, `calibration/robots/so_follower/<id>.json` below its home:
`{"elbow_flex": {"id": 3, "drive_mode": 0, "homing_offset": -12, "range_min": 890, "range_max": 3080}, …}`.
Ticks are those a servo reports, its encoder less the homing offset that LeRobot stored in it. An arm joint is at 0 rad
half-way between `range_min` and `range_max`; the gripper is closed at `range_min` and open at `range_max`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from edge.arm import ArmDescription, BridgeDrive, FeetechDrive
from edge.errors import ArmError
from edge.records import read

_FIX = "name the calibration file that LeRobot wrote for this arm"
_LEAST_TICKS = 64  # 6 degrees: a joint that was hardly moved was not calibrated


@dataclass(frozen=True)
class JointCalibration:
    """One servo's entry. `drive_mode` 1 is a gripper that closes towards `range_max`."""

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int


def load_calibration(path: str | PathLike[str], arm: ArmDescription) -> tuple[JointCalibration, ...]:
    """Read a LeRobot calibration file and check that it is one of this arm.

    Returns:
        One entry a joint, in the order of the description.

    Raises:
        ArmError: The file cannot be read, has other joints or ids, or a number that no servo can have.
    """
    drive = arm.drive.servos if isinstance(arm.drive, BridgeDrive) else arm.drive
    if not isinstance(drive, FeetechDrive):
        got = "motors that keep their zeros in the arm description"
        raise ArmError(f"a {arm.name} has no calibration file", expected="Feetech servos", got=got, fix="leave it out")
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArmError(f"calibration {path} cannot be read", got=str(error.strerror), fix=_FIX) from error
    except ValueError as error:
        raise ArmError(f"calibration {path} is not JSON", got=str(error), fix=_FIX) from error
    names = [joint.name for joint in arm.joints]
    found = sorted(data) if isinstance(data, dict) else []
    if found != sorted(names):
        raise ArmError(
            f"calibration {path} is not one of a {arm.name}", expected=", ".join(names),
            got=", ".join(found) or "no joints", fix=_FIX,
        )  # fmt: skip
    entries = tuple(read(JointCalibration, data[name], f"calibration {path}: {name}", ArmError) for name in names)
    for joint, entry in zip(arm.joints, entries, strict=True):
        modes = (0, 1) if joint.normalised else (0,)
        last = drive.ticks_per_turn - 1
        for field, value, possible, expected in (
            ("id", entry.id, entry.id == joint.servo_id, str(joint.servo_id)),
            ("drive_mode", entry.drive_mode, entry.drive_mode in modes, " or ".join(map(str, modes))),
            ("homing_offset", entry.homing_offset, abs(entry.homing_offset) < 2048, "-2047 to 2047"),
            ("range_max", entry.range_max, entry.range_max <= last, f"at most {last}"),
            ("range_min", entry.range_min, 0 <= entry.range_min < entry.range_max, "0 or more, below range_max"),
        ):
            if not possible:
                where = f"calibration {path}: {joint.name}.{field}"
                raise ArmError(f"{where} cannot be used", expected=expected, got=str(value), fix=_FIX)
        if entry.range_max - entry.range_min < _LEAST_TICKS:
            raise ArmError(
                f"calibration {path}: {joint.name} has no range", expected=f"{_LEAST_TICKS} ticks or more",
                got=f"{entry.range_min} to {entry.range_max}",
                fix="move the joint through its whole range when calibrating",
            )  # fmt: skip
    return entries
