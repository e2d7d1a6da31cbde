"""Inverse kinematics of the arm by damped least squares on the simulation's own model."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from learning.sim import model as table

_ITERATIONS = 60
_POSITION_M, _YAW_RAD = 5e-4, 0.02
"""Errors that weigh one unit each."""


class InverseKinematics:
    """Five arm joints from a point between the pads, the heading of the opening, and how upright to approach."""

    def __init__(self) -> None:
        self._model = mujoco.MjModel.from_xml_string(table.mjcf())
        self._data = mujoco.MjData(self._model)
        spec = table.description()
        self._lower = np.array([j["lower"] for j in spec["joints"][:5]])
        self._upper = np.array([j["upper"] for j in spec["joints"][:5]])
        self._pan_axis = np.array(spec["joints"][0]["offset"][:2])
        self._gain = float(spec["servo"]["position_gain"])
        self._site = self._model.site("pinch").id

    def bearing(self, x: float, y: float) -> float:
        """Direction of a table point as seen from the pan axis; the gripper's heading with the wrist unrolled."""
        return float(np.arctan2(y - self._pan_axis[1], x - self._pan_axis[0]))

    def solve(
        self,
        xyz: NDArray[np.float64],
        yaw: float,
        seed: NDArray[np.float64],
        *,
        reach_m: float = 0.0,
        tilt_rad: float = 0.05,
    ) -> NDArray[np.float64]:
        """Servo angles (5,) that put a point at `xyz` (3,) with the gripper opening toward `yaw`.

        Args:
            xyz: Where the point shall be, base frame, metres.
            yaw: Heading of the gripper's opening, radians.
            seed: (5,) angles to start from; the solution is the nearest one downhill.
            reach_m: The point lies this far from the pinch point along the opening.
            tilt_rad: Deviation from straight down that weighs as much as half a millimetre.
        """
        data = self._data
        q = np.array(seed[:5], dtype=float)
        # The pan axis points down: a positive bearing is a negative angle.
        q[0] = np.clip(-self.bearing(float(xyz[0]), float(xyz[1])), self._lower[0], self._upper[0])
        jac_p, jac_r = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        for _ in range(_ITERATIONS):
            data.qpos[:5] = q
            mujoco.mj_kinematics(self._model, data)
            mujoco.mj_comPos(self._model, data)
            mujoco.mj_jacSite(self._model, data, jac_p, jac_r, self._site)
            frame = data.site_xmat[self._site].reshape(3, 3)
            approach, opens = frame[:, 0], frame[:, 2]
            spin = jac_r[:, :5]
            error_p = np.asarray(xyz) - (data.site_xpos[self._site] + reach_m * opens)
            j_point = jac_p[:, :5] + reach_m * np.cross(spin.T, opens).T
            error_a, j_a = -approach[:2], np.cross(spin.T, approach).T[:2]
            side = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
            error_y, j_y = -side @ opens, side @ np.cross(spin.T, opens).T
            error = np.concatenate([error_p / _POSITION_M, error_a / tilt_rad, [error_y / _YAW_RAD]])
            jacobian = np.vstack([j_point / _POSITION_M, j_a / tilt_rad, j_y[None] / _YAW_RAD])
            move = np.linalg.solve(jacobian.T @ jacobian + 1.0 * np.eye(5), jacobian.T @ error)
            q = np.clip(q + np.clip(move, -0.3, 0.3), self._lower, self._upper)
            if np.abs(move).max() < 1e-5:
                break
        return q

    def sag(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far (5,) the servos must aim off to stand at `angles` (5,) against gravity."""
        self._data.qpos[:5] = angles
        self._data.qvel[:] = 0.0
        mujoco.mj_forward(self._model, self._data)
        return np.asarray(self._data.qfrc_bias[:5] / self._gain)
