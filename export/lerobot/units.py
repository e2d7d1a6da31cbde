"""LeRobot's joint units to ours: radians from the middle of the calibrated range, gripper 0 closed to 1 open."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from edge.arm import FeetechDrive, load_description
from edge.calibration import load_calibration
from export.errors import ExportError
from export.lerobot.statistics import Affine

UNITS = ("degrees", "range", "radians")


def joint_units(units: str | None, robot: Path, calibration: Path | None) -> Affine:
    """LeRobot's numbers to ours, joint by joint.

    `degrees` are LeRobot's with `use_degrees` (from the middle of the range; its turn is 4095 ticks); `range` is -100
    to 100 over the calibrated range; of both the gripper is 0 to 100. `radians` are ours, as in data recorded here.

    Args:
        units: One of `UNITS`.
        robot: Arm description.
        calibration: LeRobot's calibration file of the arm, which only `range` needs.

    Raises:
        ExportError: Unknown units, no calibration where it is needed, or an arm that LeRobot's units do not describe.
        ArmError: The description or the calibration cannot be used.
    """
    if units is None or units not in UNITS:
        raise ExportError(
            "in which units are the checkpoint's joints? Its files do not say",
            expected=f"--joint-units {', '.join(UNITS)}",
            got="nothing" if units is None else repr(units),
            fix="degrees if the robot was recorded with use_degrees=true, else range with --calibration FILE",
        )
    arm = load_description(robot)
    gripper = np.array([joint.normalised for joint in arm.joints])
    zero = np.zeros(len(gripper))
    if units == "radians":
        return Affine(np.ones(len(gripper)), zero)
    if not isinstance(arm.drive, FeetechDrive):
        got = f"a {arm.name}, which has other motors"
        raise ExportError(f"--joint-units {units} is not supported", expected="an arm with Feetech servos", got=got)
    tick = 2 * math.pi / arm.drive.ticks_per_turn
    if units == "degrees":
        return Affine(np.where(gripper, 0.01, (arm.drive.ticks_per_turn - 1) / 360 * tick), zero)
    if calibration is None:
        fix = "name the file that LeRobot wrote for this arm, or record with use_degrees=true"
        raise ExportError("--joint-units range needs the arm's calibration", expected="--calibration FILE", fix=fix)
    entries = load_calibration(calibration, arm)
    ticks = np.array([entry.range_max - entry.range_min for entry in entries], float)
    return Affine(np.where(gripper, 0.01, ticks / 200 * tick), zero)
