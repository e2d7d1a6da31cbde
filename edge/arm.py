"""The arm description: loaded from JSON and checked once, so that the core can trust it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from edge.arm_fields import FIX, Fields
from edge.errors import ArmError

SO101 = Path(__file__).parent / "robots" / "so101.json"
"""The description of the arm this project ships."""

SO101_BRIDGE = Path(__file__).parent / "robots" / "so101-bridge.json"
"""The same arm behind a microcontroller with this project's firmware."""

DAMIAO_BENCH = Path(__file__).parent / "robots" / "damiao-bench.json"
"""An example for CAN: a made-up bench arm of six Damiao motors. Nobody has built it."""

NORMALISED = "gripper"
"""The joint whose value is 0 (closed, its lower limit) … 1 (open, its upper limit) instead of radians."""

TICKS_US = (2000, 5000)
"""What a microcontroller's tick may be; firmware_bridge/arm_table.py says the same."""
_WHY_TICKS = "less holds no cycle of the servo bus, more no four states in the 20 ms that an order is fresh"


@dataclass(frozen=True)
class JointDescription:
    """One revolute joint; metres, radians, quaternions w x y z. `offset` and `quat` place its body in the parent's.

    `servo_id` is the servo's or the motor's on its bus.
    """

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
class FeetechDrive:
    """Servos on a serial bus, all of one model."""

    model_number: int
    ticks_per_turn: int


@dataclass(frozen=True)
class BridgeDrive:
    """Servos behind a microcontroller, which does a tick in every `tick_us`."""

    servos: FeetechDrive
    tick_us: int


@dataclass(frozen=True)
class MotorDescription:
    """One Damiao motor.

    Attributes:
        master_id: CAN identifier of its answers.
        max_position: rad; this, `max_velocity` (rad/s) and `max_torque` (N m) are its registers 21 to 23. They are what
            gives a command its meaning, so the motor is asked for them, and refused if it holds others.
        kp: N m/rad.
        kd: N m s/rad.
        zero: Where the motor stands when the joint is at 0; rad.
        reversed: The motor turns against the joint.
    """

    master_id: int
    model: str
    max_position: float
    max_velocity: float
    max_torque: float
    kp: float
    kd: float
    zero: float
    reversed: bool


@dataclass(frozen=True)
class DamiaoDrive:
    """CAN motors in MIT mode, one a joint.

    `timeout_ms` is the silence after which a motor switches itself off, and limp; 0: it holds its last goal.
    """

    motors: tuple[MotorDescription, ...]
    timeout_ms: float


@dataclass(frozen=True)
class ArmDescription:
    """A serial arm: each joint's body is the child of the one before it."""

    name: str
    joints: tuple[JointDescription, ...]
    frames: tuple[FrameDescription, ...]
    drive: FeetechDrive | BridgeDrive | DamiaoDrive
    """What moves it, and so how it is spoken to."""
    ready: tuple[float, ...]
    """Where tasks begin, in joint units."""


def load_description(path: str | PathLike[str] = SO101) -> ArmDescription:
    """Read and check an arm description.

    Raises:
        ArmError: The file is missing, not JSON, or a field is missing or not usable; names the field.
    """
    fields = Fields(str(path), _with_base(Path(path)))
    on_can = fields.has("damiao")
    rows = [fields.of(entry, f"joints[{i}]") for i, entry in enumerate(fields.list("joints"))]
    joints = tuple(_joint(row, on_can) for row in rows)
    if not joints:
        raise fields.error("joints", "at least one joint", "none")
    _distinct(fields, "joint name", (joint.name for joint in joints))
    _distinct(fields, "servo_id", (joint.servo_id for joint in joints))
    names = tuple(joint.name for joint in joints)
    frames = tuple(_frame(fields.of(f, f"frames.{n}"), n, names) for n, f in fields.mapping("frames").items())
    drive = _damiao(fields, rows, joints) if on_can else _servos(fields)
    ready = fields.vector("ready", len(joints))
    for joint, value in zip(joints, ready, strict=True):
        lower, upper = (0.0, 1.0) if joint.normalised else (joint.lower, joint.upper)
        if not lower <= value <= upper:
            raise fields.error(f"ready ({joint.name})", f"within the joint's limits, {lower} to {upper}", str(value))
    return ArmDescription(
        name=fields.text("name"),
        joints=joints,
        frames=frames,
        drive=drive,
        ready=ready,
    )


def _with_base(path: Path) -> Any:
    """What a file says, and for what it does not say the file that it extends."""
    data = _read(path)
    if not isinstance(data, Mapping) or "extends" not in data:
        return data
    base = _read(path.parent / Fields(str(path), data).text("extends"))
    if not isinstance(base, Mapping) or "extends" in base:
        raise ArmError(
            f"arm description {path}: extends", expected="a description that extends none", got=str(data["extends"]),
            fix=FIX,
        )  # fmt: skip
    return {**base, **{name: value for name, value in data.items() if name != "extends"}}


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArmError(f"arm description {path} cannot be read", got=str(error), fix="check the path") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise ArmError(f"arm description {path} is not JSON", got=str(error), fix=FIX) from error


