"""The safety limiter of one joint (safety/limiter.h), as the microcontroller runs it. Positions in 2^-32 of the joint's
unit, velocities in that a tick."""

from typing import NamedTuple

REJECTED: int
"""The flag of a target or state that is none."""

class Limits(NamedTuple):
    """In the limiter's integers; made by `limits_from`."""

    lower: int
    upper: int
    max_velocity: int
    max_acceleration: int
    max_jerk: int
    release: int

def limits_from(
    lower: float, upper: float, max_velocity: float, max_acceleration: float, max_jerk: float, tick_s: float
) -> Limits:
    """From the joint's own unit and seconds.

    Raises:
        ValueError: No limiter can keep these in ticks of this length; names the number at fault.
    """

class Joint:
    """A joint, at rest at `position` to begin with."""

    position: int
    velocity: int
    acceleration: int

    def __init__(self, limits: Limits, position: int) -> None: ...
    def step(self, position: int, velocity: int) -> int:
        """One tick after a target that is at `position` at its end; returns the limiter's flags."""

    def brake(self) -> int:
        """One tick of coming to rest; returns the limiter's flags."""
