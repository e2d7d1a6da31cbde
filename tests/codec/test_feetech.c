#include <string.h>

#include "check.h"
#include "feetech.h"

enum { ROOM = FEETECH_MAX_FRAME };

static const uint8_t centre[] = {0x00, 0x08};
static const uint8_t six[] = {1, 2, 3, 4, 5, 6};

static void vectors(void)
{
    uint8_t out[ROOM];
    REQUIRE(same(out, feetech_ping(1, out, ROOM), "FF FF 01 02 01 FB"));
    REQUIRE(same(out, feetech_status(1, 0, NULL, 0, out, ROOM), "FF FF 01 02 00 FC"));
    REQUIRE(same(out, feetech_read(1, FEETECH_PRESENT_POSITION, 2, out, ROOM), "FF FF 01 04 02 38 02 BE"));
    REQUIRE(same(out, feetech_status(1, 0, centre, 2, out, ROOM), "FF FF 01 04 00 00 08 F2"));
    const uint16_t minus_five = feetech_to_sign_magnitude(-5, FEETECH_SIGN_POSITION);
    const uint8_t word[] = {(uint8_t)(minus_five & 0xFF), (uint8_t)(minus_five >> 8)};
    REQUIRE(same(out, feetech_status(1, 0, word, 2, out, ROOM), "FF FF 01 04 00 05 80 75"));
    REQUIRE(
        same(out, feetech_write(1, FEETECH_TORQUE_ENABLE, (uint8_t[]){1}, 1, out, ROOM), "FF FF 01 04 03 28 01 CE"));
    REQUIRE(same(out, feetech_write(FEETECH_BROADCAST, FEETECH_TORQUE_ENABLE, (uint8_t[]){0}, 1, out, ROOM),
                 "FF FF FE 04 03 28 00 D2"));
    REQUIRE(same(out, feetech_write(1, FEETECH_GOAL_POSITION, centre, 2, out, ROOM), "FF FF 01 05 03 2A 00 08 C4"));
    const uint8_t motion[] = {50, 0x00, 0x08, 0, 0, 0xE8, 0x03};
    REQUIRE(same(out, feetech_write(1, FEETECH_ACCELERATION, motion, sizeof motion, out, ROOM),
                 "FF FF 01 0A 03 29 32 00 08 00 00 E8 03 A3"));
    REQUIRE(same(out, feetech_sync_read(FEETECH_PRESENT_POSITION, 2, six, 6, out, ROOM),
                 "FF FF FE 0A 82 38 02 01 02 03 04 05 06 26"));
    const uint8_t centres[] = {0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8};
    REQUIRE(same(out, feetech_sync_write(FEETECH_GOAL_POSITION, 2, six, centres, 6, out, ROOM),
                 "FF FF FE 16 83 2A 02 01 00 08 02 00 08 03 00 08 04 00 08 05 00 08 06 00 08 F7"));
    REQUIRE(same(out, feetech_status(6, FEETECH_ERROR_OVERLOAD, NULL, 0, out, ROOM), "FF FF 06 02 20 D7"));
}

static void found_behind_damage(void)
{
    const byte_string stream = bytes_of(
        "00 FF 01 FF FF FF FF FF 01 01 FF FF 01 02 01 FA "
        "FF FF 01 04 00 05 80 75");
    feetech_parser parser;
    feetech_frame frame;
    feetech_parser_init(&parser, 20);
    REQUIRE(feetech_parser_push(&parser, stream.at, stream.count) == stream.count);
    REQUIRE(feetech_parser_next(&parser, &frame));
    REQUIRE(frame.id == 1 && frame.code == 0 && frame.count == 2);
    REQUIRE(feetech_from_sign_magnitude((uint16_t)(frame.params[0] | frame.params[1] << 8), 15) == -5);
    REQUIRE(!feetech_parser_next(&parser, &frame));
    REQUIRE(parser.frames == 1 && parser.corrupt == 1 && parser.skipped == stream.count - 8);
    feetech_parser_reset(&parser);
    REQUIRE(parser.length == 0);
}

static void refused(void)
{
    uint8_t out[ROOM];
    const uint8_t zeros[FEETECH_MAX_FRAME] = {0};
    REQUIRE(feetech_ping(0xFF, out, ROOM) == 0);
    REQUIRE(feetech_ping(1, out, 5) == 0);
    REQUIRE(feetech_write(1, 0, zeros, FEETECH_MAX_PARAMS, out, ROOM) == 0);
    REQUIRE(feetech_write(1, 0, zeros, 2, out, 8) == 0);
    REQUIRE(feetech_sync_read(0, 2, zeros, 252, out, ROOM) == 0);
    REQUIRE(feetech_sync_read(0, 2, zeros, 2, out, 8) == 0);
    REQUIRE(feetech_sync_write(0, 2, zeros, zeros, 85, out, ROOM) == 0);
    REQUIRE(feetech_sync_write(0, 2, zeros, zeros, 84, out, ROOM) == 0);
    REQUIRE(feetech_frame_build(1, 0, zeros, FEETECH_MAX_PARAMS + 1, out, ROOM + 1) == 0);
    REQUIRE(feetech_to_sign_magnitude(5000, 11) == 0x7FF && feetech_to_sign_magnitude(5, 15) == 5);
    REQUIRE(feetech_from_sign_magnitude(5, 15) == 5);
}

