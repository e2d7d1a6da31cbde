/* What a step of the safety limiter costs, over random joints, states and targets; every step is checked on the way.
 *
 *     cmake --preset dev && cmake --build --preset dev --target limiter_benchmark
 *     build/dev/tests/safety/limiter_benchmark [steps [seed]]        10^7 steps unless told; 10^9 is the full run
 *
 * Each step is timed on its own, so the reading of the clock is in every figure; its own cost is printed beside them.
 * On a machine that does other things the worst is what those did.
 */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support.h"

#define BINS 100000 /* of one nanosecond; the last holds what is longer */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t clock_ns(void)
{
    const int64_t start = now_ns();
    for (int i = 0; i < 100000; ++i) {
        (void)now_ns();
    }
    return (now_ns() - start) / 100000;
}

/* The bin above which `left` steps lie. */
static int quantile(const int64_t *histogram, int64_t left)
{
    int bin = BINS;
    while (left >= 0) {
        left -= histogram[--bin];
    }
    return bin;
}

static void check(const safety_limits *limits, const safety_state *before, const safety_state *after)
{
    REQUIRE(after->velocity == before->velocity + after->acceleration);
    REQUIRE(after->position == before->position + after->velocity);
    REQUIRE(abs(after->acceleration - before->acceleration) <= limits->max_jerk);
    REQUIRE(abs(after->acceleration) <= limits->max_acceleration && abs(after->velocity) <= limits->max_velocity);
    REQUIRE(limits->lower <= after->position && after->position <= limits->upper);
}

int main(int count, char **arguments)
{
    static int64_t histogram[BINS];
    const int64_t steps = count > 1 ? atoll(arguments[1]) : 10000000;
    generator random = seeded(count > 2 ? strtoull(arguments[2], NULL, 0) : 1);
    const safety_limits *limits = joints();
    safety_state state = safety_at_rest(0);
    safety_target target = {0, 0};
    int64_t sum_ns = 0;
    int64_t worst_ns = 0;
    for (int64_t step = 0; step < steps; ++step) {
        if (any(&random) % 256 == 0) {
            limits = &joints()[any(&random) % JOINTS];
            state = admissible_state(&random, limits);
        }
        if (any(&random) % 16 == 0) {
            target = any_target(&random, limits, &state);
        }
        const safety_state before = state;
        const int64_t start_ns = now_ns();
        safety_step(limits, &state, &target);
        const int64_t took_ns = now_ns() - start_ns;
        check(limits, &before, &state);
        target.position =
            safety_smaller(safety_larger(target.position + target.velocity, -FARTHEST_POSITION), FARTHEST_POSITION);
        sum_ns += took_ns;
        worst_ns = safety_larger(worst_ns, took_ns);
        ++histogram[safety_smaller(took_ns, BINS - 1)];
    }
    printf(
        "%lld steps, no limit crossed: median %d ns, mean %.0f ns, p99.9 %d ns, worst %lld ns; "
        "reading the clock %lld ns of each\n",
        (long long)steps, quantile(histogram, steps / 2), (double)sum_ns / (double)steps,
        quantile(histogram, steps / 1000), (long long)worst_ns, (long long)clock_ns());
    return 0;
}
