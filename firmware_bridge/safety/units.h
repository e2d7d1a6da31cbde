/* Physical quantities into the safety limiter's integers: the one place where floating point enters. */
#ifndef EDGEARM_SAFETY_UNITS_H
#define EDGEARM_SAFETY_UNITS_H

#include "limiter.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In the joint's own unit (radians) and seconds. */
typedef struct {
    double lower;
    double upper;
    double max_velocity;
    double max_acceleration;
    double max_jerk;
} safety_physical;

/* Why limits are refused; each names the number at fault. */
typedef enum {
    SAFETY_LIMITS_OK = 0,
    SAFETY_BAD_TICK,         /* not a number, or not positive */
    SAFETY_BAD_LOWER,        /* not a number, or farther than 256 */
    SAFETY_BAD_UPPER,        /* not a number, farther than 256, or not above lower */
    SAFETY_BAD_VELOCITY,     /* not positive, or out of the arithmetic's reach: see safety_limits_from */
    SAFETY_BAD_ACCELERATION, /* likewise */
    SAFETY_BAD_JERK,         /* likewise */
    SAFETY_BAD_RANGE         /* too short to stop from max_velocity in */
} safety_verdict;

/* Limits for ticks of `tick_s` seconds (1e-6 to 1), never wider than the physical ones; `limits` is written only when
 * they are good. In units of 2^-32 a tick, velocity, acceleration and jerk must each be 16 or more, or they would be
 * mostly rounding; velocity at most 2^27, acceleration at most 2^26, and the ramp from no acceleration to the highest
 * must take at most 1024 ticks and gain at most 2^27. At ticks of 1 ms: 4e-6 to 31 /s, 0.004 to 15625 /s2, from 4 /s3.
 */
safety_verdict safety_limits_from(const safety_physical *physical, double tick_s, safety_limits *limits);

/* A position in units, to the nearest one. False, and nothing written, for what is not a number or beyond 256. */
bool safety_position_from(double position, int64_t *units);

/* Exact. */
double safety_position_to(int64_t units);

#ifdef __cplusplus
}
#endif

#endif
