/* One random run of the safety limiter, the same on every machine: written out, and as a hash. */
#ifndef EDGEARM_TESTS_SAFETY_VECTORS_H
#define EDGEARM_TESTS_SAFETY_VECTORS_H

#include "support.h"

typedef struct {
    generator random;
    const safety_limits *limits;
    safety_state state;
    safety_target target;
    unsigned flags; /* of the last step */
    uint64_t hash;  /* of everything so far, FNV-1a over the fields' values */
} safety_run;

safety_run run_from(uint64_t seed);

/* One step; now and then a brake instead, a new target, a new state, or a state that is none. */
void run_on(safety_run *run);

#endif