/* Every start of a frame may go on or turn out to be none. */
static void one_byte_at_a_time(void)
{
    const byte_string stream = bytes_of("FF FF FF 01 FF FF 01 01 FF FF 01 20 FF FF FF 03 02 01 F9 FF FF 03 02 01 F9");
    feetech_parser parser;
    feetech_frame frame;
    int found = 0;
    feetech_parser_init(&parser, 10);
    for (size_t i = 0; i < stream.count; ++i) {
        REQUIRE(feetech_parser_push(&parser, &stream.at[i], 1) == 1);
        found += feetech_parser_next(&parser, &frame) && frame.id == 3;
    }
    REQUIRE(found == 2);
    uint8_t many[FEETECH_MAX_FRAME + 1] = {0xFF, 0xFF, 1, 255};
    feetech_parser_init(&parser, 1000);
    REQUIRE(feetech_parser_push(&parser, many, sizeof many) == FEETECH_MAX_FRAME);
    REQUIRE(feetech_parser_push(&parser, NULL, 0) == 0);
}

enum { MOST = 20, PIECES = 6 };

/* The length of the intact frame that begins here; 0 when none does. */
static size_t intact_at(const uint8_t *at, size_t left)
{
    if (left < FEETECH_OVERHEAD || at[0] != 0xFF || at[1] != 0xFF || at[2] == 0xFF || at[3] < 2 || at[3] > MOST + 2) {
        return 0;
    }
    const size_t length = at[3] + 4u;
    unsigned sum = 0;
    for (size_t i = 2; i + 1 < length && length <= left; ++i) {
        sum += at[i];
    }
    return length <= left && at[length - 1] == (uint8_t)~sum ? length : 0;
}

/* Garbage, frames and parts of frames: what is found is what one finds who tries every byte as a beginning. */
static void nothing_intact_is_lost_behind_garbage(void)
{
    size_t all = 0;
    for (int round = 0; round < 20000; ++round) {
        uint8_t stream[PIECES * (MOST + FEETECH_OVERHEAD) + MOST + FEETECH_OVERHEAD] = {0};
        size_t length = 0;
        for (int piece = 0; piece < PIECES; ++piece) {
            uint8_t bytes[MOST];
            for (size_t i = 0; i < MOST; ++i) {
                bytes[i] = (uint8_t)(any() % 3 == 0 ? 0xFF : any() % (round % 2 != 0 ? 256 : 8));
            }
            size_t count = any_below(MOST);
            if (piece % 2 == 0) {
                memcpy(stream + length, bytes, count);
            } else {
                count = feetech_status((uint8_t)any_below(0xFE), (uint8_t)any(), bytes, count, stream + length,
                                       sizeof stream - length);
                count -= any() % 3 == 0 ? any_below((uint32_t)count) : 0;
                memset(stream + length + count, 0, sizeof stream - length - count);
            }
            length += count;
        }
        length += MOST + FEETECH_OVERHEAD; /* of zeros: nothing is waited for any more */
        feetech_parser parser;
        feetech_frame frame;
        feetech_parser_init(&parser, MOST);
        size_t at = 0;
        for (size_t pushed = 0; pushed < length; ++pushed) {
            REQUIRE(feetech_parser_push(&parser, stream + pushed, 1) == 1);
            while (feetech_parser_next(&parser, &frame)) {
                while (intact_at(stream + at, length - at) == 0) {
                    at += 1;
                    REQUIRE(at < length);
                }
                REQUIRE(frame.id == stream[at + 2] && frame.code == stream[at + 4]);
                REQUIRE(memcmp(frame.params, stream + at + 5, frame.count) == 0);
                at += intact_at(stream + at, length - at);
                REQUIRE(at <= pushed + 1);
                all += 1;
            }
        }
        for (; at < length; ++at) {
            REQUIRE(intact_at(stream + at, length - at) == 0);
        }
    }
    REQUIRE(all > 20000);
}

void test_feetech(void)
{
    vectors();
    found_behind_damage();
    refused();
    one_byte_at_a_time();
    nothing_intact_is_lost_behind_garbage();
}
