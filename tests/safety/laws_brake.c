#include <stdlib.h>

#include "laws.h"
#include "support.h"

/* Law and closed form against the definition, tick by tick until rest. */
static void stops_as_defined(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    const safety_path path = safety_stop(limits, velocity, acceleration);
    int64_t position = 0;
    int64_t lowest = 0;
    int64_t highest = 0;
    while (velocity != 0 || acceleration != 0) {
        const int32_t next = defined_braking(limits, velocity, acceleration);
        REQUIRE(safety_braking(limits, velocity, acceleration) == next);
        REQUIRE(llabs((int64_t)next - acceleration) <= limits->max_jerk);
        REQUIRE(llabs((int64_t)next) <= limits->max_acceleration);
        acceleration = next;
        velocity += next;
        position += velocity;
        lowest = position < lowest ? position : lowest;
        highest = position > highest ? position : highest;
    }
    REQUIRE(path.rest == position);
    /* The two ends and the start are the extremes. */
    REQUIRE(safety_smaller(safety_smaller(path.turn, path.rest), 0) == lowest);
    REQUIRE(safety_larger(safety_larger(path.turn, path.rest), 0) == highest);
}

void brake_is_the_defined_one(uint64_t seed, int64_t states)
{
    generator random = seeded(seed);
    for (int64_t i = 0; i < states; ++i) {
        const safety_limits *limits = &joints()[any(&random) % JOINTS];
        const safety_state state = plausible_state(&random, limits);
        stops_as_defined(limits, state.velocity, state.acceleration);
    }
    /* All there are of a small joint, whose ramps are long enough to turn round in. */
    const safety_limits joint = joint_limits(-3000, 4000, 150, 60, 16);
    const safety_limits *small = &joint;
    for (int32_t velocity = -small->max_velocity; velocity <= small->max_velocity; ++velocity) {
        for (int32_t acceleration = -small->max_acceleration; acceleration <= small->max_acceleration; ++acceleration) {
            if (safety_plausible(small, &(safety_state){0, velocity, acceleration})) {
                stops_as_defined(small, velocity, acceleration);
            }
        }
    }
}
