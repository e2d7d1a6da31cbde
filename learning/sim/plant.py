"""The simulated arm behind its servos: ticks in, ticks out, one physics step at a time. Owns no clock."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators import ServoBlock
from learning.sim import model as table
from learning.sim.world import World

CENTRE_TICKS = 2048
"""Tick of 0 rad."""


class Plant:
    """Drives the actuators of a world from a servo block and measures back into it.

    A servo without torque is passive: its joint keeps its friction and falls. Goal_Velocity and Torque_Limit are
    honoured, Acceleration is not: the limiter above the bus is slower than the servo.

    Args:
        world: Already reset; its joints are where the servos stand.
        block: One entry a joint, in order of `JOINTS`.
    """

    def __init__(self, world: World, block: ServoBlock) -> None:
        self._world, self._block = world, block
        model, spec = world.model, table.description()
        joints = [model.joint(joint["name"]) for joint in spec["joints"]]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._lower, self._upper = model.jnt_range[[joint.id for joint in joints]].T
        self._tick_rad = 2 * np.pi / spec["servo"]["ticks_per_turn"]
        self._gain, self._torque = spec["servo"]["position_gain"], spec["servo"]["torque_limit"]
        self._setpoint = world.data.ctrl.copy()
        self._strength: tuple[bytes, bytes] | None = None
        self.measure()

    def step(self) -> None:
        """Advances by `model.TIMESTEP_S`."""
        block, world = self._block, self._world
        driven = block.driven
        goal = np.clip((block.goal - CENTRE_TICKS) * self._tick_rad, self._lower, self._upper)
        reach = np.where(block.goal_velocity > 0, block.goal_velocity * self._tick_rad * table.TIMESTEP_S, np.inf)
        here = world.data.qpos[self._qpos]
        self._setpoint = np.where(driven, self._setpoint + np.clip(goal - self._setpoint, -reach, reach), here)
        world.data.ctrl[:] = self._setpoint
        self._set_strength(driven, block.torque_limit)
        mujoco.mj_step(world.model, world.data)
        world.time_s += table.TIMESTEP_S
        self.measure()

    def _set_strength(self, driven: NDArray[np.bool_], torque_limit: NDArray[np.int32]) -> None:
        strength = (driven.tobytes(), torque_limit.tobytes())
        if strength == self._strength:  # nearly always
            return
        self._strength = strength
        model = self._world.model
        model.actuator_gainprm[:, 0] = self._gain * driven
        model.actuator_biasprm[:, 1] = -self._gain * driven
        model.actuator_forcerange[:, 1] = self._torque * torque_limit / 1000
        model.actuator_forcerange[:, 0] = -model.actuator_forcerange[:, 1]

    def measure(self) -> None:
        """Writes what the servos would measure now."""
        block, data = self._block, self._world.data
        block.position[:] = np.rint(CENTRE_TICKS + data.qpos[self._qpos] / self._tick_rad)
        block.velocity[:] = np.rint(data.qvel[self._dof] / self._tick_rad)
        block.load[:] = np.rint(data.actuator_force / self._torque * 1000)
        block.moving[:] = block.driven & (np.abs(block.goal - block.position) > 3)


def to_ticks(angles: NDArray[np.float64]) -> NDArray[np.int32]:
    """Servo angles in radians → encoder ticks."""
    turn = table.description()["servo"]["ticks_per_turn"]
    return np.rint(CENTRE_TICKS + np.asarray(angles) * turn / (2 * np.pi)).astype(np.int32)
