"""The simulated table: its arm is the described one, its oracle does every task, and it is deterministic."""

from __future__ import annotations

import numpy as np
import pytest

from edge.api import Outcome
from edge.tabletop import API
from learning.lockstep import OracleArm
from learning.sim.hands import OracleHands
from learning.sim.ik import InverseKinematics
from learning.sim.scene import FREE_SPOTS, Item, Scene, clearance, free_spot, sample_names, sample_scene
from learning.sim.world import READY, World
from learning.tasks import KINDS, next_call, sample


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_public_frame_at_home_is_where_the_drawings_say(world: World) -> None:
    world.data.qpos[world._qpos] = 0.0
    import mujoco

    mujoco.mj_forward(world.model, world.data)
    np.testing.assert_allclose(world.data.site("gripper_frame").xpos, (0.3914, 0.0, 0.2265), atol=1e-4)


def test_joint_units_round_trip(world: World) -> None:
    joints = np.array([0.3, -0.5, 0.7, 1.0, -0.2, 0.25])
    np.testing.assert_allclose(world.from_radians(world.to_radians(joints)), joints, atol=1e-12)


def test_measured_joints_are_whole_servo_ticks(world: World) -> None:
    world.reset(Scene(items=()))
    ticks = world.to_radians(world.joints()) * 4096 / (2 * np.pi)
    np.testing.assert_allclose(ticks, np.round(ticks), atol=1e-6)


def test_position_servo_stands_where_it_is_told_once_gravity_is_allowed_for(world: World) -> None:
    ik = InverseKinematics()
    target = np.array([0.20, 0.05, 0.06])
    angles = ik.solve(target, 0.3, np.array([0.0, -0.3, 0.5, 1.2, 0.0]))
    world.reset(Scene(items=()))
    for _ in range(40):
        world.step(np.append(angles + ik.sag(angles), READY[5]))
    pinch = world.pinch()
    np.testing.assert_allclose((pinch.x, pinch.y, pinch.z), target, atol=0.003)
    assert abs(pinch.yaw - 0.3) < 0.03


@pytest.mark.parametrize("radius", [0.14, 0.18, 0.22])
@pytest.mark.parametrize("bearing", [-1.0, 0.0, 1.0])
def test_inverse_kinematics_reaches_the_table(radius: float, bearing: float) -> None:
    ik = InverseKinematics()
    point = np.array([0.0388 + radius * np.cos(bearing), radius * np.sin(bearing), 0.016])
    ik.solve(point, bearing + 0.4, np.array([0.0, -0.3, 0.5, 1.2, 0.0]))
    np.testing.assert_allclose(ik._data.site("pinch").xpos, point, atol=1e-3)


def test_scenes_keep_their_distances_and_leave_a_free_spot() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = sample_scene(rng, sample_names(rng, 4, 2))
        for i, a in enumerate(scene.items):
            for b in scene.items[:i]:
                assert np.hypot(a.x - b.x, a.y - b.y) >= clearance(a.shape, b.shape)
        assert free_spot(scene.items) in FREE_SPOTS


def test_free_spot_falls_back_to_the_clearest() -> None:
    crowd = tuple(Item(f"{i} cube", x, y) for i, (x, y) in enumerate(FREE_SPOTS[:-1]))
    crowd = (*crowd, Item("last cube", FREE_SPOTS[-1][0] + 0.03, FREE_SPOTS[-1][1]))
    assert free_spot(crowd) == FREE_SPOTS[-1]


def test_too_many_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 4 cubes"):
        sample_scene(np.random.default_rng(0), tuple(f"{c} cube" for c in ("red", "green", "blue", "yellow", "orange")))


def test_same_scene_same_pictures_and_same_motion(world: World) -> None:
    def episode() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scene, _ = sample("put", np.random.default_rng(3))
        world.reset(scene)
        hands = OracleHands(world)
        for target in API.run(next_call(sample("put", np.random.default_rng(3))[1], world.items(), ()), hands):
            world.step(target)
        return world.render("front"), world.render("wrist"), world.joints()

    for first, second in zip(episode(), episode(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_cameras_see_objects_where_projection_says(world: World) -> None:
    """The pixel at an object's projected place has the object's colour, which the table has not."""
    scene = Scene(items=(Item("red cube", 0.2, 0.1), Item("blue plate", 0.2, -0.1)))
    world.reset(scene)
    image = world.render("front")
    for name, channel in (("red cube", 0), ("blue plate", 2)):
        pose = world.pose_of(name)
        u, v = world.project("front", (pose.x, pose.y, pose.z))
        pixel = image[int(v * 192), int(u * 192)].astype(int)
        assert pixel.argmax() == channel
        assert pixel[channel] - np.median(pixel) > 40


def test_gripper_tells_a_held_cube_from_nothing(world: World) -> None:
    scene = Scene(items=(Item("red cube", 0.2, 0.05),))
    world.reset(scene)
    for target in OracleHands(world).grasp("red cube"):
        world.step(target)
    assert world.held() == "red cube"
    holding = world.joints()[5]
    world.reset(Scene(items=()))
    for _ in range(30):
        world.step(np.array([*READY[:5], 0.12]))
    assert world.held() is None
    assert holding - world.joints()[5] > 0.04


@pytest.mark.parametrize("kind", KINDS)
def test_oracle_does_every_task(kind: str) -> None:
    arm = OracleArm()
    for seed in range(4):
        scene, task = sample(kind, np.random.default_rng([77, seed]))
        result = arm.run(scene, task, lambda image, task, items, transcript: next_call(task, items, transcript))
        assert result.success, f"{task.text}: {result}"
        assert all(outcome is Outcome.OK for _, outcome in result.entries)
