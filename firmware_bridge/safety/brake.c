#include "brake.h"

#include <stdlib.h>

#include "lemmas.h"

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

/* Velocity that a joint still gains while it lets go of an acceleration of `size`. */
/*@ requires \valid_read(limits) && safety_good(*limits) && 0 <= size <= limits->max_acceleration;
    assigns \nothing;
    ensures 2 * \result == safety_gained(limits->max_jerk, size) && 0 <= \result <= 1 << 28;
*/
static int32_t gained(const safety_limits *limits, int32_t size)
{
    const int32_t ticks = size / limits->max_jerk;
    /*@ ghost const int32_t jerk = limits->max_jerk;
        const int32_t full = limits->max_acceleration;
        lemma_quotient(size, jerk);
        lemma_quotient(full, jerk);
        lemma_ramp(full, jerk, full / jerk, ticks);
        lemma_even(jerk, size, ticks);
        lemma_gained(jerk, size);
        lemma_between(ticks, 2 * (int64_t)size - (int64_t)jerk * (ticks + 1), 2 * (int64_t)full); */
    return ticks * (2 * size - limits->max_jerk * (ticks + 1)) / 2;
}

int32_t safety_released(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    return velocity + safety_sign(acceleration) * gained(limits, abs(acceleration));
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
    /*@ ghost if (speed >= 0) {
            lemma_quotient(speed + ramp, parts);
            lemma_hardest(limits->max_jerk, parts, ramp, speed, (speed + ramp) / parts);
            lemma_division((speed + ramp) / parts, limits->max_jerk, parts - 1);
            lemma_renamed(limits->max_jerk, parts, speed, (speed + ramp) / parts,
                          (speed + ramp) / parts / limits->max_jerk);
        } */
    return (speed + ramp) / parts;
}

