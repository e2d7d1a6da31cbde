#include "limiter.h"

#include <stdlib.h>

#include "brake.h"
#include "lemmas.h"

/* Positions beyond this are refused: differences of two of them stay far from overflow. */
#define FARTHEST ((int64_t)1 << 40)

/* Accelerations that keep the next state plausible; never empty for a plausible state. */
typedef struct {
    int64_t low;
    int64_t high;
} span;

/* What a step has checked of the state, and what it pursues. */
/*@ predicate within(safety_limits limits, safety_state state) =
      -(1 << 40) <= state.position <= 1 << 40 &&
      -limits.max_velocity <= state.velocity <= limits.max_velocity &&
      -limits.max_acceleration <= state.acceleration <= limits.max_acceleration;

    predicate followable(safety_limits limits, safety_target target) =
      -(1 << 40) <= target.position <= 1 << 40 &&
      -limits.max_velocity <= target.velocity <= limits.max_velocity;

    predicate spans(safety_limits limits, span range) =
      -limits.max_acceleration <= range.low <= range.high <= limits.max_acceleration;

    // Whatever lies between the ends leads within the limits.
    predicate leading(safety_limits limits, safety_state state, span range) =
      spans(limits, range) && state.acceleration - limits.max_jerk <= range.low &&
      range.high <= state.acceleration + limits.max_jerk &&
      (range.high >= 0 ==>
        2 * range.high + safety_gained(limits.max_jerk, range.high) <= 2 * (limits.max_velocity - state.velocity)) &&
      (range.low <= 0 ==>
        -2 * range.low + safety_gained(limits.max_jerk, -range.low) <= 2 * (limits.max_velocity + state.velocity));
*/

/*@ requires -(1 << 61) <= value <= 1 << 61 && -(1 << 61) <= lower <= 1 << 61 && -(1 << 61) <= upper <= 1 << 61;
    assigns \nothing;
    ensures \result == \min(\max(value, lower), upper);
*/
static int64_t clamp(int64_t value, int64_t lower, int64_t upper)
{
    return safety_smaller(safety_larger(value, lower), upper);
}

/*@ requires \valid_read(limits) && safety_good(*limits) && \valid_read(state);
    requires safety_steady(*limits, state->velocity, state->acceleration);
    assigns \nothing;
    ensures leading(*limits, *state, \result);
*/
static span reachable(const safety_limits *limits, const safety_state *state)
{
    const int64_t fastest = safety_hardest(limits, limits->max_velocity - state->velocity);
    const int64_t slowest = -safety_hardest(limits, limits->max_velocity + state->velocity);
    const int64_t most = safety_smaller(fastest, limits->max_acceleration);
    const int64_t least = safety_larger(slowest, -limits->max_acceleration);
    const span range = {safety_larger(least, (int64_t)state->acceleration - limits->max_jerk),
                        safety_smaller(most, (int64_t)state->acceleration + limits->max_jerk)};
    /*@ ghost const int32_t jerk = limits->max_jerk;
        lemma_gained(jerk, fastest);
        lemma_gained(jerk, -slowest);
        if (state->acceleration >= jerk) {
            lemma_tick(jerk, state->acceleration);
            lemma_most(jerk, limits->max_velocity - state->velocity, state->acceleration - jerk, fastest);
        }
        if (state->acceleration <= -jerk) {
            lemma_tick(jerk, -state->acceleration);
            lemma_most(jerk, limits->max_velocity + state->velocity, -state->acceleration - jerk, -slowest);
        }
        if (range.high >= 0) {
            lemma_harder(jerk, range.high, fastest);
        }
        if (range.low <= 0) {
            lemma_harder(jerk, -range.low, -slowest);
        } */
    return range;
}

/*@ requires \valid_read(state) && -(1 << 26) <= acceleration <= 1 << 26;
    requires -(1 << 41) <= state->position <= 1 << 41 && -(1 << 27) <= state->velocity <= 1 << 27;
    assigns \nothing;
    ensures \result.acceleration == acceleration;
    ensures \result.velocity == state->velocity + acceleration;
    ensures \result.position == state->position + \result.velocity;
*/
static safety_state next(const safety_state *state, int64_t acceleration)
{
    safety_state moved = *state;
    moved.acceleration = (int32_t)acceleration;
    moved.velocity += moved.acceleration;
    moved.position += moved.velocity;
    return moved;
}

/* Where the joint would be relative to the target, had it taken `acceleration` and then braked in the target's frame.
 */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid_read(state) && \valid_read(target);
    requires within(*limits, *state) && followable(*limits, *target);
    requires -limits->max_acceleration <= acceleration <= limits->max_acceleration;
    assigns \nothing;
    ensures -(1 << 60) <= \result <= 1 << 60;
    ensures -(1 << 60) <= limits->max_acceleration *
        (\result - (state->position + state->velocity + acceleration - target->position)) <= 1 << 60;
