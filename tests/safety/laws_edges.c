#include <stdio.h>
#include <stdlib.h>

#include "laws.h"
#include "support.h"

static bool same(safety_state a, safety_state b)
{
    return a.position == b.position && a.velocity == b.velocity && a.acceleration == b.acceleration;
}

static void refuses(const safety_limits *limits, safety_state state, safety_target target)
{
    const safety_state before = state;
    REQUIRE(safety_step(limits, &state, &target) == SAFETY_REJECTED);
    REQUIRE(same(state, before));
}

static void refuses_state(const safety_limits *limits, safety_state state)
{
    const safety_state before = state;
    REQUIRE(!safety_plausible(limits, &state) && !safety_admissible(limits, &state));
    refuses(limits, state, (safety_target){0, 0});
    REQUIRE(safety_brake(limits, &state) == SAFETY_REJECTED);
    REQUIRE(same(state, before));
}

static void accepts(const safety_limits *limits, safety_state state, safety_target target)
{
    REQUIRE(safety_plausible(limits, &state));
    REQUIRE(!(safety_step(limits, &state, &target) & SAFETY_REJECTED));
    REQUIRE(safety_plausible(limits, &state));
}

void edges_are_where_they_are_said_to_be(void)
{
    const safety_limits *limits = &joints()[0];
    const safety_target origin = {0, 0};
    const int32_t v = limits->max_velocity;
    const int32_t a = limits->max_acceleration;
    const int32_t ramp = limits->release - a;
    const int64_t far = FARTHEST_POSITION;
    for (int side = -1; side <= 1; side += 2) {
        const int64_t most = side > 0 ? INT64_MAX : -INT64_MAX;
        const int32_t most_32 = side > 0 ? INT32_MAX : -INT32_MAX;
        accepts(limits, (safety_state){side * far, 0, 0}, origin);
        refuses_state(limits, (safety_state){side * (far + 1), 0, 0});
        refuses_state(limits, (safety_state){most, 0, 0});
        accepts(limits, (safety_state){0, side * v, 0}, origin);
        refuses_state(limits, (safety_state){0, side * (v + 1), 0});
        refuses_state(limits, (safety_state){0, most_32, 0});
        accepts(limits, (safety_state){0, side * (v - ramp), side * a}, origin);
        refuses_state(limits, (safety_state){0, side * (v - ramp + 1), side * a});
        refuses_state(limits, (safety_state){0, 0, side * (a + 1)});
        refuses_state(limits, (safety_state){0, 0, most_32});
        accepts(limits, safety_at_rest(0), (safety_target){side * far, side * far});
        refuses(limits, safety_at_rest(0), (safety_target){side * (far + 1), 0});
        refuses(limits, safety_at_rest(0), (safety_target){0, side * (far + 1)});
        refuses(limits, safety_at_rest(0), (safety_target){most, most});
        const safety_state at_limit = safety_at_rest(side > 0 ? limits->upper : limits->lower);
        const safety_state beyond = safety_at_rest(at_limit.position + side);
        REQUIRE(safety_admissible(limits, &at_limit) && !safety_admissible(limits, &beyond));
    }
    refuses_state(limits, (safety_state){INT64_MIN, 0, 0});
    refuses_state(limits, (safety_state){0, INT32_MIN, 0});
    refuses_state(limits, (safety_state){0, 0, INT32_MIN});
    refuses(limits, safety_at_rest(0), (safety_target){INT64_MIN, INT64_MIN});
    /* A target that runs out of what a target may be is refused from then on, and the joint keeps what it had. */
    safety_state state = safety_at_rest(0);
    const safety_target leaving = {far - 1, 1};
    REQUIRE(!(safety_advance(limits, &state, &leaving, 2) & SAFETY_REJECTED));
    const safety_state before = state;
    REQUIRE(safety_advance(limits, &state, &(safety_target){far, 1}, 2) & SAFETY_REJECTED);
    REQUIRE(state.velocity == before.velocity + state.acceleration);
    REQUIRE(safety_advance(limits, &state, &(safety_target){INT64_MAX, INT64_MAX}, 9) == SAFETY_REJECTED);
    REQUIRE(safety_advance(limits, &state, &(safety_target){1, INT64_MAX}, 9) == SAFETY_REJECTED);
    REQUIRE(safety_advance(limits, &state, &(safety_target){far, 0}, 0) == 0);
}

