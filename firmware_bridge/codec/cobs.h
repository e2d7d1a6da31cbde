/* Consistent overhead byte stuffing: bytes without a zero among them, so that a zero can end a frame on a serial line.
 * It costs one byte for every 254 begun. */
#ifndef EDGEARM_COBS_H
#define EDGEARM_COBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that encoding `count` bytes takes at most. */
#define COBS_ENCODED(count) ((count) + (count) / 254 + 1)

/* Returns the encoded length, without any delimiter; 0, and nothing written, when `capacity` is below
 * COBS_ENCODED(count). */
size_t cobs_encode(const uint8_t *bytes, size_t count, uint8_t *out, size_t capacity);

/* In place. False for what no encoder makes; `bytes` then holds nothing of use. */
bool cobs_decode(uint8_t *bytes, size_t count, size_t *decoded);

#ifdef __cplusplus
}
#endif

#endif
