#include "brake.h"

#include <stdlib.h>

/* Sign, larger and smaller without a comparison: there is no boundary to get wrong, and no branch to test. */
int32_t safety_sign(int64_t value)
{
    return 1 - 2 * (int32_t)((uint64_t)value >> 63);
}

int64_t safety_larger(int64_t a, int64_t b)
{
    return (a + b + llabs(a - b)) / 2;
}

int64_t safety_smaller(int64_t a, int64_t b)
{
    return (a + b - llabs(a - b)) / 2;
}

/*@ requires -(1 << 30) < value < 1 << 30;
    assigns \nothing;
    ensures \result == \max(value, 0);
*/
static int32_t positive_part(int32_t value)
{
    return (value + abs(value)) / 2;
}

int32_t safety_released(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    const int32_t ticks = acceleration / limits->max_jerk; /* signed like the acceleration */
    return velocity + ticks * (2 * abs(acceleration) - limits->max_jerk * (abs(ticks) + 1)) / 2;
}

int32_t safety_hardest(const safety_limits *limits, int32_t speed)
{
    /* x changes the velocity by x + (x - J) + (x - 2 J) + ..., `parts` terms, which is parts * x - ramp. */
    int32_t parts = 1;
    int32_t ramp = 0;
    /*@ loop invariant next == parts * limits->max_jerk && 2 * ramp == limits->max_jerk * (parts * (parts - 1));
        loop invariant 1 <= parts <= next && (ramp == 0 <==> parts == 1) && 0 <= ramp && (ramp == 0 || ramp <= speed);
        loop assigns next, ramp, parts;
        loop variant speed - ramp;
    */
    for (int32_t next = limits->max_jerk; safety_sign(speed - ramp - next) == 1; next += limits->max_jerk) {
        ramp += next;
        ++parts;
    }
    return (speed + ramp) / parts;
}

int32_t safety_braking(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    const int32_t side = safety_sign(safety_released(limits, velocity, acceleration));
    const int32_t speed = positive_part(side * velocity);
    const int64_t steepest = safety_larger(side * acceleration - limits->max_jerk, -limits->max_acceleration);
    return side * (int32_t)safety_larger(steepest, -safety_hardest(limits, speed));
}

/* What one more tick of ramp takes away from the velocity at release: its own part and that of the longer release. */
/*@ requires -(1 << 28) <= braking <= 1 << 28 && 0 <= jerk <= 1 << 28;
    assigns \nothing;
    ensures \result == \max(braking + jerk, 0) + \max(braking, 0);
*/
static int32_t ramp_cost(int32_t braking, int32_t jerk)
{
    return positive_part(braking + jerk) + positive_part(braking);
}

/* The stop of a joint that ends up moving forward, at `spare` >= 0, when it lets go of its acceleration. */
static safety_path stop_forward(const safety_limits *limits, int32_t velocity, int32_t acceleration, int32_t spare)
{
    const int32_t jerk = limits->max_jerk;
    const int32_t full = limits->max_acceleration;
    safety_path path = {0, 0};
    int32_t braking = -acceleration;
    /* Ramp: whole ticks, as far as the spare velocity goes. */
    for (int32_t ticks = (full - braking) / jerk; ticks != 0 && safety_sign(spare - ramp_cost(braking, jerk)) == 1;
         --ticks) {
        spare -= ramp_cost(braking, jerk);
        braking += jerk;
        velocity -= braking;
        path.rest += velocity;
        path.turn -= positive_part(-velocity);
    }
    /* Hold at the full acceleration as long as it can still be released in time. */
    const int32_t hold = positive_part(velocity - limits->release + full) / full;
    path.rest += hold * (2 * (int64_t)velocity - full * ((int64_t)hold + 1)) / 2;
    velocity -= hold * full;
    /* Release: its first tick takes what it can and leaves less velocity than ticks, ... */
    braking = safety_hardest(limits, velocity);
    velocity -= braking;
    path.rest += velocity;
    for (int32_t ticks = braking / jerk; ticks != 0; --ticks) {
        braking -= jerk;
        velocity -= braking;
        path.rest += velocity;
    }
    /* ... so that braking harder by one unit in the last `velocity` of them ends at rest. */
    path.rest -= (int64_t)velocity * (velocity + 1) / 2;
    return path;
}

safety_path safety_stop(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    const int32_t released = safety_released(limits, velocity, acceleration);
    const int32_t side = safety_sign(released);
    const safety_path path = stop_forward(limits, side * velocity, side * acceleration, side * released);
    return (safety_path){side * path.rest, side * path.turn};
}
