#include "support.h"

#include <stdio.h>
#include <stdlib.h>

void require(bool holds, const char *law, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, law);
        exit(1);
    }
}

generator seeded(uint64_t seed)
{
    return (generator){seed, seed};
}

/* splitmix64 */
uint64_t any(generator *random)
{
    uint64_t bits = random->state += 0x9e3779b97f4a7c15u;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

int64_t between(generator *random, int64_t low, int64_t high)
{
    return low + (int64_t)(any(random) % ((uint64_t)(high - low) + 1));
}

int64_t spread(generator *random, int64_t most)
{
    const int64_t size = between(random, 0, most >> (any(random) % 25));
    return any(random) % 2 ? size : -size;
}

safety_limits joint_limits(int64_t lower, int64_t upper, int32_t velocity, int32_t acceleration, int32_t jerk)
{
    safety_limits limits = {lower, upper, velocity, acceleration, jerk, 0};
    limits.release = acceleration - safety_released(&limits, 0, -acceleration);
    return limits;
}

const safety_limits *joints(void)
{
    static safety_limits made[JOINTS];
    if (made[0].upper == 0) {
        made[0] = joint_limits(-8245735908, 8245735908, 12884901, 167503, 16750);  /* 3 rad/s, 39 rad/s2, 3900 rad/s3 */
        made[1] = joint_limits(-7258512549, 7258512549, 12884901, 167503, 167503); /* jerk in one tick */
        made[2] = joint_limits(-749600642, 7496135671, 17179869, 171798, 343596);  /* jerk never binds */
        made[3] = joint_limits(-11784746012, 12202904031, 17179869, 85899, 1000);  /* soft */
        made[4] = joint_limits(-3000, 4000, 90, 20, 16);
        made[5] = joint_limits(-20000, 20000, 333, 67, 16);
        made[6] = joint_limits(0, 100000, 1600, 50, 17);
        made[7] = joint_limits(-2000000, -1000000, 2500, 16, 32);
    }
    return made;
}

safety_state plausible_state(generator *random, const safety_limits *limits)
{
    safety_state state;
    do {
        const bool edge = any(random) % 4 == 0;
        state.position = between(random, limits->lower, limits->upper);
        state.velocity = edge ? limits->max_velocity : (int32_t)spread(random, limits->max_velocity);
        state.acceleration = (int32_t)between(random, -limits->max_acceleration, limits->max_acceleration);
        if (any(random) % 2) {
            state.acceleration = (int32_t)spread(random, limits->max_acceleration);
        }
    } while (!safety_plausible(limits, &state));
    return state;
}

safety_state admissible_state(generator *random, const safety_limits *limits)
{
    for (;;) {
        safety_state state = plausible_state(random, limits);
        const safety_path path = safety_stop(limits, state.velocity, state.acceleration);
        switch (any(random) % 4) { /* often about to touch a limit */
            case 0:
                state.position = limits->upper - safety_larger(path.rest, path.turn);
                break;
            case 1:
                state.position = limits->lower - safety_smaller(path.rest, path.turn);
                break;
            default:
                break;
        }
        if (safety_admissible(limits, &state)) {
            return state;
        }
    }
}

safety_target any_target(generator *random, const safety_limits *limits, const safety_state *state)
{
    const int64_t range = limits->upper - limits->lower;
    const int64_t velocity = spread(random, 2 * (int64_t)limits->max_velocity);
    switch (any(random) % 8) {
        case 0:
            return (safety_target){between(random, limits->lower, limits->upper), 0};
        case 1:
            return (safety_target){between(random, limits->lower - range, limits->upper + range), velocity};
        case 2: /* on a trajectory from here */
            return (safety_target){state->position + state->velocity + velocity, state->velocity + velocity};
        case 3:
            return (safety_target){state->position + spread(random, range), velocity};
        case 4:
            return (safety_target){state->position + spread(random, range), 0};
        case 5:
            return (safety_target){any(random) % 2 ? limits->lower : limits->upper, velocity};
        case 6:
            return (safety_target){any(random) % 2 ? FARTHEST_POSITION : -FARTHEST_POSITION, velocity};
        default:
            return (safety_target){between(random, limits->lower, limits->upper), velocity};
    }
}

/* Velocity gained from taking `acceleration` now and then letting go of it at max_jerk, tick by tick. */
static int64_t gained(const safety_limits *limits, int64_t acceleration)
{
    int64_t sum = 0;
    for (int64_t size = llabs(acceleration); size > 0; size -= limits->max_jerk) {
        sum += size;
    }
    return acceleration < 0 ? -sum : sum;
}

int32_t defined_braking(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    const int32_t jerk = limits->max_jerk;
    const int32_t kept = abs(acceleration) < jerk ? 0 : acceleration < 0 ? acceleration + jerk : acceleration - jerk;
    const int sign = velocity + gained(limits, kept) < 0 ? -1 : 1;
    int64_t letting_go = sign * kept; /* allowed */
    int64_t too_hard = sign * acceleration - jerk - 1;
    if (too_hard < -(int64_t)limits->max_acceleration - 1) {
        too_hard = -(int64_t)limits->max_acceleration - 1;
    }
    while (letting_go - too_hard > 1) {
        const int64_t middle = too_hard + (letting_go - too_hard) / 2;
        if (sign * velocity + gained(limits, middle) >= 0) {
            letting_go = middle;
        } else {
            too_hard = middle;
        }
    }
    return (int32_t)(sign * letting_go);
}
