#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "laws.h"
#include "support.h"
#include "units.h"

#define UNITS 4294967296.0
#define TICK_S 0x1p-10 /* a power of two: what is asked for in units comes out in units, without rounding */

static const safety_physical so101 = {-1.91986, 1.91986, 3.0, 39.0, 3900.0};

static safety_verdict verdict(safety_physical physical, double tick_s, safety_limits *limits)
{
    memset(limits, 0x5a, sizeof *limits);
    const safety_limits untouched = *limits;
    const safety_verdict code = safety_limits_from(&physical, tick_s, limits);
    REQUIRE((code == SAFETY_LIMITS_OK) == (memcmp(limits, &untouched, sizeof untouched) != 0));
    return code;
}

/* Asked for in units; half a unit more than a whole one, so that only a bound itself decides. */
static safety_verdict in_units(double velocity, double acceleration, double jerk)
{
    safety_limits limits;
    const safety_physical physical = {-256.0, 256.0, velocity / TICK_S / UNITS, acceleration / TICK_S / TICK_S / UNITS,
                                      jerk / TICK_S / TICK_S / TICK_S / UNITS};
    return verdict(physical, TICK_S, &limits);
}

static void not_a_number_is_refused(size_t offset, safety_verdict code)
{
    const double bad[] = {NAN, INFINITY, -INFINITY, -1e300, 1e300};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        safety_physical physical = so101;
        safety_limits limits;
        memcpy((char *)&physical + offset, &bad[i], sizeof bad[i]);
        REQUIRE(verdict(physical, 0.001, &limits) == code);
    }
}

static void ends_are_refused_by_name(void)
{
    safety_limits limits;
    const double ticks[] = {NAN, INFINITY, -INFINITY, 0.0, -0.001, nextafter(1e-6, 0), nextafter(1.0, 2)};
    for (size_t i = 0; i < sizeof ticks / sizeof *ticks; ++i) {
        REQUIRE(verdict(so101, ticks[i], &limits) == SAFETY_BAD_TICK);
    }
    REQUIRE(verdict(so101, 1e-6, &limits) != SAFETY_BAD_TICK && verdict(so101, 1.0, &limits) != SAFETY_BAD_TICK);
    safety_physical physical = so101;
    physical.lower = -256.0;
    physical.upper = 256.0;
    REQUIRE(verdict(physical, 0.001, &limits) == SAFETY_LIMITS_OK);
    physical.lower = nextafter(-256.0, -300);
    REQUIRE(verdict(physical, 0.001, &limits) == SAFETY_BAD_LOWER);
    physical.lower = nextafter(256.0, 300);
    REQUIRE(verdict(physical, 0.001, &limits) == SAFETY_BAD_LOWER);
    physical.lower = 256.0;
    REQUIRE(verdict(physical, 0.001, &limits) == SAFETY_BAD_RANGE);
    physical.lower = 0.0;
    physical.upper = nextafter(256.0, 300);
    REQUIRE(verdict(physical, 0.001, &limits) == SAFETY_BAD_UPPER);
    physical.upper = nextafter(0.0, -1);
    REQUIRE(verdict(physical, 0.001, &limits) == SAFETY_BAD_UPPER);
    physical.upper = 0.0;
    REQUIRE(verdict(physical, 0.001, &limits) == SAFETY_BAD_RANGE);
}

static void the_range_holds_a_stop(void)
{
    safety_limits limits;
    safety_physical physical = so101;
    REQUIRE(verdict(physical, TICK_S, &limits) == SAFETY_LIMITS_OK);
    const int64_t stop = safety_stop(&limits, limits.max_velocity, 0).rest;
    physical.lower = 0.0;
    physical.upper = (double)stop / UNITS;
    REQUIRE(verdict(physical, TICK_S, &limits) == SAFETY_BAD_RANGE);
    physical.upper = (double)(stop + 1) / UNITS;
    REQUIRE(verdict(physical, TICK_S, &limits) == SAFETY_LIMITS_OK);
}

