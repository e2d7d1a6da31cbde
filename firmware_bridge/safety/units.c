#include "units.h"

#include <math.h>

#include "brake.h"

#define UNITS 4294967296.0 /* to the joint's own unit; a power of two, so that scaling is exact */
#define FARTHEST 256.0
#define SHORTEST_TICK_S 1e-6
#define LONGEST_TICK_S 1.0
/* With these bounds and no jerk above 2 max_acceleration, a velocity in the frame of a moving target plus what a ramp
 * adds is below 3 2^27, so that sums of a few of them fit 32 bits; and the jerk times the way that such a velocity
 * needs to stop is below 9 2^56, so that the interpolation of a step fits 64 bits. */
#define LEAST 16.0
#define FASTEST 134217728.0  /* 2^27 */
#define STRONGEST 67108864.0 /* 2^26 */
#define STEEPEST 0x1p62      /* only so that infinity is none */
#define RAMP 134217728.0     /* 2^27: velocity gained from no acceleration to the highest, at most */
#define RAMP_TICKS 1024      /* the brake goes through them one by one */

/* Down to a whole unit. The product may have been rounded up; a part in 2^50 less, it is below the true one. */
static double below(double product)
{
    return floor(product * (1.0 - 0x1p-50));
}

/* False for what is not a number. */
static bool between(double value, double least, double most)
{
    return least <= value && value <= most;
}

safety_verdict safety_limits_from(const safety_physical *physical, double tick_s, safety_limits *limits)
{
    if (!between(tick_s, SHORTEST_TICK_S, LONGEST_TICK_S)) {
        return SAFETY_BAD_TICK;
    }
    if (!between(physical->lower, -FARTHEST, FARTHEST)) {
        return SAFETY_BAD_LOWER;
    }
    if (!between(physical->upper, physical->lower, FARTHEST)) {
        return SAFETY_BAD_UPPER;
    }
    const double velocity = below(physical->max_velocity * tick_s * UNITS);
    if (!between(velocity, LEAST, FASTEST)) {
        return SAFETY_BAD_VELOCITY;
    }
    const double acceleration = below(physical->max_acceleration * tick_s * tick_s * UNITS);
    if (!between(acceleration, LEAST, STRONGEST)) {
        return SAFETY_BAD_ACCELERATION;
    }
    const double steepness = below(physical->max_jerk * tick_s * tick_s * tick_s * UNITS);
    if (!between(steepness, LEAST, STEEPEST)) {
        return SAFETY_BAD_JERK;
    }
    /* More than from one end of the acceleration to the other changes nothing. */
    const double jerk = fmin(steepness, 2 * acceleration);
    const double ramp_ticks = floor(acceleration / jerk) + 1;
    const double ramp = acceleration * ramp_ticks;
    if (ramp_ticks > RAMP_TICKS || ramp > RAMP) {
        return SAFETY_BAD_JERK;
    }
    safety_limits made = {.lower = (int64_t)ceil(physical->lower * UNITS),
                          .upper = (int64_t)floor(physical->upper * UNITS),
                          .max_velocity = (int32_t)velocity,
                          .max_acceleration = (int32_t)acceleration,
                          .max_jerk = (int32_t)jerk};
    made.release = made.max_acceleration - safety_released(&made, 0, -made.max_acceleration);
    if (safety_stop(&made, made.max_velocity, 0).rest >= made.upper - made.lower) {
        return SAFETY_BAD_RANGE;
    }
    *limits = made;
    return SAFETY_LIMITS_OK;
}

bool safety_position_from(double position, int64_t *units)
{
    if (!between(position, -FARTHEST, FARTHEST)) {
        return false;
    }
    *units = llround(position * UNITS);
    return true;
}

double safety_position_to(int64_t units)
{
    return (double)units / UNITS;
}