int32_t safety_braking(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    const int32_t side = safety_sign(safety_released(limits, velocity, acceleration));
    const int32_t speed = positive_part(side * velocity);
    const int64_t steepest = safety_larger(side * acceleration - limits->max_jerk, -limits->max_acceleration);
    const int32_t hardest = safety_hardest(limits, speed);
    const int32_t taken = (int32_t)safety_larger(steepest, -hardest);
    /*@ ghost lemma_gained(limits->max_jerk, hardest);
        lemma_gained(limits->max_jerk, side * acceleration < 0 ? -(side * acceleration) : side * acceleration);
        if (side == 1) {
            lemma_forward(limits, velocity, acceleration, speed, hardest, taken);
        } else {
            lemma_forward(limits, -velocity, -acceleration, speed, hardest, taken);
            lemma_mirrored(limits, velocity, acceleration, taken);
        } */
    return side * taken;
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

/* Where a joint is after a part of its stop, and how fast. */
typedef struct {
    int32_t velocity;
    safety_path path;
} leg;

/* Ramp: whole ticks, as far as the velocity goes that is to spare once the joint lets go of its acceleration. */
/*@ requires \valid_read(limits) && safety_good(*limits);
    requires -limits->max_acceleration <= acceleration <= limits->max_acceleration;
    requires -(5 << 26) <= velocity <= 5 << 26 && 0 <= spare <= 1 << 30;
    assigns \nothing;
    ensures -(9 << 26) <= \result.velocity <= 9 << 26;
    ensures -(9 << 54) <= limits->max_acceleration * \result.path.rest <= 9 << 54;
    ensures -(9 << 50) <= \result.path.rest <= 9 << 50;
    ensures -(9 << 50) <= \result.path.turn <= 0;
*/
static leg ramp(const safety_limits *limits, int32_t velocity, int32_t acceleration, int32_t spare)
{
    const int32_t jerk = limits->max_jerk;
    const int32_t full = limits->max_acceleration;
    leg moved = {velocity, {0, 0}};
    int32_t braking = -acceleration;
    int32_t ticks = (full - braking) / jerk;
    /*@ ghost const int32_t all = ticks;
        lemma_quotient(full - braking, jerk);
        lemma_ramp(full, jerk, full / jerk, all);
        lemma_monotone(16, full, all); */
    /*@ loop invariant 0 <= ticks <= all && 0 <= spare <= 1 << 30;
        loop invariant -full <= braking && braking + ticks * jerk <= full;
        loop invariant -(all - ticks) * full <= moved.velocity - velocity <= (all - ticks) * full;
        loop invariant -(all - ticks) * (9 << 26) <= moved.path.rest <= (all - ticks) * (9 << 26);
        loop invariant -(all - ticks) * (9 << 26) <= moved.path.turn <= 0;
        loop assigns ticks, spare, braking, moved;
        loop variant ticks;
    */
    for (; ticks != 0 && safety_sign(spare - ramp_cost(braking, jerk)) == 1; --ticks) {
        /*@ ghost lemma_monotone(1, ticks, jerk);
            lemma_monotone(all - ticks + 1, all, full); */
        spare -= ramp_cost(braking, jerk);
        braking += jerk;
        moved.velocity -= braking;
        moved.path.rest += moved.velocity;
        moved.path.turn -= positive_part(-moved.velocity);
    }
    /*@ ghost lemma_monotone(all - ticks, all, full);
        lemma_between(full, moved.path.rest, (int64_t)all * (9 << 26)); */
    return moved;
}

/* Hold: ticks at the full acceleration, as long as it can still be released in time. */
/*@ requires \valid_read(limits) && safety_good(*limits) && -(9 << 26) <= velocity <= 9 << 26;
    assigns \nothing;
    ensures 0 <= \result && 0 <= \result * limits->max_acceleration <= 10 << 26;
    ensures velocity - \result * limits->max_acceleration < limits->release;
    ensures -(9 << 26) <= velocity - \result * limits->max_acceleration;
*/
static int32_t hold_ticks(const safety_limits *limits, int32_t velocity)
{
    const int32_t full = limits->max_acceleration;
    //@ ghost lemma_release(full, limits->max_jerk, full / limits->max_jerk, limits->release);
    const int32_t excess = positive_part(velocity - limits->release + full);
    //@ ghost lemma_quotient(excess, full);
    return excess / full;
}

/* How far a joint moves in `ticks` ticks that each take `full` from its velocity. */
/*@ requires 16 <= full <= 1 << 26 && -(9 << 26) <= velocity <= 9 << 26;
    requires 0 <= ticks && 0 <= ticks * full <= 10 << 26;
    assigns \nothing;
    ensures -(145 << 52) <= full * \result <= 145 << 52;
    ensures -(1 << 57) <= \result <= 1 << 57;
*/
static int64_t held(int32_t full, int32_t velocity, int32_t ticks)
{
    const int64_t twice = 2 * (int64_t)velocity - full * ((int64_t)ticks + 1);
    /*@ ghost lemma_monotone(16, full, ticks);
        lemma_between(ticks, twice, 29LL << 26);
        lemma_between(full, ticks * twice / 2, ticks * (29LL << 25)); */
    return ticks * twice / 2;
}

/* How far a joint moves in the release, from `speed`. */
/*@ requires \valid_read(limits) && safety_good(*limits) && -(9 << 26) <= speed < limits->release;
    assigns \nothing;
    ensures -(9 << 54) <= limits->max_acceleration * \result <= 9 << 54;
    ensures -(1 << 57) <= \result <= 1 << 57;
*/
static int64_t release(const safety_limits *limits, int32_t speed)
{
    const int32_t jerk = limits->max_jerk;
    /*@ ghost const int32_t full = limits->max_acceleration;
        lemma_release(full, jerk, full / jerk, limits->release); */
    /* Its first tick takes what it can and leaves less velocity than ticks, ... */
    int32_t braking = safety_hardest(limits, speed);
    int32_t velocity = speed - braking;
    int64_t rest = velocity;
    /*@ ghost const int32_t first = braking;
        const int32_t all = braking / jerk;
        if (speed >= 0) {
            lemma_quotient(full, jerk);
            lemma_quotient(braking, jerk);
            lemma_released(full, jerk, full / jerk, braking, all);
            lemma_ramp(full, jerk, full / jerk, all);
            lemma_monotone(16, full, all);
        } */
    /*@ loop invariant speed < 0 ==> ticks <= 0 && velocity == 0 && rest == 0;
        loop invariant speed >= 0 ==> 0 <= ticks <= all && braking == first - (all - ticks) * jerk;
        loop invariant speed >= 0 ==> ticks * jerk <= braking <= full;
        loop invariant speed >= 0 ==> 2 * velocity == 2 * speed - (all + 1) * (2 * first - all * jerk) +
            ticks * (2 * braking - (ticks + 1) * jerk);
        loop invariant speed >= 0 ==> -(1 << 26) - (all - ticks) * full <= velocity <= 1 << 27;
        loop invariant speed >= 0 ==> -(all - ticks + 1) * (5 << 26) <= rest <= (all - ticks + 1) * (5 << 26);
        loop assigns ticks, braking, velocity, rest;
        loop variant ticks;
    */
    for (int32_t ticks = braking / jerk; ticks > 0; --ticks) {
        /*@ ghost lemma_monotone(0, ticks - 1, jerk);
            lemma_monotone(all - ticks + 1, all, full); */
        braking -= jerk;
        velocity -= braking;
        rest += velocity;
    }
    /*@ ghost if (speed >= 0) {
            lemma_between(full, rest, ((int64_t)all + 1) * (5 << 26));
            lemma_last(full, all, velocity);
        } */
    /* ... so that braking harder by one unit in the last `velocity` of them ends at rest. */
    return rest - (int64_t)velocity * (velocity + 1) / 2;
}

/* The stop of a joint that ends up moving forward, at `spare` >= 0, when it lets go of its acceleration. */
/*@ requires \valid_read(limits) && safety_good(*limits);
    requires -limits->max_acceleration <= acceleration <= limits->max_acceleration;
    requires -(5 << 26) <= velocity <= 5 << 26 && 0 <= spare <= 1 << 30;
    assigns \nothing;
    ensures -(1 << 60) <= limits->max_acceleration * \result.rest <= 1 << 60;
    ensures -(1 << 59) <= \result.rest <= 1 << 59;
    ensures -(9 << 50) <= \result.turn <= 0;
*/
static safety_path stop_forward(const safety_limits *limits, int32_t velocity, int32_t acceleration, int32_t spare)
{
    const int32_t full = limits->max_acceleration;
    leg moved = ramp(limits, velocity, acceleration, spare);
    const int32_t hold = hold_ticks(limits, moved.velocity);
    moved.path.rest += held(full, moved.velocity, hold);
    moved.path.rest += release(limits, moved.velocity - hold * full);
    return moved.path;
}

safety_path safety_stop(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    const int32_t released = safety_released(limits, velocity, acceleration);
    const int32_t side = safety_sign(released);
    const safety_path path = stop_forward(limits, side * velocity, side * acceleration, side * released);
    return (safety_path){side * path.rest, side * path.turn};
}
