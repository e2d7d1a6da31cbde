"""The MuJoCo model of the table: an SO-101 from its description file, a pool of cubes and plates, two cameras.

Built once a process. Scenes differ in colours, poses, light and cameras, all of which can be set on a compiled model.
"""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import pairwise
from typing import Any

CUBES, PLATES = 4, 3
"""How many cubes and plates the pool holds; a scene uses some and parks the rest below the floor."""

CUBE_HALF_M = 0.015
PLATE_RADIUS_M = 0.045
PLATE_HALF_HEIGHT_M = 0.003
TIMESTEP_S = 0.004
CAMERAS = ("front", "wrist")
MOUNTS: dict[str, tuple[tuple[float, float, float], tuple[float, ...], float]] = {
    "front": ((0.56, 0.0, 0.50), (0.0, 1.0, 0.0, -0.789, 0.0, 0.615), 42.0),
    "wrist": ((0.018, -0.080, -0.005), (1.0, 0.0, 0.0, 0.0, 0.78, 0.626), 66.0),
}
"""How each camera is mounted, front on the base and wrist on the wrist_roll link: position (metres), image right and
up, and vertical field of view (degrees). As on a real robot, a scene's cameras are a little off."""

PAD_FACE_M = -0.002
"""x of the fixed pad's inner face in the wrist_roll frame."""

_PARALLEL_RAD = 0.327
"""Gripper angle at which the pads are parallel, 30 mm apart."""


def description() -> dict[str, Any]:
    """The arm description, as read from `edge/robots/so101.json`."""
    text = files("edge").joinpath("robots/so101.json").read_text()
    return dict(json.loads(text))


def _vector(values: Any) -> str:
    return " ".join(f"{value:.8g}" for value in values)


def _camera(name: str) -> str:
    position, axes, fovy = MOUNTS[name]
    return f'<camera name="{name}" mode="fixed" pos="{_vector(position)}" xyaxes="{_vector(axes)}" fovy="{fovy}"/>'


def _link(start: Any, end: Any, radius: float) -> str:
    """A visible segment of the arm; it collides with objects, not with itself."""
    return f'<geom class="link" type="capsule" size="{radius}" fromto="{_vector(start)} {_vector(end)}"/>'


def _links(joints: list[dict[str, Any]]) -> dict[str, str]:
    """Primitive shapes of each body, keyed by joint name. Every link runs to the next joint."""
    shapes = {a["name"]: _link((0, 0, 0), b["offset"], 0.016) for a, b in pairwise(joints)}
    low = -0.106
    shapes["wrist_roll"] = f"""
      <geom class="link" type="box" pos="0.008 0.004 -0.018" size="0.022 0.02 0.02"/>
      <geom class="finger" type="box" pos="{PAD_FACE_M - 0.006} 0 -0.065" size="0.004 0.009 0.03"/>
      <geom name="fixed_pad" class="pad" type="box" pos="{PAD_FACE_M - 0.004} 0 {low + 0.014}"
        size="0.004 0.009 0.014"/>
      {_camera("wrist")}"""
    # The jaw is drawn where it stands with the pads parallel, then turned back into its own frame.
    shapes["gripper"] = f"""
      <body pos="0 0 0" euler="-1.5707963 0 0"><body euler="0 {_PARALLEL_RAD} 0">
        <geom class="finger" type="box" pos="0.013 -0.0188 -0.028" size="0.004 0.009 0.03"/>
        <geom name="moving_pad" class="moving_pad" type="box" pos="{0.030 + PAD_FACE_M + 0.004 - 0.0202} -0.0188
          {low + 0.014 + 0.0234}" size="0.004 0.009 0.014"/>
      </body></body>"""
    return shapes


