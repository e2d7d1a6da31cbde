# cython: language_level=3
"""Thin wrap of the safety limiter of one joint for Python tools and emulators. No logic here."""

from libc.stdint cimport int32_t, int64_t

from typing import NamedTuple


cdef extern from "units.h" nogil:
    ctypedef struct safety_limits:
        int64_t lower
        int64_t upper
        int32_t max_velocity
        int32_t max_acceleration
        int32_t max_jerk
        int32_t release

    ctypedef struct safety_state:
        int64_t position
        int32_t velocity
        int32_t acceleration

    ctypedef struct safety_target:
        int64_t position
        int64_t velocity

    ctypedef struct safety_physical:
        double lower
        double upper
        double max_velocity
        double max_acceleration
        double max_jerk

    int SAFETY_LIMITS_OK
    int SAFETY_REJECTED
    int safety_limits_from(const safety_physical *physical, double tick_s, safety_limits *limits)
    safety_state safety_at_rest(int64_t position)
    unsigned safety_step(const safety_limits *limits, safety_state *state, const safety_target *target)
    unsigned safety_brake(const safety_limits *limits, safety_state *state)


REJECTED = SAFETY_REJECTED


class Limits(NamedTuple):
    lower: int
    upper: int
    max_velocity: int
    max_acceleration: int
    max_jerk: int
    release: int


_VERDICTS = ("", "tick_s", "lower", "upper", "max_velocity", "max_acceleration", "max_jerk", "upper - lower")


def limits_from(double lower, double upper, double max_velocity, double max_acceleration, double max_jerk,
                double tick_s):
    cdef safety_physical physical = safety_physical(lower, upper, max_velocity, max_acceleration, max_jerk)
    cdef safety_limits made
    verdict = safety_limits_from(&physical, tick_s, &made)
    if verdict != SAFETY_LIMITS_OK:
        raise ValueError(f"limits that no limiter can keep in ticks of {tick_s} s: {_VERDICTS[verdict]}")
    return Limits(made.lower, made.upper, made.max_velocity, made.max_acceleration, made.max_jerk, made.release)


cdef class Joint:
    cdef safety_limits _limits
    cdef safety_state _state

    def __cinit__(self, limits, int64_t position):
        (self._limits.lower, self._limits.upper, self._limits.max_velocity, self._limits.max_acceleration,
         self._limits.max_jerk, self._limits.release) = limits
        self._state = safety_at_rest(position)

    @property
    def position(self):
        return self._state.position

    @property
    def velocity(self):
        return self._state.velocity

    @property
    def acceleration(self):
        return self._state.acceleration

    def step(self, int64_t position, int64_t velocity):
        cdef safety_target target = safety_target(position, velocity)
        return safety_step(&self._limits, &self._state, &target)

    def brake(self):
        return safety_brake(&self._limits, &self._state)
