# cython: language_level=3
"""Thin wrap of the C codec for Python tools, emulators and tests. No logic here."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from typing import NamedTuple


cdef extern from "dynamixel.h" nogil:
    enum:
        DYNAMIXEL_MAX_PARAMS
        DYNAMIXEL_MAX_FRAME

    ctypedef struct dynamixel_frame:
        uint8_t id
        uint8_t instruction
        uint8_t error
        const uint8_t *params
        size_t count

    ctypedef struct dynamixel_parser:
        uint32_t frames
        uint32_t corrupt
        uint32_t skipped

    size_t dynamixel_frame_build(uint8_t id, uint8_t instruction, const uint8_t *params, size_t count, uint8_t *out,
                                 size_t capacity)
    size_t dynamixel_ping(uint8_t id, uint8_t *out, size_t capacity)
    size_t dynamixel_read(uint8_t id, uint16_t address, uint16_t length, uint8_t *out, size_t capacity)
    size_t dynamixel_write(uint8_t id, uint16_t address, const uint8_t *data, size_t length, uint8_t *out,
                           size_t capacity)
    size_t dynamixel_sync_write(uint16_t address, uint16_t length, const uint8_t *ids, const uint8_t *data,
                                size_t count, uint8_t *out, size_t capacity)
    size_t dynamixel_status(uint8_t id, uint8_t error, const uint8_t *params, size_t count, uint8_t *out,
                            size_t capacity)
    void dynamixel_parser_init(dynamixel_parser *parser, size_t max_params)
    void dynamixel_parser_reset(dynamixel_parser *parser)
    size_t dynamixel_parser_push(dynamixel_parser *parser, const uint8_t *bytes, size_t count)
    bint dynamixel_parser_next(dynamixel_parser *parser, dynamixel_frame *frame)


MAX_PARAMS = DYNAMIXEL_MAX_PARAMS


class Frame(NamedTuple):
    """One intact frame without its stuffing; `error` is 0 in what is not a status."""

    id: int
    instruction: int
    error: int
    params: bytes


cdef bytes _frame(const uint8_t *out, size_t length):
    if length == 0:
        raise ValueError(f"not a Dynamixel frame: expected an id of at most 252, or 254, and at most {MAX_PARAMS} "
                         "parameter bytes with their stuffing")
    return out[:length]


def encode_frame(uint8_t id, uint8_t instruction, bytes params=b""):
    cdef uint8_t[DYNAMIXEL_MAX_FRAME] out
    return _frame(out, dynamixel_frame_build(id, instruction, params, len(params), out, sizeof(out)))


def encode_ping(uint8_t id):
    cdef uint8_t[DYNAMIXEL_MAX_FRAME] out
    return _frame(out, dynamixel_ping(id, out, sizeof(out)))


def encode_read(uint8_t id, uint16_t address, uint16_t length):
    cdef uint8_t[DYNAMIXEL_MAX_FRAME] out
    return _frame(out, dynamixel_read(id, address, length, out, sizeof(out)))


def encode_write(uint8_t id, uint16_t address, bytes data):
    cdef uint8_t[DYNAMIXEL_MAX_FRAME] out
    return _frame(out, dynamixel_write(id, address, data, len(data), out, sizeof(out)))


def encode_sync_write(uint16_t address, uint16_t length, values):
    cdef uint8_t[DYNAMIXEL_MAX_FRAME] out
    cdef bytes listed = bytes(values)
    cdef bytes data = b"".join(values.values())
    if any(len(value) != length for value in values.values()):
        raise ValueError(f"every value must have {length} bytes")
    return _frame(out, dynamixel_sync_write(address, length, listed, data, len(listed), out, sizeof(out)))


def encode_status(uint8_t id, uint8_t error, bytes params=b""):
    cdef uint8_t[DYNAMIXEL_MAX_FRAME] out
    return _frame(out, dynamixel_status(id, error, params, len(params), out, sizeof(out)))


cdef class Parser:
    cdef dynamixel_parser _parser

    def __cinit__(self, size_t max_params=DYNAMIXEL_MAX_PARAMS):
        dynamixel_parser_init(&self._parser, max_params)

    def feed(self, const uint8_t[::1] data not None):
        cdef dynamixel_frame frame
        cdef size_t done = 0
        cdef size_t total = data.shape[0]
        found = []
        while done < total:
            done += dynamixel_parser_push(&self._parser, &data[done], total - done)
            while dynamixel_parser_next(&self._parser, &frame):
                found.append(Frame(frame.id, frame.instruction, frame.error, frame.params[: frame.count]))
        return found

    def reset(self):
        dynamixel_parser_reset(&self._parser)

    @property
    def frames(self):
        return self._parser.frames

    @property
    def corrupt(self):
        return self._parser.corrupt

    @property
    def skipped(self):
        return self._parser.skipped
