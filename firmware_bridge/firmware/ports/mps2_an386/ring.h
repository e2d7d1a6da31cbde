/* Bytes between an interrupt and the main loop: one writes, the other reads, neither waits. */
#ifndef EDGEARM_FIRMWARE_RING_H
#define EDGEARM_FIRMWARE_RING_H

#include <stdbool.h>
#include <stdint.h>

enum { RING_SIZE = 1024 }; /* a power of two */

typedef struct {
    volatile uint32_t in; /* counted up by who writes; the size divides 2^32 */
    volatile uint32_t out;
    volatile uint8_t bytes[RING_SIZE];
} ring;

static inline uint32_t ring_used(const ring *of)
{
    return of->in - of->out;
}

/* What does not fit is lost, as on a line that nobody reads. */
static inline void ring_put(ring *of, uint8_t byte)
{
    if (ring_used(of) < RING_SIZE) {
        of->bytes[of->in % RING_SIZE] = byte;
        of->in += 1;
    }
}

static inline bool ring_get(ring *of, uint8_t *byte)
{
    if (ring_used(of) == 0) {
        return false;
    }
    *byte = of->bytes[of->out % RING_SIZE];
    of->out += 1;
    return true;
}

#endif
