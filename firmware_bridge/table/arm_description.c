#include "arm_description.h"

#include <math.h>

#define PI 3.14159265358979323846
#define POSITION 4294967296.0   /* 2^32 in a unit */
#define SCALE 281474976710656.0 /* 2^48 */
#define SWIFTEST 2.0            /* times the velocity limit: faster than that no position is believed to change */
#define PLAY_RAD 0.05
#define TRACKING_RAD 0.5

/* Servo ticks are zero + scale * position, with the position in the joint's unit. */
typedef struct {
    double zero;
    double scale;
} ticks;

/* A product is a statement of its own where a sum follows: two steps that a compiler makes one would not give the same
 * bits on every machine, and the table's hash would differ. */
static ticks uncalibrated(const arm_described_joint *described, double turn, double radian)
{
    const double below = described->lower * radian;
    const double span = described->upper - described->lower;
    const double half = turn / 2;
    return described->normalised ? (ticks){half + below, span * radian} : (ticks){half, radian};
}

static ticks calibrated(const arm_described_joint *described, double radian)
{
    const double least = described->range_min;
    const double most = described->range_max;
    if (!described->normalised) {
        return (ticks){(least + most) / 2, radian};
    }
    return described->reversed ? (ticks){most, least - most} : (ticks){least, most - least};
}

static safety_physical limits_of(const arm_described_joint *described, ticks of)
{
    const double span = described->normalised ? described->upper - described->lower : 1.0;
    safety_physical made = {0.0, 1.0, described->max_velocity / span, described->max_acceleration / span,
                            described->max_jerk / span};
    if (!described->normalised) {
        made.lower = described->lower;
        made.upper = described->upper;
        if (described->calibrated) {
            made.lower = fmax(made.lower, (described->range_min - of.zero) / of.scale);
            made.upper = fmin(made.upper, (described->range_max - of.zero) / of.scale);
        }
    }
    return made;
}

safety_verdict arm_joint_from(const arm_described_joint *described, uint32_t ticks_per_turn, uint16_t tick_us,
                              arm_joint *joint)
{
    const double turn = ticks_per_turn;
    const double radian = turn / (2 * PI);
    const ticks of = described->calibrated ? calibrated(described, radian) : uncalibrated(described, turn, radian);
    if (!(fabs(of.scale) >= 1.0)) {
        return SAFETY_BAD_RANGE;
    }
    const safety_physical physical = limits_of(described, of);
    arm_joint made = {.servo_id = described->servo_id};
    const safety_verdict verdict = safety_limits_from(&physical, tick_us * 1e-6, &made.limits);
    if (verdict != SAFETY_LIMITS_OK) {
        return verdict;
    }
    made.origin = (int64_t)rint(-of.zero / of.scale * POSITION);
    made.scale = (int64_t)rint(SCALE / of.scale);
    made.travel = (int32_t)ceil(SWIFTEST * described->max_velocity * tick_us * 1e-6 * radian);
    made.margin = (int32_t)ceil(PLAY_RAD * radian);
    made.tracking = described->normalised ? 0 : (int32_t)ceil(TRACKING_RAD * radian); /* it stops at what it holds */
    *joint = made;
    return SAFETY_LIMITS_OK;
}