/* A joint that cannot stop before its limit any more brakes, and no target makes it do anything else. */
void what_cannot_stop_in_time_brakes(uint64_t seed, int64_t states)
{
    generator random = seeded(seed);
    for (int64_t i = 0; i < states; ++i) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        safety_state state = plausible_state(&random, limits);
        const safety_path path = safety_stop(limits, state.velocity, state.acceleration);
        state.position = path.rest > 0 ? limits->upper : limits->lower;
        if (llabs(path.rest) <= limits->max_acceleration || path.turn != 0) {
            continue;
        }
        safety_state braking = state;
        const safety_target target = any_target(&random, limits, &state);
        const unsigned braked = safety_brake(limits, &braking);
        const unsigned flags = safety_step(limits, &state, &target);
        REQUIRE(flags & SAFETY_POSITION);
        REQUIRE((flags & ~braked & ~(unsigned)(SAFETY_POSITION | SAFETY_VELOCITY)) == 0);
        REQUIRE(same(state, braking));
    }
}

void flags_name_the_limits(void)
{
    const safety_limits *limits = &joints()[0];
    const int32_t v = limits->max_velocity;
    const int32_t a = limits->max_acceleration;
    const int32_t j = limits->max_jerk;
    const struct {
        safety_state state;
        safety_target target;
        unsigned flags;
    } cases[] = {
        {{0, 0, 0}, {0, 0}, 0},
        {{0, 0, 0}, {1, 0}, 0},
        {{0, 0, 0}, {j - 1, j - 1}, 0},
        {{0, 0, 0}, {j, j}, SAFETY_JERK},
        {{0, 0, 0}, {1 << 30, 0}, SAFETY_JERK},
        {{0, 0, 0}, {-(1 << 30), 0}, SAFETY_JERK},
        {{0, 0, a - 1}, {1 << 30, 0}, SAFETY_ACCELERATION},
        {{0, 0, 1 - a}, {-(1 << 30), 0}, SAFETY_ACCELERATION},
        {{0, 0, a - j}, {1 << 30, 0}, SAFETY_ACCELERATION | SAFETY_JERK},
        {{0, v, 0}, {1 << 30, 0}, SAFETY_VELOCITY},
        {{0, v - 1, 0}, {1 << 30, 0}, SAFETY_VELOCITY},
        {{0, -v, 0}, {-(1 << 30), 0}, SAFETY_VELOCITY},
        {{0, 0, 0}, {0, v + 1}, SAFETY_VELOCITY | SAFETY_JERK},
        {{limits->upper, 0, 0}, {limits->upper + 1, 0}, SAFETY_POSITION},
        {{limits->lower, 0, 0}, {limits->lower - 1, 5}, SAFETY_POSITION},
        {{limits->lower, 0, 0}, {limits->lower, 0}, 0},
        {{limits->upper, 0, 0}, {limits->upper, v + 1}, SAFETY_VELOCITY | SAFETY_POSITION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        safety_state state = cases[i].state;
        const unsigned flags = safety_step(limits, &state, &cases[i].target);
        if (flags != cases[i].flags) {
            fprintf(stderr, "case %zu: flags %u, not %u\n", i, flags, cases[i].flags);
        }
        REQUIRE(flags == cases[i].flags);
    }
    safety_state cruising = {0, v, 0};
    REQUIRE(safety_brake(limits, &cruising) == SAFETY_JERK);
    safety_state resting = safety_at_rest(5);
    REQUIRE(safety_brake(limits, &resting) == 0 && same(resting, safety_at_rest(5)));
}
