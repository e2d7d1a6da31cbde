"""Forward kinematics against MuJoCo on the same description, and the meaning of the pinch pose."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_arm import ARM

from edge._core import Arm
from edge.arm import SO101, load_description
from edge.errors import ArmError

DESCRIPTION = json.loads(SO101.read_text())
FRAMES = (*ARM.names, *DESCRIPTION["frames"])
unit = st.floats(0.0, 1.0)


def text(values: list[float]) -> str:
    return " ".join(map(repr, values))


@pytest.fixture(scope="module")
def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The arm's bodies, joints and frames in MuJoCo, straight from the JSON: nothing of ours in between."""
    root = ElementTree.Element("mujoco")
    ElementTree.SubElement(root, "compiler", angle="radian")
    body = ElementTree.SubElement(root, "worldbody")
    for joint in DESCRIPTION["joints"]:
        place = {"pos": text(joint["offset"]), "quat": text(joint["quat"])}
        body = ElementTree.SubElement(body, "body", name=joint["name"], **place)
        ElementTree.SubElement(body, "joint", name=joint["name"], axis=text(joint["axis"]))
        ElementTree.SubElement(body, "geom", size="0.01", mass=repr(joint["mass"]))
        for name, frame in DESCRIPTION["frames"].items():
            if frame["parent"] == joint["name"]:
                ElementTree.SubElement(body, "site", name=name, pos=text(frame["offset"]), quat=text(frame["quat"]))
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
    return model, mujoco.MjData(model)


def mujoco_pose(
    model: mujoco.MjModel, data: mujoco.MjData, joints: np.ndarray, frame: str
) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) and rotation matrix (3, 3)."""
    data.qpos[:] = joints
    lower, upper = DESCRIPTION["joints"][5]["lower"], DESCRIPTION["joints"][5]["upper"]
    data.qpos[5] = lower + joints[5] * (upper - lower)
    mujoco.mj_kinematics(model, data)
    place = data.site(frame) if frame in DESCRIPTION["frames"] else data.body(frame)
    return place.xpos, place.xmat.reshape(3, 3)


@given(st.tuples(*[unit] * 6), st.sampled_from(FRAMES))
@settings(max_examples=100, deadline=None)
def test_forward_kinematics_equal_mujoco(
    scene: tuple[mujoco.MjModel, mujoco.MjData], at: tuple[float, ...], frame: str
) -> None:
    joints = ARM.lower + np.asarray(at) * (ARM.upper - ARM.lower)
    x, y, z, *quat = ARM.forward(joints, frame)
    position, rotation = mujoco_pose(*scene, joints, frame)
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat))
    assert (x, y, z) == pytest.approx(position, abs=1e-9)
    assert matrix.reshape(3, 3) == pytest.approx(rotation, abs=1e-9)


def test_the_home_pose_puts_the_tool_where_the_data_sheet_says() -> None:
    assert ARM.forward(np.zeros(6), "gripper_frame")[:3] == pytest.approx((0.3914, 0.0, 0.2265), abs=1e-4)


@given(st.tuples(*[unit] * 6))
@settings(max_examples=50, deadline=None)
def test_yaw_is_the_heading_in_which_the_gripper_opens(
    scene: tuple[mujoco.MjModel, mujoco.MjData], at: tuple[float, ...]
) -> None:
    """Where the moving finger's tip goes when the gripper opens by a little, seen from above."""
    joints = ARM.lower + np.asarray(at) * (ARM.upper - ARM.lower)
    tip = np.array([0.0, -0.075, 0.0])  # down the moving finger, in the gripper body's frame
    tips = []
    closed = -DESCRIPTION["joints"][5]["lower"] / (1.74533 + 0.17453)  # 0 rad: the finger points along the fixed one
    for opening in (closed, closed + 1e-4):
        joints[5] = opening
        position, rotation = mujoco_pose(*scene, joints, "gripper")
        tips.append(position + rotation @ tip)
    opens = (tips[1] - tips[0]) / np.linalg.norm(tips[1] - tips[0])
    *point, yaw = ARM.pinch_pose(joints)
    if np.hypot(*opens[:2]) > 0.1:  # straight up or down it has no heading
        assert opens[:2] / np.hypot(*opens[:2]) == pytest.approx((np.cos(yaw), np.sin(yaw)), abs=5e-3)
    assert tuple(point) == ARM.forward(joints, "pinch")[:3]


def test_the_gripper_does_not_move_the_pinch_pose() -> None:
    joints = np.array([0.3, -0.4, 0.5, 0.6, -0.7, 0.0])
    opened = joints + [0, 0, 0, 0, 0, 1]
    assert ARM.pinch_pose(joints) == ARM.pinch_pose(opened)