def _joint(fields: Fields, on_can: bool) -> JointDescription:
    name = fields.text("name")
    lower, upper = fields.number("lower"), fields.number("upper")
    if lower >= upper:
        raise fields.error("lower", f"below upper ({upper})", str(lower))
    for bound, value in (("lower", lower), ("upper", upper)):
        if abs(value) > math.pi and not on_can:  # the servo counts one turn, half of it on either side of 0
            raise fields.error(bound, "within half a turn of 0 rad", str(value))
    axis = fields.vector("axis", 3)
    if abs(math.hypot(*axis) - 1.0) > 1e-3:
        raise fields.error("axis", "a unit vector", str(axis))
    return JointDescription(
        name=name,
        servo_id=_motor(fields).integer("id", 1, 15) if on_can else fields.integer("servo_id", 0, 253),
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


def _feetech(fields: Fields) -> FeetechDrive:
    servo = fields.of(fields.mapping("servo"), "servo")
    return FeetechDrive(
        model_number=servo.integer("model_number", 0, 65535), ticks_per_turn=servo.integer("ticks_per_turn", 2, 65536)
    )


def _servos(fields: Fields) -> FeetechDrive | BridgeDrive:
    if not fields.has("bridge"):
        return _feetech(fields)
    bridge = fields.of(fields.mapping("bridge"), "bridge")
    return BridgeDrive(_feetech(fields), bridge.integer("tick_us", *TICKS_US, why=_WHY_TICKS))


def _motor(joint: Fields) -> Fields:
    return joint.of(joint.mapping("motor"), joint.named("motor"))


def _damiao(fields: Fields, rows: Sequence[Fields], joints: Sequence[JointDescription]) -> DamiaoDrive:
    drive = fields.of(fields.mapping("damiao"), "damiao")
    models = drive.mapping("models")
    # A motor's commands go to its id; the other modes' go to these multiples above it. Answers must reach no motor.
    taken = {joint.servo_id + mode for joint in joints for mode in (0, 0x100, 0x200, 0x300)}
    motors = []
    for row, joint in zip(rows, joints, strict=True):
        motor = _motor(row)
        name = motor.text("model")
        if name not in models:
            raise motor.error("model", f"one of damiao.models: {', '.join(models)}", repr(name))
        model = drive.of(models[name], f"damiao.models.{name}")
        master_id = motor.integer("master_id", 0, 0x7FE)
        if master_id in taken:
            raise motor.error("master_id", "an identifier that no motor listens to", str(master_id))
        made = MotorDescription(
            master_id=master_id,
            model=name,
            max_position=model.positive("max_position"),
            max_velocity=model.positive("max_velocity"),
            max_torque=model.positive("max_torque"),
            kp=motor.number_within("kp", 0, 500),
            kd=motor.number_within("kd", 0, 5),
            zero=motor.number("zero"),
            reversed=motor.boolean("reversed"),
        )
        for bound in (joint.lower, joint.upper):
            angle = made.zero + (-bound if made.reversed else bound)
            if abs(angle) > made.max_position:
                expected = f"joint limits within ±{made.max_position} rad of the motor"
                raise motor.error("zero", expected, f"{bound} rad of the joint at {angle} rad of the motor")
        if made.kp == 0 or made.kd == 0:
            raise motor.error("kp, kd", "both above 0: a motor without them is limp or swings", f"{made.kp}, {made.kd}")
        motors.append(made)
    timeout_ms = drive.number_within("timeout_ms", 0, 10_000)
    if 0 < timeout_ms < 50:
        expected = "0, or at least 50: the loop's own 20 ms and some bus cycles"
        raise drive.error("timeout_ms", expected, str(timeout_ms))
    return DamiaoDrive(tuple(motors), timeout_ms)


def _frame(fields: Fields, name: str, joints: tuple[str, ...]) -> FrameDescription:
    parent = fields.text("parent")
    if parent not in joints:
        raise fields.error("parent", f"one of {', '.join(joints)}", repr(parent))
    return FrameDescription(name=name, parent=parent, offset=fields.vector("offset", 3), quat=_quaternion(fields))


def _quaternion(fields: Fields) -> tuple[float, ...]:
    quat = fields.vector("quat", 4)
    length = math.hypot(*quat)
    if abs(length - 1.0) > 1e-3:
        raise fields.error("quat", "a unit quaternion w x y z", str(quat))
    return tuple(value / length for value in quat)


def _distinct(fields: Fields, what: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise fields.error("joints", f"distinct values of {what}", f"{value!r} twice")
        seen.add(value)
