#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void require(bool holds, const char *what, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
        exit(1);
    }
}

byte_string bytes_of(const char *hex)
{
    byte_string bytes = {{0}, 0};
    for (char *end = NULL; *hex != '\0'; hex = end) {
        bytes.at[bytes.count++] = (uint8_t)strtoul(hex, &end, 16);
    }
    return bytes;
}

bool same(const uint8_t *bytes, size_t count, const char *hex)
{
    const byte_string expected = bytes_of(hex);
    return count == expected.count && memcmp(bytes, expected.at, count) == 0;
}

/* xorshift32 */
uint32_t any(void)
{
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

uint32_t any_below(uint32_t end)
{
    return any() % end;
}