void bad_limits_are_refused_by_name(void)
{
    not_a_number_is_refused(offsetof(safety_physical, lower), SAFETY_BAD_LOWER);
    not_a_number_is_refused(offsetof(safety_physical, upper), SAFETY_BAD_UPPER);
    not_a_number_is_refused(offsetof(safety_physical, max_velocity), SAFETY_BAD_VELOCITY);
    not_a_number_is_refused(offsetof(safety_physical, max_acceleration), SAFETY_BAD_ACCELERATION);
    not_a_number_is_refused(offsetof(safety_physical, max_jerk), SAFETY_BAD_JERK);
    ends_are_refused_by_name();
    the_range_holds_a_stop();
    const struct {
        double velocity;
        double acceleration;
        double jerk;
        safety_verdict code;
    } cases[] = {
        {0, 1000, 100, SAFETY_BAD_VELOCITY},
        {15.5, 1000, 100, SAFETY_BAD_VELOCITY},
        {16.5, 1000, 100, SAFETY_LIMITS_OK},
        {134217728.5, 67108864.5, 134217728.5, SAFETY_LIMITS_OK},
        {134217729.5, 67108864.5, 134217728.5, SAFETY_BAD_VELOCITY},
        {1000, 15.5, 100, SAFETY_BAD_ACCELERATION},
        {1000, 16.5, 100, SAFETY_LIMITS_OK},
        {134217728.5, 67108865.5, 134217728.5, SAFETY_BAD_ACCELERATION},
        {1000, 100, 15.5, SAFETY_BAD_JERK},
        {1000, 100, 16.5, SAFETY_LIMITS_OK},
        {1000, 100, 0.99 * 0x1p62, SAFETY_LIMITS_OK},
        {1000, 100, 1.01 * 0x1p62, SAFETY_BAD_JERK},
        {100000, 16383.5, 16.5, SAFETY_LIMITS_OK}, /* 1024 ticks of ramp */
        {100000, 16384.5, 16.5, SAFETY_BAD_JERK},
        {100000, 1048576.5, 8224.5, SAFETY_LIMITS_OK}, /* 128 ticks, together 2^27 */
        {100000, 1048577.5, 8224.5, SAFETY_BAD_JERK},
        {100000, 44739242.5, 17895697.5, SAFETY_LIMITS_OK}, /* 3 ticks, together 2^27 - 2 */
        {100000, 44739243.5, 17895697.5, SAFETY_BAD_JERK},  /* 2^27 + 1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        REQUIRE(in_units(cases[i].velocity, cases[i].acceleration, cases[i].jerk) == cases[i].code);
    }
}

/* No wider than asked for, and narrower by two units at most. */
static void is_below(int64_t units, long double exact)
{
    REQUIRE((long double)units <= exact && (long double)units >= exact - 2);
}

void limits_are_rounded_to_the_safe_side(uint64_t seed)
{
    generator random = seeded(seed);
    for (int i = 0; i < 1000; ++i) {
        const double tick_s = (double)between(&random, 300, 2000) * 1e-6;
        const double random_part = (double)between(&random, 100, 1000) * 1e-3;
        const safety_physical physical = {-3.3 * random_part, 2.9 * random_part, 3.1 * random_part, 41.0 * random_part,
                                          (double)between(&random, 1000, 100000)};
        safety_limits limits;
        REQUIRE(verdict(physical, tick_s, &limits) == SAFETY_LIMITS_OK);
        const long double t = tick_s;
        is_below(limits.upper, physical.upper * (long double)UNITS);
        is_below(-limits.lower, -physical.lower * (long double)UNITS);
        is_below(limits.max_velocity, physical.max_velocity * t * UNITS);
        is_below(limits.max_acceleration, physical.max_acceleration * t * t * UNITS);
        const long double jerk = physical.max_jerk * t * t * t * UNITS;
        is_below(limits.max_jerk, jerk < 2 * limits.max_acceleration ? jerk : 2 * limits.max_acceleration);
        int64_t release = 0;
        for (int64_t left = limits.max_acceleration; left > 0; left -= limits.max_jerk) {
            release += left;
        }
        REQUIRE(limits.release == release);
    }
}

/* A whole number of units may have been rounded up to, and loses one; what is above it for certain does not. */
void roundings_are_not_trusted(void)
{
    const double whole = 1024 / TICK_S / TICK_S;
    safety_physical physical = so101;
    safety_limits limits;
    for (int parts = 0; parts < 8; ++parts) {
        physical.max_acceleration = whole / UNITS * (1 + parts * 0x1p-52);
        physical.max_velocity = 0.01;
        REQUIRE(verdict(physical, TICK_S, &limits) == SAFETY_LIMITS_OK);
        REQUIRE(limits.max_acceleration == (parts < 4 ? 1023 : 1024));
    }
}

void positions_are_converted_exactly(uint64_t seed)
{
    int64_t units = 7;
    const double bad[] = {NAN, INFINITY, -INFINITY, nextafter(256.0, 300), nextafter(-256.0, -300)};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        REQUIRE(!safety_position_from(bad[i], &units) && units == 7);
    }
    REQUIRE(safety_position_from(256.0, &units) && units == FARTHEST_POSITION);
    REQUIRE(safety_position_from(-256.0, &units) && units == -FARTHEST_POSITION);
    REQUIRE(safety_position_from(0.6 / UNITS, &units) && units == 1);
    REQUIRE(safety_position_from(-0.4 / UNITS, &units) && units == 0);
    REQUIRE(safety_position_from(-0.6 / UNITS, &units) && units == -1);
    generator random = seeded(seed);
    for (int i = 0; i < 1000; ++i) {
        const int64_t position = between(&random, -FARTHEST_POSITION, FARTHEST_POSITION);
        REQUIRE(safety_position_to(position) == (double)position / UNITS);
        REQUIRE(safety_position_from(safety_position_to(position), &units) && units == position);
    }
}
