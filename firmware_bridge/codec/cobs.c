#include "cobs.h"

enum { FULL = 0xFF }; /* the code of a block of 254 bytes that no zero follows */

size_t cobs_encode(const uint8_t *bytes, size_t count, uint8_t *out, size_t capacity)
{
    if (capacity < COBS_ENCODED(count)) {
        return 0;
    }
    size_t code_at = 0; /* a block's code: one more than its bytes */
    size_t at = 1;
    for (size_t i = 0; i < count; ++i) {
        if (bytes[i] != 0) {
            out[at++] = bytes[i];
        }
        const bool full = at - code_at == FULL && i + 1 < count;
        if (bytes[i] == 0 || full) {
            out[code_at] = (uint8_t)(at - code_at);
            code_at = at++;
        }
    }
    out[code_at] = (uint8_t)(at - code_at);
    return at;
}

bool cobs_decode(uint8_t *bytes, size_t count, size_t *decoded)
{
    size_t from = 0;
    size_t to = 0;
    while (from < count) {
        const uint8_t code = bytes[from++];
        if (code == 0 || (size_t)code - 1 > count - from) {
            return false;
        }
        for (const size_t end = from + code - 1; from < end; ++from) {
            if (bytes[from] == 0) {
                return false;
            }
            bytes[to++] = bytes[from];
        }
        if (code != FULL && from < count) {
            bytes[to++] = 0;
        }
    }
    *decoded = to;
    return count > 0;
}
