/* Safety limiter of one joint: position, velocity, acceleration and jerk, in integers.
 *
 * Time is a number of ticks of one fixed length. A state holds the position in units of 2^-32 of the joint's own unit
 * (radians), the velocity in units a tick and the acceleration in units a tick a tick; one tick is exactly
 *
 *     acceleration' = acceleration + jerk     velocity' = velocity + acceleration'     position' = position + velocity'
 *
 * so nothing is ever rounded, and every machine computes the same bits.
 *
 * The brake is the law that brings any state to velocity = acceleration = 0 as hard as the limits allow (brake.h). A
 * state is admissible when it is within all limits and its brake stays within them. A step only ever goes to an
 * admissible state or takes one tick of the brake, which leads from an admissible state to an admissible one: from
 * such a state no target can lead across a limit, and stopping within the limits is possible at any time.
 *
 * C99, pure, no floating point, no allocation. Floating point is turned into these integers once, in units.h.
 */
#ifndef EDGEARM_SAFETY_LIMITER_H
#define EDGEARM_SAFETY_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Made by safety_limits_from (units.h), which also proves that no sum or product below can overflow. */
typedef struct {
    int64_t lower;
    int64_t upper;
    int32_t max_velocity;
    int32_t max_acceleration;
    int32_t max_jerk;
    int32_t release; /* velocity lost from the first tick at max_acceleration until the brake has let go of it */
} safety_limits;

/* What safety_limits_from promises; `ticks` are those of the ramp from max_acceleration to none. */
/*@ predicate safety_sound(safety_limits limits, integer ticks) =
      -(1 << 40) <= limits.lower <= 1 << 40 && -(1 << 40) <= limits.upper <= 1 << 40 &&
      16 <= limits.max_velocity <= 1 << 27 &&
      16 <= limits.max_acceleration <= 1 << 26 &&
      16 <= limits.max_jerk <= 2 * limits.max_acceleration &&
      ticks * limits.max_jerk <= limits.max_acceleration < (ticks + 1) * limits.max_jerk &&
      0 <= ticks < 1024 && limits.max_acceleration * (ticks + 1) <= 1 << 27 &&
      2 * limits.release == 2 * limits.max_acceleration * (ticks + 1) - limits.max_jerk * (ticks * (ticks + 1));

    predicate safety_good(safety_limits limits) =
      safety_sound(limits, limits.max_acceleration / limits.max_jerk);

    // Twice the velocity still gained while an acceleration of x >= 0 goes to zero: (x - jerk) + (x - 2 jerk) + ...
    logic integer safety_gained(integer jerk, integer x) = (x / jerk) * (2 * x - jerk * (x / jerk + 1));

    // Velocity and acceleration within their limits, now and once the acceleration has gone to zero.
    predicate safety_steady(safety_limits limits, integer velocity, integer acceleration) =
      -limits.max_velocity <= velocity <= limits.max_velocity &&
      -limits.max_acceleration <= acceleration <= limits.max_acceleration &&
      (acceleration >= 0 ==> safety_gained(limits.max_jerk, acceleration) <= 2 * (limits.max_velocity - velocity)) &&
      (acceleration <= 0 ==> safety_gained(limits.max_jerk, -acceleration) <= 2 * (limits.max_velocity + velocity));
*/

typedef struct {
    int64_t position;
    int32_t velocity;
    int32_t acceleration;
} safety_state;

/*@ // Where an acceleration may lead: within all limits but those on the position.
    predicate safety_leads(safety_limits limits, integer velocity, integer acceleration, integer x) =
      -limits.max_acceleration <= x <= limits.max_acceleration &&
      acceleration - limits.max_jerk <= x <= acceleration + limits.max_jerk &&
      (x >= 0 ==> 2 * x + safety_gained(limits.max_jerk, x) <= 2 * (limits.max_velocity - velocity)) &&
      (x <= 0 ==> -2 * x + safety_gained(limits.max_jerk, -x) <= 2 * (limits.max_velocity + velocity));

    // One tick within all limits but those on the position.
    predicate safety_moved(safety_limits limits, safety_state from, safety_state to) =
      safety_steady(limits, to.velocity, to.acceleration) &&
      from.acceleration - limits.max_jerk <= to.acceleration <= from.acceleration + limits.max_jerk &&
      to.velocity == from.velocity + to.acceleration && to.position == from.position + to.velocity;
*/

/* Where the joint should be at the end of the tick, and how far the target moves in a tick. A target that moved by
 * `velocity` to `position` from where the joint is now is followed exactly when the limits allow it. */
typedef struct {
    int64_t position;
    int64_t velocity;
} safety_target;

/* The limits that a step touched, as bits. A limit that is active is not a fault. */
enum safety_flag {
    SAFETY_POSITION = 1, /* target outside the position limits, or not followed to be able to stop before one */
    SAFETY_VELOCITY = 2,
    SAFETY_ACCELERATION = 4,
    SAFETY_JERK = 8,
    SAFETY_REJECTED = 16 /* not a state that this limiter makes from these limits: it was left as it was */
};

/* At rest at `position`, which may lie outside the position limits: the joint may then only come back. */
safety_state safety_at_rest(int64_t position);

/* Within velocity, acceleration and jerk limits now and during the brake: what a step accepts. */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid_read(state);
    assigns \nothing;
    ensures \result <==> -(1 << 40) <= state->position <= 1 << 40 &&
        safety_steady(*limits, state->velocity, state->acceleration);
*/
bool safety_plausible(const safety_limits *limits, const safety_state *state);

/* Plausible, and within the position limits now and during the brake. */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid_read(state);
    assigns \nothing;
*/
bool safety_admissible(const safety_limits *limits, const safety_state *state);

/* Moves `state` toward `target` by one tick; returns the safety_flag bits. */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid(state) && \valid_read(target);
    requires \separated(limits, state) && \separated(target, state);
    assigns *state;
    ensures *state == \old(*state) || safety_moved(*limits, \old(*state), *state);
    ensures -(1 << 40) <= \old(state->position) <= 1 << 40 &&
        safety_steady(*limits, \old(state->velocity), \old(state->acceleration)) &&
        -(1 << 40) <= target->position <= 1 << 40 && -(1 << 40) <= target->velocity <= 1 << 40 ==>
            safety_moved(*limits, \old(*state), *state);
    ensures (\result & SAFETY_REJECTED) == 0 ==>
        -(1 << 40) <= target->position <= 1 << 40 && -(1 << 40) <= target->velocity <= 1 << 40;
*/
unsigned safety_step(const safety_limits *limits, safety_state *state, const safety_target *target);

/* `ticks` steps toward a target that moves on at its velocity from tick to tick; returns the bits of all of them. */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid(state) && \valid_read(target);
    requires \separated(limits, state) && \separated(target, state);
    assigns *state;
    ensures *state == \old(*state) || safety_steady(*limits, state->velocity, state->acceleration);
*/
unsigned safety_advance(const safety_limits *limits, safety_state *state, const safety_target *target, uint32_t ticks);

/* One tick of the brake; returns the safety_flag bits. */
/*@ requires \valid_read(limits) && safety_good(*limits) && \valid(state) && \separated(limits, state);
    assigns *state;
    ensures *state == \old(*state) || safety_moved(*limits, \old(*state), *state);
    ensures -(1 << 40) <= \old(state->position) <= 1 << 40 &&
        safety_steady(*limits, \old(state->velocity), \old(state->acceleration)) ==>
            safety_moved(*limits, \old(*state), *state);
*/
unsigned safety_brake(const safety_limits *limits, safety_state *state);

#ifdef __cplusplus
}
#endif

#endif
