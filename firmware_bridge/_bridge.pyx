# cython: language_level=3
"""Thin wrap of the C codec for Python tools, emulators and tests. No logic here."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from enum import IntEnum
from typing import NamedTuple


PROTOCOL = BRIDGE_PROTOCOL
MAX_JOINTS = BRIDGE_MAX_JOINTS
MAX_LENGTH = BRIDGE_MAX_LENGTH
MAX_EXPIRY_MS = BRIDGE_MAX_EXPIRY_MS
CAN_STOP = BRIDGE_CAN_STOP
CAN_TO_ARM = BRIDGE_CAN_TO_ARM
CAN_FROM_ARM = BRIDGE_CAN_FROM_ARM


class Hello(NamedTuple):
    joints: int
    tick_us: int
    session: int
    config: int
    protocol: int = PROTOCOL
    refusal: int = 0


class HelloReply(NamedTuple):
    joints: int
    tick_us: int
    session: int
    config: int
    protocol: int = PROTOCOL
    refusal: int = 0


class Command(NamedTuple):
    """`targets`: position and velocity of each joint, in 2^-32 of its unit, and that a tick."""

    expiry_ms: int
    session: int
    sequence: int
    basis_us: int
    targets: tuple


class Clear(NamedTuple):
    expiry_ms: int
    session: int
    sequence: int
    basis_us: int
    latch: int


class Release(NamedTuple):
    expiry_ms: int
    session: int
    sequence: int
    basis_us: int
    latch: int


class Stop(NamedTuple):
    pass


class State(NamedTuple):
    arm: int
    refusal: int
    session: int
    sequence: int
    time_us: int
    faults: int
    latch: int
    limited: int
    stale: int
    age_ms: int
    positions: tuple


Message = Hello | HelloReply | Command | Clear | Release | Stop | State


class Action(IntEnum):
    """What a message asks of the microcontroller: bridge_gate.h."""

    NOTHING = BRIDGE_NOTHING
    ANSWER = BRIDGE_ANSWER
    ARM = BRIDGE_ARM
    FOLLOW = BRIDGE_FOLLOW
    BRAKE = BRIDGE_BRAKE
    DROP = BRIDGE_DROP


_KINDS = {Hello: BRIDGE_HELLO, HelloReply: BRIDGE_HELLO_REPLY, Command: BRIDGE_COMMAND, Clear: BRIDGE_CLEAR,
          Release: BRIDGE_RELEASE, Stop: BRIDGE_STOP, State: BRIDGE_STATE}


cdef _to_c(message, bridge_message *out):
    cdef bridge_hello *hello = &out.as_.hello
    cdef bridge_command *command = &out.as_.command
    cdef bridge_clear *clear = &out.as_.clear
    cdef bridge_state *state = &out.as_.state
    cdef bridge_order *order = NULL
    out.kind = _KINDS[type(message)]
    if out.kind == BRIDGE_COMMAND:
        order = &command.order
        command.joints = len(message.targets)
        for i, target in enumerate(message.targets[:BRIDGE_MAX_JOINTS]):
            command.targets[i].position, command.targets[i].velocity = target
    elif out.kind == BRIDGE_CLEAR or out.kind == BRIDGE_RELEASE:
        order = &clear.order
        clear.latch = message.latch
    elif out.kind == BRIDGE_STATE:
        state.joints = len(message.positions)
        (state.arm, state.refusal, state.session, state.sequence, state.time_us, state.faults, state.latch,
         state.limited, state.stale, state.age_ms) = message[:-1]
        for i, position in enumerate(message.positions[:BRIDGE_MAX_JOINTS]):
            state.positions[i] = position
    elif out.kind != BRIDGE_STOP:
        hello.joints, hello.tick_us, hello.session, hello.config, hello.protocol, hello.refusal = message
    if order != NULL:
        order.expiry_ms, order.session, order.sequence, order.basis_us = message[:4]


cdef _state(const bridge_state *state):
    return State(state.arm, state.refusal, state.session, state.sequence, state.time_us, state.faults, state.latch,
                 state.limited, state.stale, state.age_ms, tuple(state.positions[i] for i in range(state.joints)))


cdef _targets(const bridge_target *targets, size_t joints):
    return tuple((targets[i].position, targets[i].velocity) for i in range(joints))


cdef _from_c(const bridge_message *message):
    cdef const bridge_hello *hello = &message.as_.hello
    cdef const bridge_command *command = &message.as_.command
    cdef const bridge_order *order = &message.as_.clear.order
    if message.kind == BRIDGE_COMMAND:
        order = &command.order
        return Command(order.expiry_ms, order.session, order.sequence, order.basis_us,
                       _targets(command.targets, command.joints))
    if message.kind == BRIDGE_CLEAR or message.kind == BRIDGE_RELEASE:
        kind = Clear if message.kind == BRIDGE_CLEAR else Release
        return kind(order.expiry_ms, order.session, order.sequence, order.basis_us, message.as_.clear.latch)
    if message.kind == BRIDGE_STATE:
        return _state(&message.as_.state)
    if message.kind == BRIDGE_STOP:
        return Stop()
    make = Hello if message.kind == BRIDGE_HELLO else HelloReply
    return make(hello.joints, hello.tick_us, hello.session, hello.config, hello.protocol, hello.refusal)


def encode(message):
    cdef bridge_message converted
    cdef uint8_t[BRIDGE_MAX_LENGTH] out
    _to_c(message, &converted)
    cdef size_t length = bridge_encode(&converted, out)
    if length == 0:
        raise ValueError(f"{message} says something that the bridge protocol does not allow")
    return <bytes>out[:length]


def decode(bytes data):
    cdef bridge_message message
    return _from_c(&message) if bridge_decode(data, len(data), &message) else None


def serial_frame(bytes message):
    cdef uint8_t[BRIDGE_SERIAL_MAX_FRAME] out
    cdef size_t length = bridge_serial_frame(message, len(message), out)
    if length == 0:
        raise ValueError(f"no message has {len(message)} bytes")
    return <bytes>out[:length]


def can_fragments(bytes message, size_t frame_size, unsigned transfer):
    cdef uint8_t[BRIDGE_CAN_FD] out
    cdef size_t length
    fragments = []
    while length := bridge_can_fragment(message, len(message), frame_size, <uint8_t>transfer, len(fragments), out):
        fragments.append(<bytes>out[:length])
    if not fragments:
        raise ValueError(f"no message has {len(message)} bytes, or no CAN frame {frame_size}")
    return fragments


def crc32(bytes data):
    return edgearm_crc32(data, len(data))


def cobs_encode(bytes data):
    out = bytearray(len(data) + len(data) // 254 + 1)
    cdef uint8_t[::1] view = out
    return bytes(out[: cobs_encode_c(data, len(data), &view[0], len(out))])


def cobs_decode(bytes data):
    cdef size_t length = 0
    out = bytearray(data + b"\0")  # never empty, so that it has an address
    cdef uint8_t[::1] view = out
    return bytes(out[:length]) if cobs_decode_c(&view[0], len(data), &length) else None


cdef class Parser:
    cdef bridge_parser _parser

    def __cinit__(self):
        bridge_parser_init(&self._parser)

    def feed(self, const uint8_t[::1] data not None):
        cdef bridge_message message
        cdef Py_ssize_t i
        found = []
        for i in range(data.shape[0]):
            if bridge_parser_push(&self._parser, data[i], &message):
                found.append(_from_c(&message))
        return found

    @property
    def frames(self):
        return self._parser.frames

    @property
    def corrupt(self):
        return self._parser.corrupt

    @property
    def skipped(self):
        return self._parser.skipped


cdef class Assembly:
    cdef bridge_assembly _assembly

    def __cinit__(self, size_t frame_size):
        if frame_size != BRIDGE_CAN_CLASSIC and frame_size != BRIDGE_CAN_FD:
            raise ValueError(f"CAN frames have {BRIDGE_CAN_CLASSIC} or {BRIDGE_CAN_FD} bytes, not {frame_size}")
        bridge_assembly_init(&self._assembly, frame_size)

    def push(self, bytes data):
        cdef bridge_message message
        return _from_c(&message) if bridge_assembly_push(&self._assembly, data, len(data), &message) else None

    @property
    def frames(self):
        return self._assembly.frames

    @property
    def corrupt(self):
        return self._assembly.corrupt

    @property
    def skipped(self):
        return self._assembly.skipped


cdef class Gate:
    cdef bridge_gate _gate

    def __cinit__(self, uint8_t joints, uint16_t tick_us, uint32_t config, uint16_t max_expiry_ms=MAX_EXPIRY_MS):
        if not 0 < joints <= MAX_JOINTS:
            raise ValueError(f"an arm has 1 to {MAX_JOINTS} joints, not {joints}")
        bridge_gate_init(&self._gate, joints, tick_us, config)
        bridge_gate_cap_expiry(&self._gate, max_expiry_ms)

    def receive(self, uint32_t now_us, message):
        cdef bridge_message converted
        cdef bridge_message reply
        _to_c(message, &converted)
        action = Action(bridge_gate_receive(&self._gate, now_us, &converted, &reply))
        return action, _from_c(&reply) if action == BRIDGE_ANSWER else None

    def tick(self, uint32_t now_us, uint16_t present=0):
        bridge_gate_tick(&self._gate, now_us, present)

    def at_rest(self):
        bridge_gate_at_rest(&self._gate)

    def report(self, uint32_t now_us):
        cdef bridge_state state
        bridge_gate_report(&self._gate, now_us, &state)
        return _state(&state)

    @property
    def targets(self):
        return _targets(self._gate.targets, self._gate.joints)