*/
static int64_t miss(const safety_limits *limits, const safety_state *state, const safety_target *target,
                    int64_t acceleration)
{
    const safety_state moved = next(state, acceleration);
    const int32_t closing = moved.velocity - (int32_t)target->velocity;
    return moved.position + safety_stop(limits, closing, moved.acceleration).rest - target->position;
}

/* As much of `whole` as `part` is of `of`. */
/*@ requires 0 <= part <= of && 1 <= of && -(3 << 61) <= whole * of <= 3 << 61;
    assigns \nothing;
    ensures \min(whole, 0) <= \result <= \max(whole, 0);
*/
static int64_t share(int64_t whole, int64_t part, int64_t of)
{
    //@ ghost lemma_share(whole, part, of);
    return whole * part / of;
}

/* The acceleration that brings the joint to the target and, in the target's frame, to rest there: it makes the miss
 * smaller without changing its side, which the brake of that frame leaves as it is. */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid_read(state) && \valid_read(target);
    requires within(*limits, *state) && followable(*limits, *target) && spans(*limits, range);
    assigns \nothing;
    ensures range.low <= \result <= range.high;
*/
static int64_t pursue(const safety_limits *limits, const safety_state *state, const safety_target *target, span range)
{
    const int64_t ahead = target->position - state->position;
    const int64_t landing = clamp(ahead - state->velocity, range.low, range.high);
    if (ahead - state->velocity == landing) {
        if (ahead == target->velocity || miss(limits, state, target, landing) == 0) {
            return landing;
        }
    }
    const int32_t closing = state->velocity - (int32_t)target->velocity;
    const int64_t braking = clamp(safety_braking(limits, closing, state->acceleration), range.low, range.high);
    const int64_t missed = miss(limits, state, target, braking);
    const int64_t end = safety_sign(missed) == 1 ? range.low : range.high; /* short of the target: faster */
    const int64_t gain = llabs(miss(limits, state, target, end) - missed);
    if (gain == 0) { /* the brake is the end */
        return braking;
    }
    /*@ ghost lemma_between(limits->max_acceleration, end - braking, 1 << 27);
        lemma_gain(limits->max_acceleration, end - braking, gain); */
    /* The miss grows more than linearly away from the brake, so the chord stays on this side of the root. */
    const int64_t chord = braking + share(end - braking, safety_smaller(llabs(missed), gain), gain);
    const int64_t then = miss(limits, state, target, chord);
    return llabs(missed) == llabs(then) + llabs(missed - then) ? chord : braking;
}

/* Within the position limits, or, of a joint outside them, no farther out than where it comes from. */
/*@ requires \valid_read(limits) && safety_good(*limits) && -(1 << 60) <= from <= 1 << 60;
    assigns \nothing;
    ensures \result <==> \min(limits->lower, from) <= to <= \max(limits->upper, from);
*/
static bool no_farther(const safety_limits *limits, int64_t from, int64_t to)
{
    return safety_smaller(limits->lower, from) <= to && to <= safety_larger(limits->upper, from);
}

/*@ requires \valid_read(limits) && safety_good(*limits) && \valid_read(state);
    requires -(1 << 41) <= state->position <= 1 << 41 && -(1 << 41) <= from <= 1 << 41;
    requires -(5 << 26) <= state->velocity <= 5 << 26;
    requires -limits->max_acceleration <= state->acceleration <= limits->max_acceleration;
    assigns \nothing;
*/
static bool stops_inside(const safety_limits *limits, const safety_state *state, int64_t from)
{
    const safety_path path = safety_stop(limits, state->velocity, state->acceleration);
    const int64_t turn = state->position + path.turn;
    return no_farther(limits, from, state->position) && no_farther(limits, state->position, turn) &&
           no_farther(limits, turn, state->position + path.rest);
}

safety_state safety_at_rest(int64_t position)
{
    return (safety_state){position, 0, 0};
}

/*@ requires 0 <= bound <= 1 << 61;
    assigns \nothing;
    ensures \result <==> -bound <= value <= bound;
*/
static bool bounded(int64_t value, int64_t bound)
{
    return -bound <= value && value <= bound;
}

bool safety_plausible(const safety_limits *limits, const safety_state *state)
{
    /*@ ghost if (-limits->max_acceleration <= state->acceleration && state->acceleration <= limits->max_acceleration) {
            lemma_gained(limits->max_jerk, state->acceleration < 0 ? -state->acceleration : state->acceleration);
        } */
    return bounded(state->position, FARTHEST) && bounded(state->velocity, limits->max_velocity) &&
           bounded(state->acceleration, limits->max_acceleration) &&
           bounded(safety_released(limits, state->velocity, state->acceleration), limits->max_velocity);
}

