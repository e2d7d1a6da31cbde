"""Physics for a bus without a simulator: each servo follows its goal with a lag and a speed limit, free of load."""

from __future__ import annotations

import numpy as np

from firmware_bridge.emulators.block import ServoBlock

MAX_SPEED_TICKS_S = 3000.0
"""About what an unloaded STS3215 reaches at 7.4 V: 60 degrees in 0.22 s."""
_TIME_CONSTANT_S = 0.03
_ARRIVED_TICKS = 3


class KinematicServos:
    """Moves the servos of a block.

    Args:
        block: Goals are read from it, measurements written to it.
    """

    def __init__(self, block: ServoBlock) -> None:
        self._block = block
        self._position = block.position.astype(float)

    def step(self, dt_s: float) -> None:
        """Advances by a time step. A servo without torque stays where it is, as the gears of an unloaded arm do."""
        block = self._block
        limit = np.where(block.goal_velocity > 0, np.minimum(block.goal_velocity, MAX_SPEED_TICKS_S), MAX_SPEED_TICKS_S)
        error = block.goal - self._position
        # The exact solution of the lag over one step, so that no step size can make it overshoot.
        velocity = np.clip(error * -np.expm1(-dt_s / _TIME_CONSTANT_S) / dt_s, -limit, limit) * block.driven
        self._position += velocity * dt_s
        block.position[:] = np.rint(self._position)
        block.velocity[:] = np.rint(velocity)
        block.moving[:] = block.driven & (np.abs(error) > _ARRIVED_TICKS)
