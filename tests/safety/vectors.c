#include "vectors.h"

safety_run run_from(uint64_t seed)
{
    safety_run run = {seeded(seed), joints(), safety_at_rest(0), {0, 0}, 0, UINT64_C(0xcbf29ce484222325)};
    return run;
}

static void add(safety_run *run, int64_t value)
{
    for (int byte = 0; byte < 8; ++byte) {
        run->hash = (run->hash ^ (((uint64_t)value >> (8 * byte)) & 0xff)) * UINT64_C(0x100000001b3);
    }
}

void run_on(safety_run *run)
{
    generator *random = &run->random;
    const uint64_t choice = any(random) % 64;
    if (choice == 0) {
        run->limits = &joints()[any(random) % JOINTS];
        run->state = plausible_state(random, run->limits);
        run->state.position += any(random) % 4 ? 0 : spread(random, INT64_C(1) << 33);
    }
    if (choice < 8) {
        run->target = any_target(random, run->limits, &run->state);
    }
    if (choice == 8) {
        run->flags = safety_brake(run->limits, &run->state);
    } else {
        run->flags = safety_advance(run->limits, &run->state, &run->target, 1 + (choice == 9));
    }
    run->target.position += run->target.velocity;
    add(run, run->state.position);
    add(run, run->state.velocity);
    add(run, run->state.acceleration);
    add(run, run->flags | (safety_plausible(run->limits, &run->state) ? 256 : 0) |
                 (safety_admissible(run->limits, &run->state) ? 512 : 0));
}
