# cython: language_level=3
"""Thin wrap of the C codec for Python tools, emulators and tests. No logic here."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from typing import NamedTuple


cdef extern from "damiao.h" nogil:
    enum:
        DAMIAO_FRAME
        DAMIAO_REGISTER_ID
        DAMIAO_MODE_MIT
        DAMIAO_TIMEOUT
        DAMIAO_CONTROL_MODE
        DAMIAO_MAX_POSITION
        DAMIAO_MAX_VELOCITY
        DAMIAO_MAX_TORQUE

    enum damiao_status:
        DAMIAO_OFF
        DAMIAO_ON
        DAMIAO_LOST_COMMANDS

    enum damiao_order:
        DAMIAO_CLEAR
        DAMIAO_ENABLE
        DAMIAO_DISABLE
        DAMIAO_ZERO

    ctypedef struct damiao_limits:
        float position
        float velocity
        float torque

    ctypedef struct damiao_command:
        float position
        float velocity
        float kp
        float kd
        float torque

    ctypedef struct damiao_feedback:
        uint8_t id
        uint8_t status
        float position
        float velocity
        float torque
        uint8_t mosfet_celsius
        uint8_t coil_celsius

    bint damiao_limits_agree(const damiao_limits *ours, const damiao_limits *motors)
    bint damiao_command_pack(const damiao_limits *limits, const damiao_command *command, uint8_t *out)
    bint damiao_command_unpack(const damiao_limits *limits, const uint8_t *data, size_t length, damiao_command *command)
    void damiao_order_pack(damiao_order order, uint8_t *out)
    bint damiao_feedback_pack(const damiao_limits *limits, const damiao_feedback *feedback, uint8_t *out)
    bint damiao_feedback_unpack(const damiao_limits *limits, const uint8_t *data, size_t length,
                                damiao_feedback *feedback)
    bint damiao_status_is_fault(uint8_t status)
    void damiao_refresh(uint16_t id, uint8_t *out)
    void damiao_register_read(uint16_t id, uint8_t address, uint8_t *out)
    void damiao_register_write(uint16_t id, uint8_t address, uint32_t bits, uint8_t *out)
    bint damiao_register_unpack(const uint8_t *data, size_t length, uint16_t id, uint8_t address, uint32_t *bits)
    uint32_t damiao_bits_of(float value)
    float damiao_float_of(uint32_t bits)


REGISTER_ID = DAMIAO_REGISTER_ID
MODE_MIT = DAMIAO_MODE_MIT
OFF = DAMIAO_OFF
ON = DAMIAO_ON
LOST_COMMANDS = DAMIAO_LOST_COMMANDS
CLEAR = DAMIAO_CLEAR
ENABLE = DAMIAO_ENABLE
DISABLE = DAMIAO_DISABLE
ZERO = DAMIAO_ZERO
TIMEOUT = DAMIAO_TIMEOUT
CONTROL_MODE = DAMIAO_CONTROL_MODE
MAX_POSITION = DAMIAO_MAX_POSITION
MAX_VELOCITY = DAMIAO_MAX_VELOCITY
MAX_TORQUE = DAMIAO_MAX_TORQUE


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


cdef damiao_limits _limits(limits):
    cdef damiao_limits out
    out.position, out.velocity, out.torque = limits
    return out


cdef _refuse(what):
    raise ValueError(f"{what} cannot be said as it is: a number is not finite or beyond the limits")


def limits_agree(ours, motors):
    cdef damiao_limits a = _limits(ours)
    cdef damiao_limits b = _limits(motors)
    return damiao_limits_agree(&a, &b)


def pack_command(limits, command):
    cdef uint8_t[DAMIAO_FRAME] out
    cdef damiao_limits within = _limits(limits)
    cdef damiao_command said
    said.position, said.velocity, said.kp, said.kd, said.torque = command
    if not damiao_command_pack(&within, &said, out):
        _refuse(f"{command} with {limits}")
    return <bytes>out[:DAMIAO_FRAME]


def unpack_command(limits, bytes data):
    cdef damiao_limits within = _limits(limits)
    cdef damiao_command said
    if not damiao_command_unpack(&within, data, len(data), &said):
        raise ValueError(f"a command has {DAMIAO_FRAME} bytes, not {len(data)}")
    return Command(said.position, said.velocity, said.kp, said.kd, said.torque)


def pack_feedback(limits, feedback):
    cdef uint8_t[DAMIAO_FRAME] out
    cdef damiao_limits within = _limits(limits)
    cdef damiao_feedback said
    (said.id, said.status, said.position, said.velocity, said.torque, said.mosfet_celsius,
     said.coil_celsius) = feedback
    if not damiao_feedback_pack(&within, &said, out):
        _refuse(f"{feedback} with {limits}")
    return <bytes>out[:DAMIAO_FRAME]


def unpack_feedback(limits, bytes data):
    cdef damiao_limits within = _limits(limits)
    cdef damiao_feedback said
    if not damiao_feedback_unpack(&within, data, len(data), &said):
        raise ValueError(f"a feedback has {DAMIAO_FRAME} bytes, not {len(data)}")
    return Feedback(said.id, said.status, said.position, said.velocity, said.torque, said.mosfet_celsius,
                    said.coil_celsius)


def pack_order(int order):
    cdef uint8_t[DAMIAO_FRAME] out
    if order not in (CLEAR, ENABLE, DISABLE, ZERO):
        raise ValueError(f"order {order:#x} is none of CLEAR, ENABLE, DISABLE, ZERO")
    damiao_order_pack(<damiao_order>order, out)
    return <bytes>out[:DAMIAO_FRAME]


def status_is_fault(uint8_t status):
    return damiao_status_is_fault(status)


def refresh(uint16_t id):
    cdef uint8_t[DAMIAO_FRAME] out
    damiao_refresh(id, out)
    return <bytes>out[:DAMIAO_FRAME]


def register_read(uint16_t id, uint8_t address):
    cdef uint8_t[DAMIAO_FRAME] out
    damiao_register_read(id, address, out)
    return <bytes>out[:DAMIAO_FRAME]


def register_write(uint16_t id, uint8_t address, float value):
    cdef uint8_t[DAMIAO_FRAME] out
    damiao_register_write(id, address, damiao_bits_of(value), out)
    return <bytes>out[:DAMIAO_FRAME]


def register_value(bytes data, uint16_t id, uint8_t address):
    cdef uint32_t bits
    if not damiao_register_unpack(data, len(data), id, address, &bits):
        return None
    return damiao_float_of(bits)
