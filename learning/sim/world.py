"""The simulated table in lock-step: reset, advance, look. Deterministic; owns no clock."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from edge.types import Pose
from learning.sim import model as table
from learning.sim.scene import Item, Scene

IMAGE_SIZE = 192
CONTROL_PERIOD_S = 0.05
READY = np.array(table.description()["ready"])
"""Where every place ends and every task begins: held high, gripper open, the table in full view."""

RGB = {
    "red": (0.80, 0.10, 0.10),
    "green": (0.10, 0.60, 0.15),
    "blue": (0.12, 0.25, 0.80),
    "yellow": (0.92, 0.85, 0.12),
    "orange": (0.95, 0.48, 0.05),
    "purple": (0.50, 0.15, 0.62),
}
_PARKED_Z = -2.0


class World:
    """One table, one arm, reusable for any number of scenes."""

    def __init__(self, image_size: int = IMAGE_SIZE) -> None:
        self.model = mujoco.MjModel.from_xml_string(table.mjcf())
        self.data = mujoco.MjData(self.model)
        self._image_size = image_size
        self._renderer: mujoco.Renderer | None = None
        spec = table.description()
        joints, servo = spec["joints"], spec["servo"]
        self._qpos = np.array([self.model.joint(j["name"]).qposadr[0] for j in joints])
        self._dof = np.array([self.model.joint(j["name"]).dofadr[0] for j in joints])
        self._lower = np.array([j["lower"] for j in joints])
        self._upper = np.array([j["upper"] for j in joints])
        self._tick = 2 * np.pi / servo["ticks_per_turn"]
        self._gain = float(servo["position_gain"])
        self._camera_home = {
            c: (self.model.camera(c).pos.copy(), self.model.camera(c).quat.copy()) for c in table.CAMERAS
        }
        self._body: dict[str, str] = {}
        self.scene = Scene(items=())
        self.time_s = 0.0

    # --- joints -----------------------------------------------------------------------------------------------------

    def to_radians(self, joints: NDArray[np.float64]) -> NDArray[np.float64]:
        """(6,) in `JOINTS` units → servo angles in radians."""
        angles = np.array(joints, dtype=float)
        angles[5] = self._lower[5] + angles[5] * (self._upper[5] - self._lower[5])
        return angles

    def from_radians(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Servo angles in radians → (6,) in `JOINTS` units."""
        joints = np.array(angles, dtype=float)
        joints[5] = (joints[5] - self._lower[5]) / (self._upper[5] - self._lower[5])
        return joints

    def joints(self) -> NDArray[np.float64]:
        """Measured joints (6,), with the servo's resolution of 4096 ticks a turn."""
        return self.from_radians(np.round(self.data.qpos[self._qpos] / self._tick) * self._tick)

    def gravity_sag(self) -> NDArray[np.float64]:
        """How far (6,) a position servo must aim off to stand still here; radians, gripper 0."""
        sag = self.data.qfrc_bias[self._dof] / self._gain
        sag[5] = 0.0
        return np.asarray(sag)

    # --- time -------------------------------------------------------------------------------------------------------

    def reset(self, scene: Scene, joints: NDArray[np.float64] = READY) -> None:
        """Put everything where `scene` says and let it come to rest."""
        self.scene = scene
        mujoco.mj_resetData(self.model, self.data)
        self._dress(scene)
        self.data.qpos[self._qpos] = self.to_radians(joints)
        self.data.ctrl[:] = self.to_radians(joints)
        mujoco.mj_forward(self.model, self.data)
        self.data.ctrl[:] += self.gravity_sag()
        self.time_s = 0.0
        self._advance(25)

    def rearrange(self, items: tuple[Item, ...]) -> None:
        """Put the objects of the scene elsewhere, at rest. The arm stays as it is; what it held it holds no more.

        Raises:
            ValueError: Other objects than the scene's, or in another order.
        """
        if [item.name for item in items] != [item.name for item in self.scene.items]:
            raise ValueError(f"other objects than {[item.name for item in self.scene.items]}")
        self.scene = replace(self.scene, items=items)
        for item in items:
            joint = self.model.joint(self.model.body(self._body[item.name]).jntadr[0])
            self._stand(self._body[item.name], item)
            self.data.qvel[joint.dofadr[0] : joint.dofadr[0] + 6] = 0.0
        mujoco.mj_kinematics(self.model, self.data)  # or `items` would say until the next step where they were

    def advance(self, joints: NDArray[np.float64], seconds: float = table.TIMESTEP_S) -> None:
        """Hold one goal (6,) for a while, rounded to whole physics steps."""
        self.data.ctrl[:] = np.clip(self.to_radians(joints), self._lower, self._upper)
        self._advance(max(1, round(seconds / table.TIMESTEP_S)))

    def step(self, targets: NDArray[np.float64]) -> None:
        """Move the goal linearly to `targets` (6,) over one control period."""
        count = round(CONTROL_PERIOD_S / table.TIMESTEP_S)
        start = self.data.ctrl.copy()
        goal = np.clip(self.to_radians(targets), self._lower, self._upper)
        for i in range(1, count + 1):
            self.data.ctrl[:] = start + (goal - start) * (i / count)
            mujoco.mj_step(self.model, self.data)
        self.time_s += count * table.TIMESTEP_S

    def _advance(self, count: int) -> None:
        mujoco.mj_step(self.model, self.data, count)
        self.time_s += count * table.TIMESTEP_S

    # --- what is where ----------------------------------------------------------------------------------------------

    def pose_of(self, name: str) -> Pose:
        """Pose of an object's centre.

        Raises:
            KeyError: The scene has no such object.
        """
        body = self.data.body(self._body[name])
        x_axis = body.xmat.reshape(3, 3)[:, 0]
        return Pose(*(float(v) for v in body.xpos), float(np.arctan2(x_axis[1], x_axis[0])))

    def pinch(self) -> Pose:
        """Pose of the pinch point, yaw being the direction the gripper opens in."""
        site = self.data.site("pinch")
        opens = site.xmat.reshape(3, 3)[:, 2]
        return Pose(*(float(v) for v in site.xpos), float(np.arctan2(opens[1], opens[0])))

    def items(self) -> tuple[Item, ...]:
        """The objects where they are now."""
        now = []
        for item in self.scene.items:
            pose = self.pose_of(item.name)
            half = table.CUBE_HALF_M if item.shape == "cube" else table.PLATE_HALF_HEIGHT_M
            now.append(Item(item.name, pose.x, pose.y, pose.yaw, pose.z - half))
        return tuple(now)

    def held(self) -> str | None:
        """The object that both finger pads touch, if any."""
        touched: dict[int, set[str]] = {}
        for contact in self.data.contact:
            pair = [self.model.geom(int(g)).name for g in contact.geom]
            for pad, other in (pair, pair[::-1]):
                if pad in ("fixed_pad", "moving_pad") and other not in ("fixed_pad", "moving_pad"):
                    touched.setdefault(self.model.geom(other).id if other else -1, set()).add(pad)
        for name, body in self._body.items():
            if touched.get(self.model.geom(body).id) == {"fixed_pad", "moving_pad"}:
                return name
        return None

    # --- cameras ----------------------------------------------------------------------------------------------------

    def render(self, camera: str, *, segmentation: bool = False) -> NDArray[np.uint8]:
        """(size, size, 3) uint8 RGB; with `segmentation`, (size, size) int32 geom ids."""
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.model, self._image_size, self._image_size)
        renderer = self._renderer
        if segmentation:
            renderer.enable_segmentation_rendering()
        renderer.update_scene(self.data, camera)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        image = renderer.render()
        if segmentation:
            renderer.disable_segmentation_rendering()
            return image[:, :, 0]
        return image.copy()

    def project(self, camera: str, point: NDArray[np.float64] | tuple[float, float, float]) -> tuple[float, float]:
        """Where a base-frame point (3,) falls in the image: (u, v), 0–1 from the left and the top when inside."""
        view = self.data.camera(camera)
        x, y, z = view.xmat.reshape(3, 3).T @ (np.asarray(point) - view.xpos)
        scale = 2 * np.tan(np.radians(self.model.camera(camera).fovy[0]) / 2) * max(-z, 1e-3)
        return float(0.5 + x / scale), float(0.5 - y / scale)

    def close(self) -> None:
        """Free the renderer's context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    # --- dressing ---------------------------------------------------------------------------------------------------

    def _dress(self, scene: Scene) -> None:
        cubes = iter([f"cube{i}" for i in range(table.CUBES)])
        plates = iter([f"plate{i}" for i in range(table.PLATES)])
        self._body = {i.name: next(cubes if i.shape == "cube" else plates) for i in scene.items}
        shades = scene.shade or (1.0,) * len(scene.items)
        for item, shade in zip(scene.items, shades, strict=True):
            colour = np.clip(np.array(RGB[item.name.split()[0]]) * shade, 0, 1)
            self._place(self._body[item.name], item, colour)
        for parked in (*cubes, *plates):
            self._park(parked)
        self._aim("front", scene.camera)
        self._aim("wrist", scene.wrist_camera)
        sun = self.model.light("sun")
        sun.dir[:] = np.array([scene.light[0], scene.light[1], -1.0]) / np.linalg.norm([*scene.light[:2], 1.0])
        sun.diffuse[:] = scene.light[2]
        self.model.mat("table").rgba[:3] = min(1.0, scene.tint * 0.95)

    def _stand(self, body: str, item: Item) -> None:
        address = self.model.jnt_qposadr[self.model.body(body).jntadr[0]]
        half = table.CUBE_HALF_M if item.shape == "cube" else table.PLATE_HALF_HEIGHT_M
        turn = [np.cos(item.yaw / 2), 0, 0, np.sin(item.yaw / 2)]
        self.data.qpos[address : address + 7] = [item.x, item.y, item.z + half + 5e-4, *turn]

    def _place(self, body: str, item: Item, rgb: NDArray[np.float64]) -> None:
        self._stand(body, item)
        geom = self.model.geom(body)
        geom.rgba[:] = [*rgb, 1.0]
        geom.contype, geom.conaffinity = 2, 3
        self.model.body_gravcomp[self.model.body(body).id] = 0.0

    def _park(self, body: str) -> None:
        address = self.model.jnt_qposadr[self.model.body(body).jntadr[0]]
        self.data.qpos[address : address + 7] = [-1.0, 0.2 * self.model.body(body).id, _PARKED_Z, 1, 0, 0, 0]
        geom = self.model.geom(body)
        geom.rgba[3] = 0.0
        geom.contype, geom.conaffinity = 0, 0
        self.model.body_gravcomp[self.model.body(body).id] = 1.0

    def _aim(self, name: str, offset: tuple[float, ...]) -> None:
        position, quat = self._camera_home[name]
        turn, axis = np.zeros(4), np.array(offset[3:], dtype=float)
        angle = float(np.linalg.norm(axis))
        mujoco.mju_axisAngle2Quat(turn, axis / angle if angle else np.array([0.0, 0.0, 1.0]), angle)
        camera, turned = self.model.camera(name), np.zeros(4)
        mujoco.mju_mulQuat(turned, quat, turn)
        camera.pos[:] = position + np.array(offset[:3])
        camera.quat[:] = turned
