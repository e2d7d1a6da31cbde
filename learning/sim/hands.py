"""The oracle's hands: what each subtask of the API does, scripted from the simulator's ground truth.

Every method yields joint targets (6,), one a control period, and leaves in `aim` what it is after and in `finished`
whether the subtask is over. A pick ends with the object lifted, a place ends at the ready pose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.types import Pose
from learning.sim import model as table
from learning.sim.ik import InverseKinematics
from learning.sim.scene import free_spot
from learning.sim.world import READY, World

Targets = Iterator[NDArray[np.float64]]

OPEN, CLOSED = float(READY[5]), 0.12
"""Gripper commands. A held cube stops the closing jaw at about 0.26."""

GRASP_Z_M, TRAVEL_Z_M = 0.016, 0.080
GRASP_REACH_M = 0.0055
"""The cube starts 9 mm clear of the fixed pad, so that neither finger lands on it: its centre is this far beyond the
pinch point."""
HELD_REACH_M = -0.0035
"""Once held, the cube touches the fixed pad: its centre is this side of the pinch point."""
DROP_M = 0.003
SPEED_RAD_PER_STEP = 0.07
DWELL_STEPS = 4


@dataclass(frozen=True)
class Aim:
    """What the current subtask is after: where the object's centre is, or shall come to be."""

    x: float
    y: float
    z: float
    yaw: float


def ease(count: int) -> NDArray[np.float64]:
    """(count,) fractions in (0, 1] of a minimum-jerk move."""
    s = np.arange(1, count + 1) / count
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))