def _arm(spec: dict[str, Any]) -> str:
    joints, servo = spec["joints"], spec["servo"]
    shapes = _links(joints)
    text = ""
    for joint in joints:
        text += f"""<body name="{joint["name"]}" pos="{_vector(joint["offset"])}" quat="{_vector(joint["quat"])}">
          <inertial pos="0 0 0" mass="{joint["mass"]}" diaginertia="5e-5 5e-5 5e-5"/>
          <joint name="{joint["name"]}" axis="{_vector(joint["axis"])}" range="{joint["lower"]} {joint["upper"]}"
            damping="{servo["damping"]}" frictionloss="{servo["friction"]}" armature="{servo["armature"]}"/>
          {shapes[joint["name"]]}"""
        for name, frame in spec["frames"].items():
            if frame["parent"] == joint["name"]:
                text += (
                    f'<site name="{name}" pos="{_vector(frame["offset"])}" quat="{_vector(frame["quat"])}" group="4"/>'
                )
    return text + "</body>" * len(joints)


def _pool() -> str:
    """Cubes and plates, each a free body."""
    half, disc = CUBE_HALF_M, f"{PLATE_RADIUS_M} {PLATE_HALF_HEIGHT_M}"
    text = ""
    for i in range(CUBES):
        text += f"""<body name="cube{i}" gravcomp="1"><freejoint/>
          <geom name="cube{i}" class="object" type="box" size="{half} {half} {half}" mass="0.03"/></body>"""
    for i in range(PLATES):
        text += f"""<body name="plate{i}" gravcomp="1"><freejoint/>
          <geom name="plate{i}" class="object" type="cylinder" size="{disc}" mass="0.2"/></body>"""
    return text


def mjcf() -> str:
    """The whole model as MJCF text. Metres and radians."""
    spec = description()
    actuators = "".join(
        f'<position joint="{j["name"]}" kp="{spec["servo"]["position_gain"]}" '
        f'forcerange="-{spec["servo"]["torque_limit"]} {spec["servo"]["torque_limit"]}"/>'
        for j in spec["joints"]
    )
    return f"""<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <quality shadowsize="0" offsamples="0" numslices="16" numstacks="8" numquads="4"/>
    <map znear="0.01" zfar="10"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.25 0.25 0.25" specular="0 0 0"/></visual>
  <default>
    <default class="link"><geom rgba="0.93 0.9 0.83 1" contype="1" conaffinity="2" mass="0"/></default>
    <default class="finger"><geom rgba="0.25 0.25 0.27 1" contype="1" conaffinity="2" mass="0"/></default>
    <default class="pad"><geom rgba="0.1 0.1 0.1 1" contype="1" conaffinity="6" friction="1.2 0.01 0.001" mass="0"
      condim="4"/></default>
    <default class="moving_pad"><geom rgba="0.1 0.1 0.1 1" contype="4" conaffinity="2" friction="1.2 0.01 0.001"
      mass="0" condim="4"/></default>
    <default class="object"><geom contype="2" conaffinity="3" friction="0.9 0.01 0.001" condim="4"/></default>
  </default>
  <asset>
    <texture name="table" type="2d" builtin="checker" rgb1="0.80 0.79 0.77" rgb2="0.74 0.73 0.71"
      width="200" height="200"/>
    <material name="table" texture="table" texrepeat="20 20" texuniform="true"/>
  </asset>
  <worldbody>
    <light name="sun" pos="0.3 0.2 1.2" dir="0 0 -1" directional="true" diffuse="0.5 0.5 0.5" specular="0.1 0.1 0.1"/>
    <geom name="table" type="plane" size="1.5 1.5 0.1" material="table" contype="2" conaffinity="3"
      friction="0.9 0.01 0.001"/>
    <geom class="link" type="box" pos="0.02 0 0.03" size="0.04 0.035 0.03" rgba="0.25 0.25 0.27 1"/>
    {_camera("front")}
    {_arm(spec)}
    {_pool()}
  </worldbody>
  <actuator>{actuators}</actuator>
</mujoco>"""
