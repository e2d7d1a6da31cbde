# cython: language_level=3
"""Thin wrap of the C codec for Python tools, emulators and tests. No logic here."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from typing import NamedTuple


cdef extern from "feetech.h" nogil:
    enum:
        FEETECH_MAX_PARAMS
        FEETECH_MAX_FRAME

    ctypedef struct feetech_frame:
        uint8_t id
        uint8_t code
        const uint8_t *params
        size_t count

    ctypedef struct feetech_parser:
        size_t length
        uint32_t frames
        uint32_t corrupt
        uint32_t skipped

    size_t feetech_ping(uint8_t id, uint8_t *out, size_t capacity)
    size_t feetech_read(uint8_t id, uint8_t address, uint8_t length, uint8_t *out, size_t capacity)
    size_t feetech_write(uint8_t id, uint8_t address, const uint8_t *data, size_t length, uint8_t *out,
                         size_t capacity)
    size_t feetech_sync_read(uint8_t address, uint8_t length, const uint8_t *ids, size_t count, uint8_t *out,
                             size_t capacity)
    size_t feetech_sync_write(uint8_t address, uint8_t length, const uint8_t *ids, const uint8_t *data, size_t count,
                              uint8_t *out, size_t capacity)
    size_t feetech_status(uint8_t id, uint8_t error, const uint8_t *params, size_t count, uint8_t *out,
                          size_t capacity)
    uint16_t feetech_to_sign_magnitude(int32_t value, unsigned sign_bit)
    int32_t feetech_from_sign_magnitude(uint16_t word, unsigned sign_bit)
    void feetech_parser_init(feetech_parser *parser, size_t max_params)
    void feetech_parser_reset(feetech_parser *parser)
    size_t feetech_parser_push(feetech_parser *parser, const uint8_t *bytes, size_t count)
    bint feetech_parser_next(feetech_parser *parser, feetech_frame *frame)


MAX_PARAMS = FEETECH_MAX_PARAMS


class Frame(NamedTuple):
    """One intact frame: `code` is a request's instruction or a reply's error byte."""

    id: int
    code: int
    params: bytes


cdef bytes _frame(const uint8_t *out, size_t length):
    if length == 0:
        raise ValueError(f"not a Feetech frame: expected an id of at most 254 and at most {MAX_PARAMS} parameter bytes")
    return out[:length]


def encode_ping(uint8_t id):
    cdef uint8_t[FEETECH_MAX_FRAME] out
    return _frame(out, feetech_ping(id, out, sizeof(out)))


def encode_read(uint8_t id, uint8_t address, uint8_t length):
    cdef uint8_t[FEETECH_MAX_FRAME] out
    return _frame(out, feetech_read(id, address, length, out, sizeof(out)))


def encode_write(uint8_t id, uint8_t address, bytes data):
    cdef uint8_t[FEETECH_MAX_FRAME] out
    return _frame(out, feetech_write(id, address, data, len(data), out, sizeof(out)))


def encode_sync_read(uint8_t address, uint8_t length, ids):
    cdef uint8_t[FEETECH_MAX_FRAME] out
    cdef bytes listed = bytes(ids)
    return _frame(out, feetech_sync_read(address, length, listed, len(listed), out, sizeof(out)))


def encode_sync_write(uint8_t address, uint8_t length, values):
    cdef uint8_t[FEETECH_MAX_FRAME] out
    cdef bytes listed = bytes(values)
    cdef bytes data = b"".join(values.values())
    if any(len(value) != length for value in values.values()):
        raise ValueError(f"every value must have {length} bytes")
    return _frame(out, feetech_sync_write(address, length, listed, data, len(listed), out, sizeof(out)))


def encode_status(uint8_t id, uint8_t error, bytes params=b""):
    cdef uint8_t[FEETECH_MAX_FRAME] out
    return _frame(out, feetech_status(id, error, params, len(params), out, sizeof(out)))


def to_sign_magnitude(int32_t value, unsigned sign_bit):
    if sign_bit > 15:
        raise ValueError(f"sign bit {sign_bit} is outside a word of 16 bits")
    return feetech_to_sign_magnitude(value, sign_bit)


def from_sign_magnitude(uint16_t word, unsigned sign_bit):
    if sign_bit > 15:
        raise ValueError(f"sign bit {sign_bit} is outside a word of 16 bits")
    return feetech_from_sign_magnitude(word, sign_bit)


cdef class Parser:
    cdef feetech_parser _parser

    def __cinit__(self, size_t max_params=FEETECH_MAX_PARAMS):
        feetech_parser_init(&self._parser, max_params)

    def feed(self, const uint8_t[::1] data not None):
        cdef feetech_frame frame
        cdef size_t done = 0
        cdef size_t total = data.shape[0]
        found = []
        while done < total:
            done += feetech_parser_push(&self._parser, &data[done], total - done)
            while feetech_parser_next(&self._parser, &frame):
                found.append(Frame(frame.id, frame.code, frame.params[: frame.count]))
        return found

    def reset(self):
        feetech_parser_reset(&self._parser)

    @property
    def frames(self):
        return self._parser.frames

    @property
    def corrupt(self):
        return self._parser.corrupt

    @property
    def skipped(self):
        return self._parser.skipped
