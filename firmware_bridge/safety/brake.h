/* The brake of the safety limiter: the law, and in closed form where it ends. Inside the limiter only.
 *
 *     acceleration        ramp    hold        release
 *         0 ─────┐                              ┌────── velocity = 0
 *                 ╲                            ╱
 *     -max         ╲__________________________╱
 *
 * With ramp(a) the velocity gained while a goes to zero at max_jerk, a joint with velocity + ramp(acceleration) >= 0
 * takes the lowest next acceleration x within the limits for which velocity + x + ramp(x) >= 0: the hardest from which
 * it can still let go in time. So it ends with velocity and acceleration exactly zero. Otherwise all is mirrored.
 */
#ifndef EDGEARM_SAFETY_BRAKE_H
#define EDGEARM_SAFETY_BRAKE_H

#include "limiter.h"

/* Displacements from the present position. */
typedef struct {
    int64_t rest; /* where the brake ends */
    int64_t turn; /* farthest point on the other side, where a joint that already reverses turns round; else 0 */
} safety_path;

/* -1 for negative, 1 otherwise. */
/*@ assigns \nothing;
    ensures \result == (value < 0 ? -1 : 1);
*/
int32_t safety_sign(int64_t value);

/*@ requires -(1 << 61) <= a <= 1 << 61 && -(1 << 61) <= b <= 1 << 61;
    assigns \nothing;
    ensures \result == \max(a, b);
*/
int64_t safety_larger(int64_t a, int64_t b);

/*@ requires -(1 << 61) <= a <= 1 << 61 && -(1 << 61) <= b <= 1 << 61;
    assigns \nothing;
    ensures \result == \min(a, b);
*/
int64_t safety_smaller(int64_t a, int64_t b);

/* Velocity once the acceleration has gone to zero at max_jerk. */
/*@ requires \valid_read(limits) && safety_good(*limits);
    requires -limits->max_acceleration <= acceleration <= limits->max_acceleration;
    requires -(5 << 26) <= velocity <= 5 << 26;
    assigns \nothing;
    ensures -(1 << 30) <= \result <= 1 << 30;
    ensures acceleration >= 0 ==> 2 * (\result - velocity) == safety_gained(limits->max_jerk, acceleration);
    ensures acceleration <= 0 ==> 2 * (velocity - \result) == safety_gained(limits->max_jerk, -acceleration);
*/
int32_t safety_released(const safety_limits *limits, int32_t velocity, int32_t acceleration);

/* Hardest acceleration, taken now, from which letting go at max_jerk changes the velocity by `speed` >= 0 at most. */
/*@ requires \valid_read(limits) && safety_good(*limits);
    requires -(5 << 27) <= speed <= 5 << 27;
    assigns \nothing;
    ensures speed < 0 ==> \result == speed;
    ensures speed >= 0 ==> 0 <= \result <= speed;
    ensures speed >= 0 ==> \let ticks = \result / limits->max_jerk;
        0 <= 2 * speed - (ticks + 1) * (2 * \result - ticks * limits->max_jerk) < 2 * (ticks + 1);
*/
int32_t safety_hardest(const safety_limits *limits, int32_t speed);

/* The brake's next acceleration. */
/*@ requires \valid_read(limits) && safety_good(*limits);
    requires -limits->max_acceleration <= acceleration <= limits->max_acceleration;
    requires -(5 << 26) <= velocity <= 5 << 26;
    assigns \nothing;
    ensures -limits->max_acceleration <= \result <= limits->max_acceleration;
    ensures safety_steady(*limits, velocity, acceleration) ==>
        safety_leads(*limits, velocity, acceleration, \result);
*/
int32_t safety_braking(const safety_limits *limits, int32_t velocity, int32_t acceleration);

/*@ requires \valid_read(limits) && safety_good(*limits);
    requires -limits->max_acceleration <= acceleration <= limits->max_acceleration;
    requires -(5 << 26) <= velocity <= 5 << 26;
    assigns \nothing;
    ensures -(1 << 60) <= limits->max_acceleration * \result.rest <= 1 << 60;
    ensures -(1 << 59) <= \result.rest <= 1 << 59;
    ensures -(9 << 50) <= \result.turn <= 9 << 50;
*/
safety_path safety_stop(const safety_limits *limits, int32_t velocity, int32_t acceleration);

#endif
