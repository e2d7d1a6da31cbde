#include <stdlib.h>

#include "laws.h"
#include "support.h"

/* One tick later, by exactly the dynamics, and within all limits. */
static void is_one_tick_later(const safety_limits *limits, const safety_state *before, const safety_state *after)
{
    REQUIRE(after->velocity == before->velocity + after->acceleration);
    REQUIRE(after->position == before->position + after->velocity);
    REQUIRE(abs(after->acceleration - before->acceleration) <= limits->max_jerk);
    REQUIRE(abs(after->acceleration) <= limits->max_acceleration);
    REQUIRE(abs(after->velocity) <= limits->max_velocity);
    REQUIRE(limits->lower <= after->position && after->position <= limits->upper);
}

/* The stop is taken on a copy: it must be there at every moment, whether or not it is used. */
static void can_stop(const safety_limits *limits, safety_state state)
{
    REQUIRE(safety_admissible(limits, &state));
    while (state.velocity != 0 || state.acceleration != 0) {
        const safety_state before = state;
        REQUIRE(safety_brake(limits, &state) != SAFETY_REJECTED);
        is_one_tick_later(limits, &before, &state);
    }
}

void limits_are_never_crossed(uint64_t seed, int64_t steps)
{
    generator random = seeded(seed);
    int64_t done = 0;
    while (done < steps) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        safety_state state = admissible_state(&random, limits);
        for (int change = 0; change < 16; ++change) {
            safety_target target = any_target(&random, limits, &state);
            const int64_t ticks = between(&random, 1, 1 << (any(&random) % 8));
            for (int64_t tick = 0; tick < ticks && llabs(target.position) <= FARTHEST_POSITION; ++tick) {
                const safety_state before = state;
                REQUIRE(!(safety_step(limits, &state, &target) & SAFETY_REJECTED));
                is_one_tick_later(limits, &before, &state);
                target.position += target.velocity;
                ++done;
            }
            if (any(&random) % 16 == 0) {
                can_stop(limits, state);
            }
        }
    }
}

/* The farthest position from which the stop, its turning point included, stays inside; and one unit beyond. */
void states_are_admissible_to_the_last_unit(uint64_t seed, int64_t states)
{
    generator random = seeded(seed);
    for (int64_t i = 0; i < states; ++i) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        safety_state state = plausible_state(&random, limits);
        const safety_path path = safety_stop(limits, state.velocity, state.acceleration);
        const int64_t highest = safety_larger(0, safety_larger(path.rest, path.turn));
        const int64_t lowest = safety_smaller(0, safety_smaller(path.rest, path.turn));
        if (highest - lowest > limits->upper - limits->lower) {
            continue;
        }
        state.position = limits->upper - highest;
        REQUIRE(safety_admissible(limits, &state));
        ++state.position;
        REQUIRE(!safety_admissible(limits, &state));
        state.position = limits->lower - lowest;
        REQUIRE(safety_admissible(limits, &state));
        --state.position;
        REQUIRE(!safety_admissible(limits, &state));
    }
}

void a_joint_outside_only_comes_back(uint64_t seed, int64_t count)
{
    generator random = seeded(seed);
    for (int64_t i = 0; i < count; ++i) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        const int64_t range = limits->upper - limits->lower;
        const int64_t beyond = 1 + llabs(spread(&random, range));
        const bool above = any(&random) % 2;
        safety_state state = safety_at_rest(above ? limits->upper + beyond : limits->lower - beyond);
        REQUIRE(safety_plausible(limits, &state) && !safety_admissible(limits, &state));
        for (int change = 0; change < 20; ++change) {
            const safety_target target = any_target(&random, limits, &state);
            for (int64_t ticks = between(&random, 1, 60); ticks != 0; --ticks) {
                const safety_state before = state;
                safety_step(limits, &state, &target);
                REQUIRE(above ? state.position <= safety_larger(before.position, limits->upper)
                              : state.position >= safety_smaller(before.position, limits->lower));
                REQUIRE(above ? state.position >= limits->lower : state.position <= limits->upper);
            }
        }
        /* It comes back all the way when asked to. */
        const safety_target home = {limits->lower + range / 2, 0};
        for (int ticks = 0; state.position != home.position || state.velocity != 0 || state.acceleration != 0;
             ++ticks) {
            REQUIRE(ticks < 100000);
            safety_step(limits, &state, &home);
        }
    }
}
