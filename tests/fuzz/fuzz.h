/* A fuzz target reads any bytes at all and ends the program when a law of its codec does not hold for them. */
#ifndef EDGEARM_TESTS_FUZZ_H
#define EDGEARM_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

#endif
