/* A fuzz target reads any bytes at all and ends the program when a law of its codec does not hold for them. */
#ifndef EDGEARM_TESTS_FUZZ_H
#define EDGEARM_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* FNV-1a, to tell whether the same was found twice; begin with HASH_BEGIN. */
#define HASH_BEGIN 2166136261u
static inline uint32_t hashed(uint32_t hash, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        hash = (hash ^ bytes[i]) * 16777619u;
    }
    return hash;
}

static inline void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

#endif
