#include "limiter.h"

#include <math.h>

/* Rounding may leave a state this far outside a limit that it touches. */
static const double TOLERANCE = 1e-9;

static double clamp(double value, double lower, double upper)
{
    return value < lower ? lower : value > upper ? upper : value;
}

bool limiter_limits_valid(const limiter_limits *limits)
{
    return isfinite(limits->lower) && isfinite(limits->upper) && isfinite(limits->max_velocity) &&
           isfinite(limits->max_acceleration) && limits->lower < limits->upper && limits->max_velocity > 0 &&
           limits->max_acceleration > 0;
}

bool limiter_admissible(const limiter_limits *limits, const limiter_state *state)
{
    const double v = state->velocity;
    const double stop = v * fabs(v) / (2 * limits->max_acceleration); /* signed way to rest */
    const double rest = state->position + stop;
    return fabs(v) <= limits->max_velocity + TOLERANCE && state->position >= limits->lower - TOLERANCE &&
           state->position <= limits->upper + TOLERANCE && rest >= limits->lower - TOLERANCE &&
           rest <= limits->upper + TOLERANCE;
}

/* Greatest speed u of this step after which the joint can still stop within `distance`, however long later steps are:
 * u dt + u^2 / 2a = distance, solved in the form that does not cancel. */
static double stopping_speed(double distance, double acceleration, double dt)
{
    if (distance <= 0) {
        return 0;
    }
    const double change = acceleration * dt;
    const double twice = 2 * acceleration * distance;
    return twice / (change + sqrt(change * change + twice));
}

/* Greatest speed of this step from which steps of the same length, each slower by a dt, end exactly at `distance`.
 * n is how many such steps follow: the way is then dt (u + (u - a dt) + ... + (u - n a dt)). */
static double arriving_speed(double distance, double acceleration, double dt)
{
    const double unit = acceleration * dt * dt;
    const double n = floor((sqrt(1 + 8 * distance / unit) - 1) / 2);
    return (distance / dt + acceleration * dt * n * (n + 1) / 2) / (n + 1);
}

static bool usable(const limiter_state *state, double dt)
{
    return isfinite(state->position) && isfinite(state->velocity) && isfinite(dt) && dt > 0;
}

/* Applies acceleration, velocity and position limits to the wanted velocity, the strictest last, and moves. */
static unsigned advance(const limiter_limits *limits, limiter_state *state, double wanted, double dt)
{
    unsigned flags = 0;
    const double change = limits->max_acceleration * dt;
    double velocity = clamp(wanted, -limits->max_velocity, limits->max_velocity);
    if (velocity != wanted) {
        flags |= LIMITER_VELOCITY;
    }
    const double reachable = clamp(velocity, state->velocity - change, state->velocity + change);
    if (reachable != velocity) {
        flags |= LIMITER_ACCELERATION;
    }
    const double down = -stopping_speed(state->position - limits->lower, limits->max_acceleration, dt);
    const double up = stopping_speed(limits->upper - state->position, limits->max_acceleration, dt);
    velocity = clamp(reachable, down, up);
    if (velocity != reachable) {
        flags |= LIMITER_POSITION;
    }
    state->position += velocity * dt;
    state->velocity = velocity;
    return flags;
}

unsigned limiter_step(const limiter_limits *limits, limiter_state *state, const limiter_target *target, double dt)
{
    if (!usable(state, dt) || !isfinite(target->position) || !isfinite(target->velocity)) {
        return LIMITER_REJECTED;
    }
    const double goal = clamp(target->position, limits->lower, limits->upper);
    const unsigned outside = goal != target->position ? LIMITER_POSITION : 0u;
    const double pace = outside != 0 ? 0 : clamp(target->velocity, -limits->max_velocity, limits->max_velocity);
    /* What is left once the joint has kept the target's own pace for this step. */
    const double behind = goal - state->position - pace * dt;
    const double closing = arriving_speed(fabs(behind), limits->max_acceleration, dt);
    return outside | advance(limits, state, pace + copysign(closing, behind), dt);
}

unsigned limiter_brake(const limiter_limits *limits, limiter_state *state, double dt)
{
    if (!usable(state, dt)) {
        return LIMITER_REJECTED;
    }
    return advance(limits, state, 0, dt) & ~(unsigned)LIMITER_ACCELERATION;
}
