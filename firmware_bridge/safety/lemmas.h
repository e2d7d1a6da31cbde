/* Arithmetic for the proofs of brake.c and limiter.c (docs/safety.md): no code. Each of these facts is a product or a
 * quotient of unknowns, proved alone, and said where it is needed; all that is left there is sums. */
#ifndef EDGEARM_SAFETY_LEMMAS_H
#define EDGEARM_SAFETY_LEMMAS_H

#include "limiter.h"

/*@ ghost
    /@ requires a <= b && 0 <= d;
       assigns \nothing;
       ensures a * d <= b * d;
    @/
    static void lemma_monotone(int64_t a, int64_t b, int64_t d) { }

    /@ requires 0 <= d && -b <= x <= b;
       assigns \nothing;
       ensures -(d * b) <= d * x <= d * b;
    @/
    static void lemma_between(int64_t d, int64_t x, int64_t b) { }

    /@ requires 0 <= n && 1 <= d;
       assigns \nothing;
       ensures 0 <= n / d <= n && (n / d) * d <= n < (n / d) * d + d;
    @/
    static void lemma_quotient(int64_t n, int64_t d) { }

    /@ requires 1 <= full && 1 <= jerk && 0 <= ramp && full < (ramp + 1) * jerk && full * (ramp + 1) <= 1 << 27;
       requires 0 <= ticks && ticks * jerk <= 2 * full;
       assigns \nothing;
       ensures 0 <= full * ticks <= 1 << 28;
    @/
    static void lemma_ramp(int64_t full, int64_t jerk, int64_t ramp, int64_t ticks) {
        /@ assert ticks < 2 * (ramp + 1); @/
    }

    /@ requires 0 <= jerk && 0 <= full && 0 <= ramp && ramp * jerk <= full && full * (ramp + 1) <= 1 << 27;
       requires 2 * release == 2 * full * (ramp + 1) - jerk * (ramp * (ramp + 1));
       assigns \nothing;
       ensures 0 <= release <= 1 << 27;
    @/
    static void lemma_release(int64_t full, int64_t jerk, int64_t ramp, int64_t release) {
        /@ assert (ramp * jerk) * (ramp + 1) <= full * (ramp + 1); @/
    }

    /@ requires 1 <= jerk <= 1 << 27 && 1 <= full <= 1 << 26 && 0 <= ramp <= 1 << 10 && full < (ramp + 1) * jerk;
       requires (ramp + 1) * jerk <= 1 << 28 && ramp < ticks <= 1 << 29;
       assigns \nothing;
       ensures (ticks + 1) * (ticks * jerk) >= (ramp + 1) * (2 * full - ramp * jerk);
    @/
    static void lemma_longer(int64_t full, int64_t jerk, int64_t ramp, int64_t ticks) {
        lemma_monotone(ramp + 1, ticks, jerk);
        lemma_monotone(ramp + 2, ticks + 1, (ramp + 1) * jerk);
        lemma_monotone((ramp + 1) * jerk, ticks * jerk, ticks + 1);
        lemma_monotone(2 * full - ramp * jerk, (ramp + 2) * jerk, ramp + 1);
    }

    /@ requires 1 <= jerk <= 1 << 27 && 1 <= full <= 1 << 26 && 0 <= ramp <= 1 << 10;
       requires ramp * jerk <= full < (ramp + 1) * jerk;
       requires 0 <= ticks <= 1 << 29 && ticks * jerk <= taken < (ticks + 1) * jerk;
       requires (ticks + 1) * (2 * taken - ticks * jerk) < (ramp + 1) * (2 * full - ramp * jerk);
       assigns \nothing;
       ensures taken <= full;
    @/
    static void lemma_released(int64_t full, int64_t jerk, int64_t ramp, int64_t taken, int64_t ticks) {
        if (ticks > ramp) {
            lemma_longer(full, jerk, ramp, ticks);
            /@ assert (ticks + 1) * (2 * taken - ticks * jerk) >= (ticks + 1) * (ticks * jerk); @/
        }
        /@ assert ticks <= ramp; @/
    }

    /@ requires 1 <= jerk && 1 <= parts && 2 * ramp == jerk * (parts * (parts - 1));
       requires ramp <= speed < ramp + parts * jerk;
       requires taken * parts <= speed + ramp < taken * parts + parts;
       assigns \nothing;
       ensures (parts - 1) * jerk <= taken < parts * jerk;
       ensures taken <= speed;
       ensures 0 <= 2 * speed - parts * (2 * taken - (parts - 1) * jerk) < 2 * parts;
    @/
    static void lemma_hardest(int64_t jerk, int64_t parts, int64_t ramp, int64_t speed, int64_t taken) {
        /@ assert parts * (taken + 1) > parts * ((parts - 1) * jerk); @/
        /@ assert parts * taken < parts * (parts * jerk); @/
        /@ assert taken <= speed; @/
    }

    /@ requires ticks == parts - 1 && 0 <= 2 * speed - parts * (2 * taken - (parts - 1) * jerk) < 2 * parts;
       assigns \nothing;
       ensures 0 <= 2 * speed - (ticks + 1) * (2 * taken - ticks * jerk) < 2 * (ticks + 1);
    @/
    static void lemma_renamed(int64_t jerk, int64_t parts, int64_t speed, int64_t taken, int64_t ticks) { }

    /@ requires 1 <= d && 0 <= q && q * d <= n < q * d + d;
       assigns \nothing;
       ensures n / d == q;
    @/
    static void lemma_division(int64_t n, int64_t d, int64_t q) { }

    /@ requires 0 <= full && 0 <= last <= ticks <= 1 << 24 && full * ticks <= 1 << 28;
       assigns \nothing;
       ensures 0 <= full * (last * (last + 1) / 2) <= 1 << 53;
       ensures 0 <= last * (last + 1) <= 1 << 49;
       ensures 0 <= last * (last + 1) / 2 <= 1 << 48;
    @/
    static void lemma_last(int64_t full, int64_t ticks, int64_t last) {
        /@ assert last * (last + 1) <= ticks * ((1 << 24) + 1); @/
        /@ assert 0 <= last * (last + 1) / 2 <= last * (last + 1) <= ticks * ((1 << 24) + 1); @/
        lemma_monotone(last * (last + 1) / 2, ticks * ((1 << 24) + 1), full);
    }

    /@ requires 0 <= part <= of && 1 <= of;
       assigns \nothing;
       ensures \min(whole * of, 0) <= whole * part <= \max(whole * of, 0);
       ensures \min(whole, 0) <= whole * part / of <= \max(whole, 0);
    @/
    static void lemma_share(int64_t whole, int64_t part, int64_t of) { }

    /@ requires 0 <= full && -2 * full <= whole <= 2 * full && 0 <= gain && full * gain <= 3 << 60;
       assigns \nothing;
       ensures -(3 << 61) <= whole * gain <= 3 << 61;
    @/
    static void lemma_gain(int64_t full, int64_t whole, int64_t gain) { }

    /@ requires 0 <= t;
       assigns \nothing;
       ensures \let twice = t * (2 * x - jerk * (t + 1)); twice == 2 * (twice / 2);
    @/
    static void lemma_even(int64_t jerk, int64_t x, int64_t t) {
        /@ assert t == 2 * (t / 2) ==> t * (2 * x - jerk * (t + 1)) == 2 * ((t / 2) * (2 * x - jerk * (t + 1))); @/
        /@ assert t == 2 * (t / 2) + 1 ==> t * (2 * x - jerk * (t + 1)) == 2 * (t * (x - jerk * (t / 2 + 1))); @/
    }

    /@ requires 1 <= jerk && 0 <= t && 0 <= s && t * jerk <= x < (t + 1) * jerk;
       assigns \nothing;
       ensures (s + 1) * (2 * x - s * jerk) <= (t + 1) * (2 * x - t * jerk);
    @/
    static void lemma_peak(int64_t jerk, int64_t x, int64_t t, int64_t s) {
        /@ assert (t + 1) * (2 * x - t * jerk) - (s + 1) * (2 * x - s * jerk)
                  == (t - s) * (2 * x - (t + s + 1) * jerk); @/
        /@ assert s < t ==> (s + 1) * jerk <= t * jerk; @/
        /@ assert s > t ==> (t + 1) * jerk <= s * jerk; @/
    }

    /@ requires 1 <= jerk && 0 <= x <= 1 << 30;
       assigns \nothing;
       ensures 0 <= safety_gained(jerk, x);
       ensures 2 * x + safety_gained(jerk, x) == (x / jerk + 1) * (2 * x - (x / jerk) * jerk);
    @/
    static void lemma_gained(int64_t jerk, int64_t x) {
        lemma_quotient(x, jerk);
        /@ assert x >= jerk ==> x / jerk >= 1; @/
        /@ assert (x / jerk) * (2 * x - jerk * (x / jerk + 1)) >= 0; @/
    }

    /@ requires 1 <= jerk && 0 <= x <= y <= 1 << 30;
       assigns \nothing;
       ensures 2 * x + safety_gained(jerk, x) <= 2 * y + safety_gained(jerk, y);
    @/
    static void lemma_harder(int64_t jerk, int64_t x, int64_t y) {
        lemma_gained(jerk, x);
        lemma_gained(jerk, y);
        lemma_quotient(x, jerk);
        lemma_quotient(y, jerk);
        lemma_peak(jerk, y, y / jerk, x / jerk);
        lemma_monotone(2 * x, 2 * y, x / jerk + 1);
    }

    /@ requires 1 <= d && d * x < 0;
       assigns \nothing;
       ensures x < 0;
    @/
    static void lemma_negative(int64_t d, int64_t x) { }

    /@ requires 1 <= jerk && 0 <= x <= 1 << 30 && 0 <= most <= 1 << 30;
       requires 2 * x + safety_gained(jerk, x) <= 2 * speed;
       requires 2 * speed < 2 * most + safety_gained(jerk, most) + 2 * (most / jerk + 1);
       assigns \nothing;
       ensures x <= most;
    @/
    static void lemma_most(int64_t jerk, int64_t speed, int64_t x, int64_t most) {
        lemma_gained(jerk, x);
        lemma_gained(jerk, most);
        lemma_quotient(x, jerk);
        lemma_quotient(most, jerk);
        lemma_peak(jerk, x, x / jerk, most / jerk);
        lemma_negative(most / jerk + 1, x - most - 1);
    }

    /@ requires fewer == t - 1;
       assigns \nothing;
       ensures (fewer + 1) * (2 * (x - jerk) - fewer * jerk) == t * (2 * x - jerk * (t + 1));
    @/
    static void lemma_fewer(int64_t jerk, int64_t x, int64_t t, int64_t fewer) { }

    /@ requires 1 <= jerk <= x <= 1 << 30;
       assigns \nothing;
       ensures 2 * (x - jerk) + safety_gained(jerk, x - jerk) == safety_gained(jerk, x);
    @/
    static void lemma_tick(int64_t jerk, int64_t x) {
        lemma_quotient(x, jerk);
        lemma_monotone(1, x / jerk, jerk);
        lemma_division(x - jerk, jerk, x / jerk - 1);
        lemma_gained(jerk, x - jerk);
        lemma_fewer(jerk, x, x / jerk, (x - jerk) / jerk);
    }

    /@ requires 1 <= jerk <= 1 << 27 && 1 <= full <= 1 << 26 && -full <= acceleration <= full;
       requires 0 <= most <= speed <= 5 << 26 && 2 * most + safety_gained(jerk, most) <= 2 * speed;
       requires 2 * speed < 2 * most + safety_gained(jerk, most) + 2 * (most / jerk + 1);
       requires acceleration <= 0 ==> safety_gained(jerk, -acceleration) <= 2 * speed;
       requires x == \max(\max(acceleration - jerk, -full), -most);
       assigns \nothing;
       ensures -full <= x <= full && acceleration - jerk <= x <= acceleration + jerk;
       ensures x > 0 ==> acceleration >= 0 && 2 * x + safety_gained(jerk, x) == safety_gained(jerk, acceleration);
       ensures x <= 0 ==> -2 * x + safety_gained(jerk, -x) <= 2 * speed;
       ensures x == 0 ==> safety_gained(jerk, x) == 0;
    @/
    static void lemma_braking(int64_t jerk, int64_t full, int64_t acceleration, int64_t speed, int64_t most,
                              int64_t x) {
        if (acceleration >= jerk) {
            lemma_tick(jerk, acceleration);
        }
        if (acceleration <= -jerk) {
            lemma_tick(jerk, -acceleration);
            lemma_most(jerk, speed, -acceleration - jerk, most);
        }
        if (x <= 0) {
            lemma_harder(jerk, -x, most);
        }
        lemma_quotient(0, jerk);
    }

    /@ requires \valid_read(limits) && safety_good(*limits);
       requires -limits->max_acceleration <= acceleration <= limits->max_acceleration;
       requires -(5 << 26) <= velocity <= 5 << 26 && speed == \max(velocity, 0);
       requires acceleration <= 0 ==> safety_gained(limits->max_jerk, -acceleration) <= 2 * velocity;
       requires 0 <= most <= speed && 2 * most + safety_gained(limits->max_jerk, most) <= 2 * speed;
       requires 2 * speed < 2 * most + safety_gained(limits->max_jerk, most) + 2 * (most / limits->max_jerk + 1);
       requires x == \max(\max(acceleration - limits->max_jerk, -limits->max_acceleration), -most);
       assigns \nothing;
       ensures safety_steady(*limits, velocity, acceleration) ==> safety_leads(*limits, velocity, acceleration, x);
    @/
    static void lemma_forward(const safety_limits *limits, int64_t velocity, int64_t acceleration, int64_t speed,
                              int64_t most, int64_t x) {
        lemma_braking(limits->max_jerk, limits->max_acceleration, acceleration, speed, most, x);
    }

    /@ requires safety_steady(*limits, -velocity, -acceleration) ==> safety_leads(*limits, -velocity, -acceleration, x);
       assigns \nothing;
       ensures safety_steady(*limits, velocity, acceleration) ==> safety_leads(*limits, velocity, acceleration, -x);
    @/
    static void lemma_mirrored(const safety_limits *limits, int64_t velocity, int64_t acceleration, int64_t x) { }
*/

#endif
