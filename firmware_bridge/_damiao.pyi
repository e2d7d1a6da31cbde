from typing import NamedTuple

REGISTER_ID: int
MODE_MIT: int
"""The control mode that takes commands."""
OFF: int
ON: int
LOST_COMMANDS: int
CLEAR: int
ENABLE: int
DISABLE: int
ZERO: int
TIMEOUT: int
"""Register, unsigned: in 50 µs, the silence after which a motor that is on goes off; 0 for never."""
CONTROL_MODE: int
"""Register, unsigned."""
MAX_POSITION: int
MAX_VELOCITY: int
MAX_TORQUE: int

class Limits(NamedTuple):
    """Largest magnitudes that the wire can say: rad, rad/s, N m. The motor holds them itself: read and compare."""

    position: float
    velocity: float
    torque: float

class Command(NamedTuple):
    """rad, rad/s, N m/rad (0 to 500), N m s/rad (0 to 5), N m."""

    position: float
    velocity: float
    kp: float
    kd: float
    torque: float

class Feedback(NamedTuple):
    """`id` is the low four bits of the motor's; a position is worth nothing while `status_is_fault`."""

    id: int
    status: int
    position: float
    velocity: float
    torque: float
    mosfet_celsius: int
    coil_celsius: int

def limits_agree(ours: Limits, motors: Limits) -> bool:
    """Both from 0.001 to 10000, and equal within a thousandth."""

def pack_command(limits: Limits, command: Command) -> bytes:
    """ValueError for a number that is not finite or out of range: nothing is clamped."""

def unpack_command(limits: Limits, data: bytes) -> Command: ...
def pack_feedback(limits: Limits, feedback: Feedback) -> bytes: ...
def unpack_feedback(limits: Limits, data: bytes) -> Feedback: ...
def pack_order(order: int) -> bytes:
    """`CLEAR`, `ENABLE`, `DISABLE` or `ZERO`."""

def status_is_fault(status: int) -> bool: ...
def refresh(id: int) -> bytes:
    """To be sent to `REGISTER_ID`; answered with feedback, and nothing changes."""

def register_read(id: int, address: int) -> bytes:
    """To be sent to `REGISTER_ID`."""

def register_write(id: int, address: int, value: float) -> bytes: ...
def register_value(data: bytes, id: int, address: int) -> float | None:
    """The answer to what was just asked of a motor that is off; None when it is about something else."""