def test_turning_the_pan_turns_the_pinch_pose() -> None:
    """A quarter turn of the pan joint, whose axis points down, turns yaw by minus a quarter."""
    joints = np.array([0.0, -0.4, 0.5, 0.9, 0.2, 0.5])
    turned = joints + [np.pi / 2, 0, 0, 0, 0, 0]
    (x, y, z, yaw), (u, v, w, turned_yaw) = ARM.pinch_pose(joints), ARM.pinch_pose(turned)
    axis = np.array(DESCRIPTION["joints"][0]["offset"][:2])
    assert np.subtract((u, v), axis) == pytest.approx((y - axis[1], -(x - axis[0])), abs=1e-9)
    assert w == pytest.approx(z, abs=1e-9)
    assert np.exp(1j * (turned_yaw - yaw + np.pi / 2)) == pytest.approx(1.0, abs=1e-9)


def test_ticks_are_those_of_the_servo() -> None:
    assert ARM.to_ticks(np.zeros(6))[:5].tolist() == [2048] * 5
    quarter = np.array([np.pi / 2] * 5 + [0.0])
    assert ARM.to_ticks(quarter)[:5].tolist() == [3072] * 5
    assert ARM.to_ticks([0, 0, 0, 0, 0, 0])[5] == 2048 - round(0.17453 * 4096 / (2 * np.pi))
    assert ARM.to_ticks([0, 0, 0, 0, 0, 1])[5] == 2048 + round(1.74533 * 4096 / (2 * np.pi))


@given(st.lists(st.integers(0, 4095), min_size=6, max_size=6))
def test_every_tick_round_trips(ticks: list[int]) -> None:
    assert ARM.to_ticks(ARM.from_ticks(ticks)).tolist() == ticks


def test_limits_are_in_joint_units() -> None:
    assert (ARM.lower[5], ARM.upper[5]) == (0.0, 1.0)
    assert ARM.max_velocity[5] == pytest.approx(4.0 / (1.74533 + 0.17453))
    assert ARM.upper[0] == 1.91986


def test_an_unknown_frame_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown frame 'tool', expected one of shoulder_pan.*pinch"):
        ARM.forward(np.zeros(6), "tool")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d["joints"][2].pop("axis"), r"joints\[2\].axis"),
        (lambda d: d["joints"][2].update(axis=[0, 0, 2]), "a unit vector"),
        (lambda d: d["joints"][1].update(quat=[1, 1, 0, 0]), "a unit quaternion"),
        (lambda d: d["joints"][0].update(lower=3.0), r"joints\[0\].lower"),
        (lambda d: d["joints"][0].update(upper=3.2), r"joints\[0\].upper"),
        (lambda d: d["joints"][0].update(lower=math.inf), r"joints\[0\].lower"),
        (lambda d: d["joints"][1].update(lower=1.0), r"ready \(shoulder_lift\)"),
        (lambda d: d["joints"].pop(3), "5 numbers"),
        (lambda d: d["joints"][0].update(max_velocity=0), "a positive number"),
        (lambda d: d["joints"][0].update(max_velocity=True), "a finite number"),
        (lambda d: d["joints"][0].update(offset=[0, 0]), "3 numbers"),
        (lambda d: d["joints"][3].update(servo_id=1), "1 twice"),
        (lambda d: d["joints"][3].update(servo_id=254), "an integer 0…253"),
        (lambda d: d["frames"]["pinch"].update(parent="elbow"), "one of shoulder_pan"),
        (lambda d: d.update(joints=[]), "at least one joint"),
        (lambda d: d.update(joints={}), "a list"),
        (lambda d: d.pop("servo"), "servo"),
    ],
)
def test_a_damaged_description_is_refused_by_field(tmp_path, damage, message) -> None:
    description = json.loads(SO101.read_text())
    damage(description)
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(description))
    with pytest.raises(ArmError, match=message):
        load_description(path)
    with pytest.raises(ArmError):
        Arm(path)


def test_a_description_that_is_no_description_is_refused(tmp_path) -> None:
    with pytest.raises(ArmError, match="cannot be read"):
        Arm(tmp_path / "missing.json")
    path = tmp_path / "arm.json"
    path.write_text("six joints")
    with pytest.raises(ArmError, match="is not JSON"):
        Arm(path)
    path.write_text("[]")
    with pytest.raises(ArmError, match="an object"):
        Arm(path)


def test_an_arm_of_five_joints_is_refused(tmp_path) -> None:
    description = json.loads(SO101.read_text())
    description["joints"].pop()
    description["ready"].pop()
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(description))
    with pytest.raises(ArmError, match="the arm description has 5 joints") as caught:
        Arm(path)
    assert caught.value.expected == "6 joints"
    assert caught.value.got == "shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, wrist_roll"
