/* Low-level safety limiter of one joint: position, velocity and acceleration, with the stopping-distance rule.
 *
 * A joint never moves faster than it could stop before its position limit. A state is admissible when
 *
 *     |v| <= max_velocity   and   lower + v^2 / 2a <= q (moving down)   or   q + v^2 / 2a <= upper (moving up).
 *
 * From an admissible state every step of any length leads to an admissible state, whatever the target is, and changes
 * the velocity by at most max_acceleration * dt. A state outside the position limits (an arm that was started there)
 * may only come back or stand still.
 *
 * C99, pure, no allocation: compiled into the host's loop and into the microcontroller. Units are the joint's own
 * (radians, or the gripper's 0..1) and seconds.
 */
#ifndef EDGEARM_LIMITER_H
#define EDGEARM_LIMITER_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double lower;
    double upper;
    double max_velocity;
    double max_acceleration;
} limiter_limits;

typedef struct {
    double position;
    double velocity;
} limiter_state;

/* Where the joint should be at the end of the step, and how fast it should then move. Without the velocity a moving
 * target could only be followed with a lag of its braking distance. */
typedef struct {
    double position;
    double velocity;
} limiter_target;

/* What limited a step. A limit that is active is not a fault. */
enum limiter_flag {
    LIMITER_POSITION = 1, /* target outside the position limits, or slowed to be able to stop before one */
    LIMITER_VELOCITY = 2,
    LIMITER_ACCELERATION = 4,
    LIMITER_REJECTED = 8 /* a number was not finite, or dt not positive: the state was left as it was */
};

/* Finite, lower < upper, positive velocity and acceleration. */
bool limiter_limits_valid(const limiter_limits *limits);

bool limiter_admissible(const limiter_limits *limits, const limiter_state *state);

/* Moves `state` toward `target` by one step of `dt` seconds; returns the limiter_flag bits that were active. */
unsigned limiter_step(const limiter_limits *limits, limiter_state *state, const limiter_target *target, double dt);

/* Brings the joint to rest as fast as the acceleration limit allows; returns like limiter_step. */
unsigned limiter_brake(const limiter_limits *limits, limiter_state *state, double dt);

#ifdef __cplusplus
}
#endif

#endif
