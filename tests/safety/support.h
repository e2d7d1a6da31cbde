/* What the tests and the benchmark of the safety limiter share: one seeded generator, some joints, and the brake again,
 * written from its definition alone. */
#ifndef EDGEARM_TESTS_SAFETY_SUPPORT_H
#define EDGEARM_TESTS_SAFETY_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "brake.h"
#include "limiter.h"

/* Targets and states beyond are refused. */
#define FARTHEST_POSITION (INT64_C(1) << 40)

/* Ends the program with the place and the seed when a law does not hold. */
#define REQUIRE(condition) require(condition, #condition, __FILE__, __LINE__)
void require(bool holds, const char *law, const char *file, int line);

typedef struct {
    uint64_t seed;
    uint64_t state;
} generator;

generator seeded(uint64_t seed);
uint64_t any(generator *random);
/* Uniform, both ends included. */
int64_t between(generator *random, int64_t low, int64_t high);
/* Now small, now large: every order of magnitude up to `most` is equally likely, and so is either sign. */
int64_t spread(generator *random, int64_t most);

/* Limits as units.h would make them, without floating point. */
safety_limits joint_limits(int64_t lower, int64_t upper, int32_t velocity, int32_t acceleration, int32_t jerk);

#define JOINTS 8
/* From a real arm at 1 kHz down to limits of a few units, where every rounding shows. */
const safety_limits *joints(void);

/* A plausible state; its velocities and accelerations reach all limits. */
safety_state plausible_state(generator *random, const safety_limits *limits);
safety_state admissible_state(generator *random, const safety_limits *limits);

/* A target of one of many kinds: inside, outside, near the joint, fast, constant, or the ends of its type. */
safety_target any_target(generator *random, const safety_limits *limits, const safety_state *state);

/* The brake's next acceleration by definition, searched for. */
int32_t defined_braking(const safety_limits *limits, int32_t velocity, int32_t acceleration);

#endif
