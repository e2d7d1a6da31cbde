# cython: language_level=3
"""Thin wrap of the builder of the firmware's table. No logic here."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t


cdef extern from "arm_description.h" nogil:
    enum:
        BRIDGE_MAX_JOINTS

    ctypedef struct safety_limits:
        int64_t lower
        int64_t upper
        int32_t max_velocity
        int32_t max_acceleration
        int32_t max_jerk
        int32_t release

    ctypedef struct arm_joint:
        uint8_t servo_id
        safety_limits limits
        int64_t origin
        int64_t scale
        int32_t travel
        int32_t margin
        int32_t tracking

    ctypedef struct arm_table:
        uint8_t count
        uint16_t tick_us
        arm_joint joints[BRIDGE_MAX_JOINTS]

    ctypedef struct arm_described_joint:
        uint8_t servo_id
        bint normalised
        double lower
        double upper
        double max_velocity
        double max_acceleration
        double max_jerk
        bint calibrated
        int32_t range_min
        int32_t range_max
        bint reversed

    int SAFETY_LIMITS_OK
    int arm_joint_from(const arm_described_joint *described, uint32_t ticks_per_turn, uint16_t tick_us,
                       arm_joint *joint)
    int64_t arm_position(const arm_joint *joint, int32_t encoder)
    int32_t arm_encoder(const arm_joint *joint, int64_t position)
    uint32_t arm_config(const arm_table *table)


_VERDICTS = ("", "tick_us", "lower", "upper", "max_velocity", "max_acceleration", "max_jerk", "upper - lower")


cdef arm_joint _of(numbers):
    cdef arm_joint made
    (made.servo_id, limits, made.origin, made.scale, made.travel, made.margin, made.tracking) = numbers
    (made.limits.lower, made.limits.upper, made.limits.max_velocity, made.limits.max_acceleration,
     made.limits.max_jerk, made.limits.release) = limits
    return made


def joint(uint8_t servo_id, bint normalised, double lower, double upper, double max_velocity, double max_acceleration,
          double max_jerk, calibration, uint32_t ticks_per_turn, uint16_t tick_us):
    cdef arm_described_joint described = arm_described_joint(
        servo_id, normalised, lower, upper, max_velocity, max_acceleration, max_jerk, False, 0, 0, False)
    cdef arm_joint made
    if calibration is not None:
        described.calibrated = True
        described.range_min, described.range_max, described.reversed = calibration
    verdict = arm_joint_from(&described, ticks_per_turn, tick_us, &made)
    if verdict != SAFETY_LIMITS_OK:
        raise ValueError(f"servo {servo_id}: limits that no limiter can keep in ticks of {tick_us} us: "
                         f"{_VERDICTS[verdict]}")
    limits = (made.limits.lower, made.limits.upper, made.limits.max_velocity, made.limits.max_acceleration,
              made.limits.max_jerk, made.limits.release)
    return made.servo_id, limits, made.origin, made.scale, made.travel, made.margin, made.tracking


def position(numbers, int32_t encoder):
    cdef arm_joint made = _of(numbers)
    return arm_position(&made, encoder)


def encoder(numbers, int64_t position):
    cdef arm_joint made = _of(numbers)
    return arm_encoder(&made, position)


def config(uint16_t tick_us, joints):
    cdef arm_table table
    table.count = len(joints)
    table.tick_us = tick_us
    if table.count > BRIDGE_MAX_JOINTS:
        raise ValueError(f"expected at most {BRIDGE_MAX_JOINTS} joints, got {len(joints)}")
    for i, numbers in enumerate(joints):
        table.joints[i] = _of(numbers)
    return arm_config(&table)
