#include <string.h>

#include "check.h"
#include "cobs.h"
#include "crc32.h"

void test_crc32(void)
{
    REQUIRE(edgearm_crc32((const uint8_t *)"123456789", 9) == 0xCBF43926u);
    REQUIRE(edgearm_crc32(NULL, 0) == 0);
}

static void pair(const char *plain, const char *encoded)
{
    const byte_string from = bytes_of(plain);
    uint8_t out[COBS_ENCODED(300)];
    size_t length = cobs_encode(from.at, from.count, out, sizeof out);
    REQUIRE(same(out, length, encoded));
    REQUIRE(cobs_decode(out, length, &length));
    REQUIRE(length == from.count && memcmp(out, from.at, length) == 0);
}

/* `count` bytes 1, 2, 3 ... 255, 1 ..., around and at the lengths at which a block is full. */
static void counted(size_t count, size_t zero_at, size_t expected)
{
    uint8_t from[600];
    uint8_t out[COBS_ENCODED(600)];
    for (size_t i = 0; i < count; ++i) {
        from[i] = (uint8_t)(i == zero_at ? 0 : i % 255 + 1);
    }
    size_t length = cobs_encode(from, count, out, COBS_ENCODED(count));
    REQUIRE(length == expected && memchr(out, 0, length) == NULL);
    REQUIRE(cobs_encode(from, count, out, COBS_ENCODED(count) - 1) == 0);
    REQUIRE(cobs_decode(out, length, &length));
    REQUIRE(length == count && memcmp(out, from, count) == 0);
}

static void no_encoder_makes(const char *hex)
{
    byte_string bytes = bytes_of(hex);
    size_t length;
    REQUIRE(!cobs_decode(bytes.at, bytes.count, &length));
}

void test_cobs(void)
{
    pair("", "01");
    pair("00", "01 01");
    pair("00 00", "01 01 01");
    pair("00 11 00", "01 02 11 01");
    pair("11 22 00 33", "03 11 22 02 33");
    pair("11 22 33 44", "05 11 22 33 44");
    pair("11 00 00 00", "02 11 01 01 01");
    const size_t none = 1000;
    counted(253, none, 254);
    counted(254, none, 255);
    counted(255, none, 257);
    counted(254, 253, 255);
    counted(255, 254, 257);
    counted(255, 0, 256);
    counted(508, none, 510);
    counted(509, none, 512);
    no_encoder_makes("");
    no_encoder_makes("00");
    no_encoder_makes("02");
    no_encoder_makes("03 11");
    no_encoder_makes("03 11 00");
    no_encoder_makes("02 11 00");
}
