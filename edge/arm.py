"""The arm description: loaded from JSON and checked once, so that the core can trust it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from edge.errors import ArmError

SO101 = Path(__file__).parent / "robots" / "so101.json"
"""The description of the arm this project ships."""

NORMALISED = "gripper"
"""The joint whose value is 0 (closed, its lower limit) … 1 (open, its upper limit) instead of radians."""

_FIX = "compare with edge/robots/so101.json"


@dataclass(frozen=True)
class JointDescription:
    """One revolute joint; metres, radians, quaternions w x y z. `offset` and `quat` place its body in the parent's."""

    name: str
    servo_id: int
    offset: tuple[float, ...]
    quat: tuple[float, ...]
    axis: tuple[float, ...]
    lower: float
    upper: float
    max_velocity: float
    max_acceleration: float
    max_jerk: float
    normalised: bool


@dataclass(frozen=True)
class FrameDescription:
    """A frame fixed to the body of joint `parent`."""

    name: str
    parent: str
    offset: tuple[float, ...]
    quat: tuple[float, ...]


@dataclass(frozen=True)
class ArmDescription:
    """A serial arm: each joint's body is the child of the one before it."""

    name: str
    joints: tuple[JointDescription, ...]
    frames: tuple[FrameDescription, ...]
    model_number: int
    ticks_per_turn: int
    ready: tuple[float, ...]
    """Where tasks begin, in joint units."""


def load_description(path: str | PathLike[str] = SO101) -> ArmDescription:
    """Read and check an arm description.

    Raises:
        ArmError: The file is missing, not JSON, or a field is missing or not usable; names the field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ArmError(f"arm description {path} cannot be read", got=str(error), fix="check the path") from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ArmError(f"arm description {path} is not JSON", got=str(error), fix=_FIX) from error
    fields = _Fields(str(path), data)
    joints = tuple(_joint(fields.of(entry, f"joints[{i}]")) for i, entry in enumerate(fields.list("joints")))
    if not joints:
        raise fields.error("joints", "at least one joint", "none")
    _distinct(fields, "joint name", (joint.name for joint in joints))
    _distinct(fields, "servo_id", (joint.servo_id for joint in joints))
    names = tuple(joint.name for joint in joints)
    frames = tuple(_frame(fields.of(f, f"frames.{n}"), n, names) for n, f in fields.mapping("frames").items())
    servo = fields.of(fields.mapping("servo"), "servo")
    ready = fields.vector("ready", len(joints))
    for joint, value in zip(joints, ready, strict=True):
        lower, upper = (0.0, 1.0) if joint.normalised else (joint.lower, joint.upper)
        if not lower <= value <= upper:
            raise fields.error(f"ready ({joint.name})", f"within the joint's limits, {lower} to {upper}", str(value))
    return ArmDescription(
        name=fields.text("name"),
        joints=joints,
        frames=frames,
        model_number=servo.integer("model_number", 0, 65535),
        ticks_per_turn=servo.integer("ticks_per_turn", 2, 65536),
        ready=ready,
    )


def _joint(fields: _Fields) -> JointDescription:
    name = fields.text("name")
    lower, upper = fields.number("lower"), fields.number("upper")
    if lower >= upper:
        raise fields.error("lower", f"below upper ({upper})", str(lower))
    for bound, value in (("lower", lower), ("upper", upper)):
        if abs(value) > math.pi:  # the servo counts one turn, half of it on either side of 0
            raise fields.error(bound, "within half a turn of 0 rad", str(value))
    axis = fields.vector("axis", 3)
    if abs(math.hypot(*axis) - 1.0) > 1e-3:
        raise fields.error("axis", "a unit vector", str(axis))
    return JointDescription(
        name=name,
        servo_id=fields.integer("servo_id", 0, 253),
        offset=fields.vector("offset", 3),
        quat=_quaternion(fields),
        axis=axis,
        lower=lower,
        upper=upper,
        max_velocity=fields.positive("max_velocity"),
        max_acceleration=fields.positive("max_acceleration"),
        max_jerk=fields.positive("max_jerk"),
        normalised=name == NORMALISED,
    )


def _frame(fields: _Fields, name: str, joints: tuple[str, ...]) -> FrameDescription:
    parent = fields.text("parent")
    if parent not in joints:
        raise fields.error("parent", f"one of {', '.join(joints)}", repr(parent))
    return FrameDescription(name=name, parent=parent, offset=fields.vector("offset", 3), quat=_quaternion(fields))


def _quaternion(fields: _Fields) -> tuple[float, ...]:
    quat = fields.vector("quat", 4)
    length = math.hypot(*quat)
    if abs(length - 1.0) > 1e-3:
        raise fields.error("quat", "a unit quaternion w x y z", str(quat))
    return tuple(value / length for value in quat)


def _distinct(fields: _Fields, what: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise fields.error("joints", f"distinct values of {what}", f"{value!r} twice")
        seen.add(value)


class _Fields:
    """Typed access to one JSON object whose errors name the file and the field."""

    def __init__(self, path: str, data: Any, where: str = "") -> None:
        self._path, self._where = path, where
        if not isinstance(data, Mapping):
            raise self.error("", "an object", type(data).__name__)
        self._data = data

    def of(self, data: Any, where: str) -> _Fields:
        return _Fields(self._path, data, where)

    def error(self, name: str, expected: str, got: str) -> ArmError:
        where = ".".join(part for part in (self._where, name) if part)
        return ArmError(f"arm description {self._path}: {where}", expected=expected, got=got, fix=_FIX)

    def _get(self, name: str, expected: str) -> Any:
        if name not in self._data:
            raise self.error(name, expected, "nothing")
        return self._data[name]

    def text(self, name: str) -> str:
        value = self._get(name, "a text")
        if not isinstance(value, str) or not value:
            raise self.error(name, "a text", repr(value))
        return value

    def number(self, name: str) -> float:
        value = self._get(name, "a finite number")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(name, "a finite number", repr(value))
        return float(value)

    def positive(self, name: str) -> float:
        value = self.number(name)
        if value <= 0:
            raise self.error(name, "a positive number", repr(value))
        return value

    def integer(self, name: str, least: int, most: int) -> int:
        value = self._get(name, f"an integer {least}…{most}")
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(name, f"an integer {least}…{most}", repr(value))
        return value

    def vector(self, name: str, length: int) -> tuple[float, ...]:
        value = self.list(name)
        if len(value) != length:
            raise self.error(name, f"{length} numbers", f"{len(value)}")
        row = self.of({str(i): entry for i, entry in enumerate(value)}, f"{self._where}.{name}")
        return tuple(row.number(str(i)) for i in range(length))

    def list(self, name: str) -> list[Any]:
        value = self._get(name, "a list")
        if not isinstance(value, list):
            raise self.error(name, "a list", type(value).__name__)
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._get(name, "an object")
        if not isinstance(value, Mapping):
            raise self.error(name, "an object", type(value).__name__)
        return value
