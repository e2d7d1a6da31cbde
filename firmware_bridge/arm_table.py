"""The firmware's table of an arm: python -m firmware_bridge.arm_table edge/robots/so101.json > table.c

Everything that the microcontroller and the computer must have alike, in the integers that the firmware works with
(firmware/arm_table.h), and the hash of it all that a hello carries.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_bridge import _arm_table
from firmware_bridge._safety import Limits

TICK_US = 4000
"""One bus cycle, of the 250 Hz that the direct link runs at as well."""
TICKS_US = (2000, 5000)
"""The least holds a cycle of the servo bus (1.84 ms), the most four states in the 20 ms that an order is fresh."""

_NORMALISED = "gripper"


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
        return _arm_table.position(self.numbers, encoder)

    def encoder(self, position: int) -> int:
        """The limiter's position to the nearest encoder tick."""
        return _arm_table.encoder(self.numbers, position)

    @property
    def numbers(self) -> _arm_table.Numbers:
        """As the C code takes them."""
        rest = (self.origin, self.scale, self.travel, self.margin, self.tracking)
        return (self.servo_id, tuple(self.limits), *rest)


@dataclass(frozen=True)
class ArmTable:
    """What the firmware knows of an arm."""

    tick_us: int
    joints: tuple[JointTable, ...]

    @property
    def config(self) -> int:
        """The hash of it all, as `arm_config` in firmware/arm_table.c computes it."""
        return _arm_table.config(self.tick_us, [joint.numbers for joint in self.joints])

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


def arm_table(description: Mapping[str, Any], calibration: Mapping[str, Mapping[str, int]] | None = None) -> ArmTable:
    """From an arm description and, if there is one, a LeRobot calibration.

    Args:
        description: As in edge/robots/so101.json, already checked. Its tick is `bridge.tick_us`, or `TICK_US`.
        calibration: By joint: `range_min`, `range_max`, `drive_mode`. Without one, half a turn is 0 rad.

    Raises:
        ValueError: The tick is not within `TICKS_US`, or the limiter cannot keep the limits in ticks of this length.
        KeyError: The calibration lacks a joint.
    """
    tick_us = description.get("bridge", {}).get("tick_us", TICK_US)
    least_us, most_us = TICKS_US
    if not least_us <= tick_us <= most_us:
        raise ValueError(
            f"bridge.tick_us {tick_us}: expected {least_us} to {most_us}: less holds no cycle of the servo bus, "
            "more no four states in the 20 ms that an order is fresh"
        )
    turn = description["servo"]["ticks_per_turn"]
    made = []
    for joint in description["joints"]:
        stored = None if calibration is None else calibration[joint["name"]]
        made.append(_joint(joint, turn, stored, tick_us))
    return ArmTable(tick_us, tuple(made))


def _joint(joint: Mapping[str, Any], turn: int, stored: Mapping[str, int] | None, tick_us: int) -> JointTable:
    span = (stored["range_min"], stored["range_max"], bool(stored["drive_mode"])) if stored is not None else None
    rates = (joint["max_velocity"], joint["max_acceleration"], joint["max_jerk"])
    normalised = joint["name"] == _NORMALISED
    made = _arm_table.joint(joint["servo_id"], normalised, joint["lower"], joint["upper"], *rates, span, turn, tick_us)
    servo_id, limits, *numbers = made
    return JointTable(servo_id, Limits(*limits), *numbers)


def read_description(path: Path) -> Mapping[str, Any]:
    """An arm description, with what it leaves to the one that it extends."""
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    base = read_description(path.parent / data["extends"]) if "extends" in data else {}
    return {**base, **data}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m firmware_bridge.arm_table", description="Writes the table in C.")
    parser.add_argument("description", type=Path, help="edge/robots/so101.json, or another arm's")
    parser.add_argument("--calibration", type=Path, help="LeRobot's calibration file of this arm")
    parser.add_argument("--name", default="so101_table", help="of the C constant")
    arguments = parser.parse_args()
    calibration = None if arguments.calibration is None else json.loads(arguments.calibration.read_text("utf-8"))
    try:
        table = arm_table(read_description(arguments.description), calibration)
    except ValueError as problem:
        parser.error(f"{arguments.description}: {problem}")
    print(table.source(arguments.name), end="")


if __name__ == "__main__":
    main()
