"""The builder of the firmware's table (table/arm_description.h, firmware/arm_table.h): the same C code for the program
that writes the table and for the driver that compares its hash."""

from collections.abc import Sequence

Numbers = tuple[int, tuple[int, ...], int, int, int, int, int]
"""A joint: servo id, the six numbers of its limits (`_safety.Limits`), origin, scale, travel, margin, tracking."""

def joint(
    servo_id: int,
    normalised: bool,
    lower: float,
    upper: float,
    max_velocity: float,
    max_acceleration: float,
    max_jerk: float,
    calibration: tuple[int, int, bool] | None,
    ticks_per_turn: int,
    tick_us: int,
) -> Numbers:
    """From radians and seconds; `calibration` is range_min, range_max and whether the joint is reversed.

    Raises:
        ValueError: No limiter can keep these limits; names the number at fault.
    """

def position(numbers: Numbers, encoder: int) -> int:
    """Encoder ticks to the limiter's position."""

def encoder(numbers: Numbers, position: int) -> int:
    """The limiter's position to the nearest encoder tick."""

def config(tick_us: int, joints: Sequence[Numbers]) -> int:
    """The hash of a whole table, at most 8 joints (ValueError)."""
