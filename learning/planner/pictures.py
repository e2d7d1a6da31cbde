"""Pictures of a moment with what the simulator knows about each patch: the dense supervision of the vision stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from learning.planner.moments import Moment
from learning.sim.hands import CLOSED, GRASP_REACH_M, GRASP_Z_M, HELD_REACH_M, OPEN, TRAVEL_Z_M
from learning.sim.ik import InverseKinematics
from learning.sim.scene import COLOURS, Item, Scene
from learning.sim.world import READY, World
from learning.tasks import cubes, distance_to_arm, plates, rests_on

PATCH, SIDE = 12, 16
CLASSES = 1 + 2 * len(COLOURS)
"""Background, then a cube of each colour, then a plate of each colour."""

FLAGS = ("nearest", "leftmost_loose", "covered", "held")
"""Of the object under a patch. `leftmost_loose`: the leftmost cube on the table, or leftmost empty plate. `covered`: a
cube on a plate, or a plate that holds one."""

MEASURES = ("distance", "y")
"""Distance to the arm and sideways position, both scaled to about ±1."""

_HELD_GRIP = 0.26
_SEED = np.array([0.0, -0.3, 0.5, 1.2, 0.0])
_CUBE_PIXELS, _PLATE_PIXELS = 14, 22
"""Fewer visible pixels than this do not make a patch an object's."""


@dataclass(frozen=True)
class Picture:
    """What the camera sees and what is there.

    Attributes:
        image: (192, 192, 3) uint8 RGB.
        classes: (256,) int64 object class of each patch, row by row.
        flags: (256, 4) float32, 0 or 1, in the order of `FLAGS`; meaningless on background.
        measures: (256, 2) float32, in the order of `MEASURES`; meaningless on background.
    """

    image: NDArray[np.uint8]
    classes: NDArray[np.int64]
    flags: NDArray[np.float32]
    measures: NDArray[np.float32]


def class_of(name: str) -> int:
    """Class of an object name, 1 … 12."""
    colour, shape = name.split()
    return 1 + COLOURS.index(colour) + (len(COLOURS) if shape == "plate" else 0)