bool safety_admissible(const safety_limits *limits, const safety_state *state)
{
    return safety_plausible(limits, state) && limits->lower <= state->position && state->position <= limits->upper &&
           stops_inside(limits, state, state->position);
}

/* Takes the acceleration; names the limits that it lies on. */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid(state) && \separated(limits, state);
    requires within(*limits, *state) && safety_leads(*limits, state->velocity, state->acceleration, acceleration);
    assigns *state;
    ensures safety_moved(*limits, \old(*state), *state);
*/
static unsigned take(const safety_limits *limits, safety_state *state, int64_t acceleration)
{
    //@ ghost lemma_gained(limits->max_jerk, acceleration < 0 ? -acceleration : acceleration);
    unsigned flags = llabs(acceleration - state->acceleration) == limits->max_jerk ? SAFETY_JERK : 0;
    if (llabs(acceleration) == limits->max_acceleration) {
        flags |= SAFETY_ACCELERATION;
    }
    *state = next(state, acceleration);
    if (abs(safety_released(limits, state->velocity, state->acceleration)) == limits->max_velocity) {
        flags |= SAFETY_VELOCITY;
    }
    return flags;
}

/*@ ghost
    /@ requires \valid_read(limits) && safety_good(*limits) && \valid_read(state);
       requires within(*limits, *state) && leading(*limits, *state, range) && range.low <= x <= range.high;
       assigns \nothing;
       ensures safety_leads(*limits, state->velocity, state->acceleration, x);
    @/
    static void lemma_leads(const safety_limits *limits, const safety_state *state, span range, int64_t x) {
        if (x >= 0) {
            lemma_harder(limits->max_jerk, x, range.high);
        }
        if (x <= 0) {
            lemma_harder(limits->max_jerk, -x, -range.low);
        }
    }
*/

/*@ requires \valid_read(limits) && safety_good(*limits) && \valid(state) && \valid_read(target);
    requires \separated(limits, state) && \separated(target, state);
    requires within(*limits, *state) && followable(*limits, *target);
    requires safety_steady(*limits, state->velocity, state->acceleration);
    assigns *state;
    ensures safety_moved(*limits, \old(*state), *state);
*/
static unsigned follow(const safety_limits *limits, safety_state *state, const safety_target *target)
{
    const span range = reachable(limits, state);
    const int64_t wish = pursue(limits, state, target, range);
    //@ ghost lemma_leads(limits, state, range, wish);
    const safety_state wished = next(state, wish);
    if (stops_inside(limits, &wished, state->position)) {
        return take(limits, state, wish);
    }
    /* Where the target leads too far, the joint pursues the limit instead, and comes to rest there. */
    const int64_t rest = wished.position + safety_stop(limits, wished.velocity, wished.acceleration).rest;
    const safety_target limit = {clamp(rest, limits->lower, limits->upper), 0};
    const int64_t less = pursue(limits, state, &limit, range);
    //@ ghost lemma_leads(limits, state, range, less);
    const safety_state yielding = next(state, less);
    if (stops_inside(limits, &yielding, state->position)) {
        return SAFETY_POSITION | take(limits, state, less);
    }
    return SAFETY_POSITION | safety_brake(limits, state);
}

unsigned safety_step(const safety_limits *limits, safety_state *state, const safety_target *target)
{
    if (!safety_plausible(limits, state) || !bounded(target->position, FARTHEST) ||
        !bounded(target->velocity, FARTHEST)) {
        return SAFETY_REJECTED;
    }
    const int64_t position = clamp(target->position, limits->lower, limits->upper);
    const int64_t velocity = clamp(target->velocity, -limits->max_velocity, limits->max_velocity);
    if (position != target->position) {
        return SAFETY_POSITION | follow(limits, state, &(safety_target){position, 0});
    }
    const unsigned flags = velocity == target->velocity ? 0 : SAFETY_VELOCITY;
    return flags | follow(limits, state, &(safety_target){position, velocity});
}

unsigned safety_advance(const safety_limits *limits, safety_state *state, const safety_target *target, uint32_t ticks)
{
    safety_target moving = *target;
    unsigned flags = 0;
    /*@ loop invariant *state == \at(*state, Pre) ||
            safety_steady(*limits, state->velocity, state->acceleration);
        loop assigns left, flags, moving, *state;
        loop variant left;
    */
    for (uint32_t left = ticks; left != 0; --left) {
        const unsigned taken = safety_step(limits, state, &moving);
        flags |= taken;
        if ((taken & SAFETY_REJECTED) != 0) { /* and so never again: nothing moves any more */
            return flags;
        }
        moving.position += moving.velocity;
    }
    return flags;
}

unsigned safety_brake(const safety_limits *limits, safety_state *state)
{
    if (!safety_plausible(limits, state)) {
        return SAFETY_REJECTED;
    }
    return take(limits, state, safety_braking(limits, state->velocity, state->acceleration));
}