class OracleHands:
    """Implements `edge.tabletop.Hands` in a `World`. `places` is where each object was first grasped."""

    def __init__(self, world: World, ik: InverseKinematics | None = None) -> None:
        self.world = world
        self.ik = ik or InverseKinematics()
        self.places: dict[str, Pose] = {}
        self.finished = False
        self.aim: Aim | None = None
        self._command = READY.copy()

    # --- the API's subtasks -----------------------------------------------------------------------------------------

    def grasp(self, cube: str) -> Targets:
        """Close the gripper around a cube and lift it."""
        pose = self.world.pose_of(cube)
        yaw = self._square_to(pose)
        height = pose.z - table.CUBE_HALF_M
        self._begin(Aim(pose.x, pose.y, pose.z, yaw))
        low = self._arm_at(pose.x, pose.y, height + GRASP_Z_M, yaw, GRASP_REACH_M)
        high = self._above(low, pose.x, pose.y, height + TRAVEL_Z_M, yaw, GRASP_REACH_M)
        yield from self._travel(high, OPEN)
        yield from self._straight(high, low, pose, (height + TRAVEL_Z_M, height + GRASP_Z_M), yaw, GRASP_REACH_M, 10)
        yield from self._close()
        if cube not in self.places:
            self.places[cube] = self.world.pinch()
        yield from self._straight(low, high, pose, (height + GRASP_Z_M, height + TRAVEL_Z_M), yaw, GRASP_REACH_M, 8)
        yield from self._dwell()

    def put_on(self, target: str) -> Targets:
        """Put what is held on a plate or a cube."""
        pose = self.world.pose_of(target)
        half = table.CUBE_HALF_M if target.endswith("cube") else table.PLATE_HALF_HEIGHT_M
        yield from self._put(pose.x, pose.y, pose.z + half, self.ik.bearing(pose.x, pose.y))

    def put_at(self, place_of: str) -> Targets:
        """Put what is held where `place_of` was first grasped."""
        place = self.places[place_of]
        x, y = place.x + GRASP_REACH_M * np.cos(place.yaw), place.y + GRASP_REACH_M * np.sin(place.yaw)
        yield from self._put(float(x), float(y), place.z - GRASP_Z_M, place.yaw)

    def put_free(self) -> Targets:
        """Put what is held at a free spot of the table."""
        held = self.world.held()
        x, y = free_spot([item for item in self.world.items() if item.name != held])
        yield from self._put(x, y, 0.0, self.ik.bearing(x, y))

    def finish(self) -> Targets:
        """Nothing is left to do."""
        self._begin(None)
        yield from self._dwell()

    def move_to(self, angles: NDArray[np.float64], grip: float) -> Targets:
        """Go to servo angles (5,) with the gripper at `grip`. No subtask of the API; for setting the scene."""
        self._begin(None)
        yield from self._travel(angles, grip)

    # --- motions ----------------------------------------------------------------------------------------------------

    def _begin(self, aim: Aim | None) -> None:
        self.finished, self.aim = False, aim
        self._command = self.world.joints()

    def _put(self, x: float, y: float, support: float, yaw: float) -> Targets:
        self._begin(Aim(x, y, support + table.CUBE_HALF_M, yaw))
        grip = CLOSED
        z_low, z_high = support + GRASP_Z_M + DROP_M, support + TRAVEL_Z_M
        centre = Pose(x, y, 0.0, yaw)
        low = self._arm_at(x, y, z_low, yaw, HELD_REACH_M)
        high = self._above(low, x, y, z_high, yaw, HELD_REACH_M)
        yield from self._travel(high, grip)
        yield from self._straight(high, low, centre, (z_high, z_low), yaw, HELD_REACH_M, 10, grip)
        yield from self._move(low, OPEN, 5)
        yield from self._straight(low, high, centre, (z_low, z_high), yaw, HELD_REACH_M, 7, OPEN)
        yield from self._travel(self.world.to_radians(READY)[:5], OPEN)
        yield from self._dwell()

    def _square_to(self, pose: Pose) -> float:
        """The heading that grips two faces of a cube with the least wrist roll."""
        bearing, quarter = self.ik.bearing(pose.x, pose.y), np.pi / 2
        return float(pose.yaw + quarter * np.round((bearing - pose.yaw) / quarter))

    def _arm_at(self, x: float, y: float, z: float, yaw: float, reach: float) -> NDArray[np.float64]:
        seed = np.array([0.0, -0.3, 0.5, 1.2, 0.0])
        return self.ik.solve(np.array([x, y, z]), yaw, seed, reach_m=reach)

    def _above(
        self, low: NDArray[np.float64], x: float, y: float, z: float, yaw: float, reach: float
    ) -> NDArray[np.float64]:
        """The pose over `low`: where straight down is out of reach the gripper may tilt."""
        return self.ik.solve(np.array([x, y, z]), yaw, low, reach_m=reach, tilt_rad=4.0)

    def _travel(self, angles: NDArray[np.float64], grip: float) -> Targets:
        """Joint-space move at a comfortable speed."""
        far = np.abs(self.world.to_radians(self._command)[:5] - angles).max()
        yield from self._move(angles, grip, max(6, int(np.ceil(far / SPEED_RAD_PER_STEP))))

    def _move(self, angles: NDArray[np.float64], grip: float, count: int) -> Targets:
        start = self._command.copy()
        goal = np.append(angles + self.ik.sag(angles), grip)
        for fraction in ease(count):
            yield self._emit(start + (goal - start) * fraction)

    def _straight(
        self,
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        centre: Pose,
        heights: tuple[float, float],
        yaw: float,
        reach: float,
        count: int,
        grip: float | None = None,
    ) -> Targets:
        """Vertical move over `centre`, its tilt eased from that of `start` to that of `end`."""
        grip = float(self._command[5]) if grip is None else grip
        q, low = start, min(heights)
        for fraction in ease(count):
            z = heights[0] + (heights[1] - heights[0]) * fraction
            upright = 0.05 + 3.95 * np.clip((z - low - 0.02) / 0.05, 0.0, 1.0)
            q = self.ik.solve(np.array([centre.x, centre.y, z]), yaw, q, reach_m=reach, tilt_rad=upright)
            yield self._emit(np.append(q + self.ik.sag(q), grip))

    def _close(self) -> Targets:
        start = float(self._command[5])
        for fraction in ease(5):
            yield self._emit(np.append(self._command[:5], start + (CLOSED - start) * fraction))
        for _ in range(3):
            yield self._emit(self._command)

    def _dwell(self) -> Targets:
        self.finished = True
        for _ in range(DWELL_STEPS):
            yield self._emit(self._command)

    def _emit(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        self._command = np.array(targets, dtype=float)
        return self._command.copy()
