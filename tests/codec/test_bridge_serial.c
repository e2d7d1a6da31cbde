#include <string.h>

#include "bridge_serial.h"
#include "bridge_vectors.h"
#include "check.h"

typedef struct {
    uint8_t at[BRIDGE_SERIAL_MAX_FRAME];
    size_t count;
} frame;

static frame framed(const bridge_message *message)
{
    uint8_t bytes[BRIDGE_MAX_LENGTH];
    frame out;
    out.count = bridge_serial_frame(bytes, bridge_encode(message, bytes), out.at);
    REQUIRE(out.count > 0 && out.at[0] == 0 && memchr(out.at + 1, 0, out.count - 1) == out.at + out.count - 1);
    return out;
}

/* How many messages these bytes complete; each must be `expected`. */
static int found(bridge_parser *parser, const uint8_t *bytes, size_t count, const bridge_message *expected)
{
    int messages = 0;
    bridge_message message;
    for (size_t i = 0; i < count; ++i) {
        if (bridge_parser_push(parser, bytes[i], &message)) {
            REQUIRE(same_message(&message, expected));
            messages += 1;
        }
    }
    return messages;
}

static void vectors(void)
{
    const frame stop = framed(&bridge_vectors[STOP].message);
    REQUIRE(same(stop.at, stop.count, "00 02 03 05 3C 41 F4 6A 00"));
    const frame clear = framed(&bridge_vectors[CLEAR].message);
    REQUIRE(same(clear.at, clear.count, "00 02 04 02 32 06 D4 C3 B2 A1 01 01 01 04 40 42 0F 02 03 05 C0 80 33 1E 00"));
    uint8_t bytes[BRIDGE_MAX_LENGTH + 1] = {0};
    uint8_t out[BRIDGE_SERIAL_MAX_FRAME];
    REQUIRE(bridge_serial_frame(bytes, BRIDGE_STOP_LENGTH - 1, out) == 0);
    REQUIRE(bridge_serial_frame(bytes, BRIDGE_MAX_LENGTH + 1, out) == 0);
}

/* An intact frame is found behind any garbage, be it never so long or the start of another frame. */
static void garbage_costs_nothing(void)
{
    const bridge_message longest = long_command();
    bridge_parser parser;
    bridge_parser_init(&parser);
    for (int round = 0; round < 20000; ++round) {
        const bridge_message *sent = round % 9 == 8 ? &longest : &bridge_vectors[round % 9].message;
        const frame intact = framed(sent);
        uint8_t garbage[300];
        size_t length = any_below(sizeof garbage);
        for (size_t i = 0; i < length; ++i) {
            garbage[i] = (uint8_t)(any() % (round % 2 ? 256 : 4));
        }
        if (round % 3 == 0) {
            length = any_below((uint32_t)intact.count - 1); /* without its end */
            memcpy(garbage, intact.at, length);
        }
        REQUIRE(found(&parser, garbage, length, sent) == 0);
        REQUIRE(found(&parser, intact.at, intact.count, sent) == 1);
        REQUIRE(parser.length == 0 && parser.frames == (uint32_t)round + 1);
    }
    REQUIRE(parser.corrupt > 0 && parser.skipped > parser.corrupt);
}

/* Of three frames the middle one has one wrong bit: it is not taken for anything, and the others are found. Only the
 * zeros at its ends may carry damage that does no harm. */
static void a_wrong_bit_costs_one_frame(void)
{
    for (int i = 0; i < BRIDGE_VECTORS; ++i) {
        const bridge_message *sent = &bridge_vectors[i].message;
        const frame intact = framed(sent);
        for (size_t bit = 0; bit < 8 * intact.count; ++bit) {
            frame damaged = intact;
            damaged.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
            bridge_parser parser;
            bridge_parser_init(&parser);
            REQUIRE(found(&parser, intact.at, intact.count, sent) == 1);
            REQUIRE(found(&parser, damaged.at, damaged.count, sent) == 0);
            REQUIRE(found(&parser, intact.at, intact.count, sent) == 1);
        }
    }
}

static void a_burst_costs_one_frame(void)
{
    for (int burst = 0; burst < 50000; ++burst) {
        const bridge_message *sent = &bridge_vectors[burst % BRIDGE_VECTORS].message;
        const frame intact = framed(sent);
        frame damaged = intact;
        const size_t from = any_below((uint32_t)intact.count);
        const size_t most = 1 + any_below(8);
        for (size_t i = from; i < intact.count && i < from + most; ++i) {
            damaged.at[i] = (uint8_t)any();
        }
        const bool changed = memcmp(damaged.at + 1, intact.at + 1, intact.count - 2) != 0;
        bridge_parser parser;
        bridge_parser_init(&parser);
        REQUIRE(found(&parser, intact.at, intact.count, sent) == 1);
        REQUIRE(found(&parser, damaged.at, damaged.count, sent) == 0 || !changed);
        REQUIRE(found(&parser, intact.at, intact.count, sent) == 1);
    }
}

static void counters(void)
{
    const bridge_message *sent = &bridge_vectors[STOP].message;
    const frame intact = framed(sent);
    const uint8_t noise[] = {1, 2, 3, 4, 5, 0, 0, 0, 9};
    bridge_parser parser;
    bridge_parser_init(&parser);
    REQUIRE(found(&parser, noise, sizeof noise, sent) == 0);
    REQUIRE(parser.corrupt == 1 && parser.skipped == 6);
    REQUIRE(found(&parser, intact.at, intact.count, sent) == 1);
    REQUIRE(parser.corrupt == 2 && parser.skipped == 6 && parser.frames == 1);
}

void test_bridge_serial(void)
{
    vectors();
    counters();
    garbage_costs_nothing();
    a_wrong_bit_costs_one_frame();
    a_burst_costs_one_frame();
}