def facts(moment: Moment) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flags (13, 4) and measures (13, 2) of each class in a moment."""
    flags, measures = np.zeros((CLASSES, len(FLAGS)), np.float32), np.zeros((CLASSES, len(MEASURES)), np.float32)
    on_table = [item for item in moment.items if item.name != moment.held]
    covered = {o.name for c in cubes(on_table) for p in plates(on_table) if rests_on(c, p) for o in (c, p)}
    for item in moment.items:
        row = class_of(item.name)
        flags[row, 2], flags[row, 3] = item.name in covered, item.name == moment.held
        measures[row] = (distance_to_arm(item) - 0.18) / 0.04, item.y / 0.12
    for group in (cubes(on_table), plates(on_table)):
        loose = [item for item in group if item.name not in covered]
        if loose:
            flags[class_of(min(loose, key=lambda i: i.y).name), 1] = 1.0
    if cubes(on_table):
        flags[class_of(min(cubes(on_table), key=distance_to_arm).name), 0] = 1.0
    return flags, measures


def bodies(items: Sequence[Item]) -> dict[str, str]:
    """Name in the model of each object: `World` hands out cubes and plates in the order of the scene."""
    counts = {"cube": 0, "plate": 0}
    named = {}
    for item in items:
        named[item.name] = f"{item.shape}{counts[item.shape]}"
        counts[item.shape] += 1
    return named


class Studio:
    """One world with its camera, reused for every picture.

    Args:
        rng: How exactly the arm stands.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._world, self._ik, self._rng = World(), InverseKinematics(), rng
        self._poses: dict[tuple[float, float], NDArray[np.float64]] = {}

    def begin(self, rng: np.random.Generator) -> None:
        """From here on pictures depend on `rng` alone, whatever was drawn before: a resumed training draws the same."""
        self._rng = rng

    def image(self, scene: Scene, moment: Moment) -> NDArray[np.uint8]:
        """(192, 192, 3) uint8 RGB of a moment in the light and through the camera of `scene`."""
        self._arrange(scene, moment)
        return self._world.render("front")

    def picture(self, scene: Scene, moment: Moment) -> Picture:
        """The image with its dense labels."""
        image = self.image(scene, moment)
        classes = self._patch_classes(moment)
        flags, measures = facts(moment)
        return Picture(image, classes, flags[classes], measures[classes])

    def close(self) -> None:
        """Free the renderer."""
        self._world.close()

    def _arrange(self, scene: Scene, moment: Moment) -> None:
        joints = READY + np.append(self._rng.normal(0.0, 0.02, 5), self._rng.uniform(-0.05, 0.05))
        held = next((item for item in moment.items if item.name == moment.held), None)
        if moment.above is not None:
            anchor = held or Item("", *moment.above)
            grip = _HELD_GRIP if held else (CLOSED if self._rng.random() < 0.7 else OPEN)
            joints = self._hanging(anchor, grip)
        self._world.reset(replace(scene, items=moment.items), joints)
        if held is not None:
            self._clasp(bodies(moment.items)[held.name])

    def _hanging(self, item: Item, grip: float) -> NDArray[np.float64]:
        """Joints (6,) with the gripper above an item, to the centimetre: solving takes long, so poses are kept."""
        key = (round(item.x, 2), round(item.y, 2))
        if key not in self._poses:
            x, y = key
            rng = np.random.default_rng([round(1000 + 100 * x), round(1000 + 100 * y)])  # kept or solved anew: the same
            yaw = self._ik.bearing(x, y) + float(rng.uniform(-np.pi / 4, np.pi / 4))
            low = self._ik.solve(np.array([x, y, GRASP_Z_M]), yaw, _SEED, reach_m=GRASP_REACH_M)
            lift = TRAVEL_Z_M + float(rng.uniform(-0.015, 0.005))
            high = self._ik.solve(np.array([x, y, lift]), yaw, low, reach_m=GRASP_REACH_M, tilt_rad=4.0)
            self._poses[key] = self._world.from_radians(np.append(high, 0.0))
        joints = self._poses[key] + self._rng.normal(0.0, 0.015, 6)
        joints[5] = grip
        return joints

    def _clasp(self, name: str) -> None:
        """Move a body between the finger pads; only positions change, no time passes."""
        data, model = self._world.data, self._world.model
        site, body = data.site("pinch"), model.body(name)
        address, quat = model.jnt_qposadr[body.jntadr[0]], np.zeros(4)
        mujoco.mju_mat2Quat(quat, site.xmat)
        data.qpos[address : address + 3] = site.xpos + HELD_REACH_M * site.xmat.reshape(3, 3)[:, 2]
        data.qpos[address + 3 : address + 7] = quat
        mujoco.mj_forward(model, data)

    def _patch_classes(self, moment: Moment) -> NDArray[np.int64]:
        lookup = np.zeros(self._world.model.ngeom + 1, np.int64)  # geom -1 is the sky, kept in the last place
        for name, body in bodies(moment.items).items():
            lookup[self._world.model.geom(body).id] = class_of(name)
        pixels = lookup[self._world.render("front", segmentation=True)]
        row, column = np.divmod(np.arange(pixels.size), pixels.shape[1])
        patch = (row // PATCH) * SIDE + column // PATCH
        counts = np.bincount(patch * CLASSES + pixels.ravel(), minlength=SIDE * SIDE * CLASSES).reshape(-1, CLASSES)
        split = 1 + len(COLOURS)
        cube, plate = counts[:, 1:split], counts[:, split:]
        is_plate = np.where(plate.max(1) >= _PLATE_PIXELS, split + plate.argmax(1), 0)
        return np.where(cube.max(1) >= _CUBE_PIXELS, 1 + cube.argmax(1), is_plate)
