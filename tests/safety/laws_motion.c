#include <stdlib.h>

#include "laws.h"
#include "support.h"

static bool same(safety_state a, safety_state b)
{
    return a.position == b.position && a.velocity == b.velocity && a.acceleration == b.acceleration;
}

/* A random admissible motion that owes nothing to the limiter's choice: any acceleration from which a stop is left. */
static safety_state wander(generator *random, const safety_limits *limits, safety_state state)
{
    for (int attempt = 0; attempt < 4; ++attempt) {
        safety_state moved = state;
        const int64_t change = between(random, -limits->max_jerk, limits->max_jerk);
        moved.acceleration += (int32_t)(any(random) % 4 ? change : safety_sign(change) * limits->max_jerk);
        moved.velocity += moved.acceleration;
        moved.position += moved.velocity;
        if (safety_admissible(limits, &moved)) {
            return moved;
        }
    }
    safety_brake(limits, &state);
    return state;
}

void admissible_trajectories_pass_unchanged(uint64_t seed, int64_t steps)
{
    generator random = seeded(seed);
    for (int64_t done = 0; done < steps; done += 200) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        safety_state wanted = admissible_state(&random, limits);
        safety_state state = wanted;
        for (int tick = 0; tick < 200; ++tick) {
            wanted = wander(&random, limits, wanted);
            const safety_target target = {wanted.position, wanted.velocity};
            REQUIRE(!(safety_step(limits, &state, &target) & (SAFETY_POSITION | SAFETY_REJECTED)));
            REQUIRE(same(state, wanted));
        }
    }
}

static bool arrived(const safety_state *state, int64_t goal)
{
    return same(*state, safety_at_rest(goal));
}

/* Goes to a constant goal; from a state that can stop before it, without ever passing it or turning round. */
static int64_t reach(const safety_limits *limits, safety_state *state, int64_t goal)
{
    const safety_target target = {goal, 0};
    const safety_path path = safety_stop(limits, state->velocity, state->acceleration);
    const int32_t side = safety_sign(goal - state->position);
    const bool in_time = side * path.rest >= 0 && side * (goal - state->position - path.rest) >= 0 && path.turn == 0;
    int64_t ticks = 0;
    while (!arrived(state, goal)) {
        const safety_state before = *state;
        safety_step(limits, state, &target);
        REQUIRE(++ticks < 100000);
        if (in_time) {
            REQUIRE(side * (state->position - before.position) >= 0);
            REQUIRE(side * (goal - state->position) >= 0);
        }
    }
    REQUIRE(safety_step(limits, state, &target) == 0);
    REQUIRE(arrived(state, goal));
    return ticks;
}

/* No motion from rest to rest is faster than this many ticks: half the way at full jerk, acceleration or velocity. */
static int64_t least_ticks(const safety_limits *limits, int64_t distance)
{
    int64_t ticks = 0;
    int64_t acceleration = 0;
    int64_t velocity = 0;
    for (int64_t way = 0; way < distance / 2; ++ticks) {
        acceleration = safety_smaller(acceleration + limits->max_jerk, limits->max_acceleration);
        velocity = safety_smaller(velocity + acceleration, limits->max_velocity);
        way += velocity;
    }
    return 2 * ticks;
}

void constant_goals_are_reached_without_overshoot(uint64_t seed, int64_t goals)
{
    generator random = seeded(seed);
    for (int64_t i = 0; i < goals; ++i) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        safety_state state = admissible_state(&random, limits);
        const int64_t aside = state.position + spread(&random, limits->upper - limits->lower);
        const int64_t near = safety_larger(limits->lower, safety_smaller(limits->upper, aside));
        reach(limits, &state, any(&random) % 2 ? near : between(&random, limits->lower, limits->upper));
        const int64_t start = state.position;
        const int64_t goal = between(&random, limits->lower, limits->upper);
        const int64_t ticks = reach(limits, &state, goal);
        const int64_t ramp = 4 * limits->max_acceleration / limits->max_jerk + 8;
        REQUIRE(ticks <= least_ticks(limits, llabs(goal - start)) * 21 / 20 + ramp);
    }
}

void every_servo_tick_is_reached(void)
{
    const safety_limits *limits = &joints()[0];
    safety_state last = safety_at_rest(limits->lower);
    for (int64_t tick = 0; tick < 4096; ++tick) {
        const int64_t goal = (tick - 2048) * INT64_C(26986075409) / 4096; /* 2 pi a turn */
        const int64_t inside = safety_larger(limits->lower, safety_smaller(limits->upper, goal));
        const safety_target target = {goal, 0};
        const safety_state starts[3] = {safety_at_rest(0), {limits->upper / 3, limits->max_velocity, 0}, last};
        for (int start = 0; start < 3; ++start) {
            safety_state state = starts[start];
            const unsigned flags = safety_step(limits, &state, &target);
            REQUIRE(inside == goal || (flags & SAFETY_POSITION));
            for (int ticks = 0; !arrived(&state, inside); ++ticks) {
                REQUIRE(ticks < 1400);
                safety_step(limits, &state, &target);
            }
            last = state;
        }
    }
}

void ticks_may_be_cut_anywhere(uint64_t seed, int64_t cuts)
{
    generator random = seeded(seed);
    for (int64_t i = 0; i < cuts; ++i) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        safety_state whole = admissible_state(&random, limits);
        safety_state pieces = whole;
        safety_state singles = whole;
        const safety_target target = any_target(&random, limits, &whole);
        const uint32_t ticks = (uint32_t)between(&random, 0, 200);
        const uint32_t cut = (uint32_t)between(&random, 0, ticks);
        const unsigned flags = safety_advance(limits, &whole, &target, ticks);
        safety_target later = target;
        later.position += cut * target.velocity;
        const unsigned first = safety_advance(limits, &pieces, &target, cut);
        REQUIRE((first | safety_advance(limits, &pieces, &later, ticks - cut)) == flags);
        REQUIRE(same(whole, pieces));
        safety_target moving = target;
        unsigned each = 0;
        for (uint32_t tick = 0; tick < ticks; ++tick) {
            each |= safety_step(limits, &singles, &moving);
            moving.position += moving.velocity;
        }
        REQUIRE(each == flags && same(whole, singles));
    }
}
