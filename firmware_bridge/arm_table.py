"""The firmware's table of an arm: python -m firmware_bridge.arm_table edge/robots/so101.json > table.c

Everything that the microcontroller and the computer must have alike, in the integers that the firmware works with
(firmware/arm_table.h), and the hash of it all that a hello carries.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_bridge._bridge import crc32
from firmware_bridge._safety import Limits, limits_from

TICK_US = 4000
"""One bus cycle, of the 250 Hz that the direct link runs at as well."""

_POSITION = 1 << 32
_SCALE = 1 << 48
_NORMALISED = "gripper"
_SWIFTEST = 2.0  # times the velocity limit: faster than that no position is believed to change
_PLAY_RAD = 0.05
_TRACKING_RAD = 0.5


@dataclass(frozen=True)
class JointTable:
    """One joint, as in firmware/arm_table.h.

    Attributes:
        servo_id: Bus id.
        limits: Of the safety limiter.
        origin: Position at encoder tick 0, in 2^-32 of the joint's unit (radians; the gripper 0 to 1).
        scale: Of an encoder tick, in 2^-48 of the joint's unit.
        travel: Encoder ticks that a believable position changes by in a cycle at most,
        margin: and besides.
        tracking: Encoder ticks that the joint may stay behind its goal; 0: as far as it likes.
    """

    servo_id: int
    limits: Limits
    origin: int
    scale: int
    travel: int
    margin: int
    tracking: int

    def position(self, encoder: int) -> int:
        """Encoder ticks to the limiter's position."""
        return self.origin + _nearest(encoder * self.scale, _SCALE // _POSITION)

    def encoder(self, position: int) -> int:
        """The limiter's position to the nearest encoder tick."""
        return _nearest((position - self.origin) * (_SCALE // _POSITION), self.scale)


@dataclass(frozen=True)
class ArmTable:
    """What the firmware knows of an arm."""

    tick_us: int
    joints: tuple[JointTable, ...]

    @property
    def config(self) -> int:
        """The hash of it all, as `arm_config` in firmware/arm_table.c computes it."""
        value = crc32(struct.pack("<BH", len(self.joints), self.tick_us))
        for joint in self.joints:
            numbers = (joint.origin, joint.scale, joint.travel, joint.margin, joint.tracking)
            value = crc32(struct.pack("<IBqqiiiiqqiii", value, joint.servo_id, *joint.limits, *numbers))
        return value

    def source(self, name: str) -> str:
        """The table as C."""
        rows = "".join(
            f"    {{{joint.servo_id},\n"
            f"     {{INT64_C({joint.limits.lower}), INT64_C({joint.limits.upper}), "
            f"{', '.join(map(str, joint.limits[2:]))}}},\n"
            f"     INT64_C({joint.origin}), INT64_C({joint.scale}), "
            f"{joint.travel}, {joint.margin}, {joint.tracking}}},\n"
            for joint in self.joints
        )
        return (
            "/* Written by `python -m firmware_bridge.arm_table`; write it again, do not edit it. */\n"
            '#include "arm_table.h"\n\n'
            "/* clang-format off */\n"
            f"const arm_table {name} = {{{len(self.joints)}, {self.tick_us}, {{\n{rows}}}}};\n"
        )


def _nearest(dividend: int, divisor: int) -> int:
    """Halves away from zero, as arm_table.c divides."""
    half = abs(divisor) // 2
    quotient = (abs(dividend) + half) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def arm_table(
    description: Mapping[str, Any], calibration: Mapping[str, Mapping[str, int]] | None = None, tick_us: int = TICK_US
) -> ArmTable:
    """From an arm description and, if there is one, a LeRobot calibration.

    Args:
        description: As in edge/robots/so101.json, already checked.
        calibration: By joint: `range_min`, `range_max`, `drive_mode`. Without one, half a turn is 0 rad.
        tick_us: Length of a tick.

    Raises:
        ValueError: The limiter cannot keep the limits in ticks of this length.
        KeyError: The calibration lacks a joint.
    """
    turn = description["servo"]["ticks_per_turn"]
    made = []
    for joint in description["joints"]:
        stored = None if calibration is None else calibration[joint["name"]]
        made.append(_joint(joint, turn, stored, tick_us))
    return ArmTable(tick_us, tuple(made))


def _joint(joint: Mapping[str, Any], turn: int, stored: Mapping[str, int] | None, tick_us: int) -> JointTable:
    radian = turn / (2 * math.pi)
    lower, upper = joint["lower"], joint["upper"]
    normalised = joint["name"] == _NORMALISED
    span = upper - lower if normalised else 1.0
    if stored is None:
        zero, scale = (turn / 2 + lower * radian, span * radian) if normalised else (turn / 2, radian)
    elif normalised:
        ends = (stored["range_min"], stored["range_max"])
        zero, last = reversed(ends) if stored["drive_mode"] else ends
        scale = last - zero
    else:
        zero, scale = (stored["range_min"] + stored["range_max"]) / 2, radian
        lower = max(lower, (stored["range_min"] - zero) / scale)
        upper = min(upper, (stored["range_max"] - zero) / scale)
    if normalised:
        lower, upper = 0.0, 1.0
    rates = (joint[f"max_{rate}"] / span for rate in ("velocity", "acceleration", "jerk"))
    return JointTable(
        servo_id=joint["servo_id"],
        limits=limits_from(lower, upper, *rates, tick_us * 1e-6),
        origin=round(-zero / scale * _POSITION),
        scale=round(_SCALE / scale),
        travel=math.ceil(_SWIFTEST * joint["max_velocity"] * tick_us * 1e-6 * radian),
        margin=math.ceil(_PLAY_RAD * radian),
        tracking=0 if normalised else math.ceil(_TRACKING_RAD * radian),  # a gripper stops at what it holds
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m firmware_bridge.arm_table", description="Writes the table in C.")
    parser.add_argument("description", type=Path, help="edge/robots/so101.json, or another arm's")
    parser.add_argument("--calibration", type=Path, help="LeRobot's calibration file of this arm")
    parser.add_argument("--name", default="so101_table", help="of the C constant")
    arguments = parser.parse_args()
    calibration = None if arguments.calibration is None else json.loads(arguments.calibration.read_text("utf-8"))
    description = json.loads(arguments.description.read_text("utf-8"))
    print(arm_table(description, calibration).source(arguments.name), end="")


if __name__ == "__main__":
    main()
