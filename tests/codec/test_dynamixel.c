#include <string.h>

#include "check.h"
#include "dynamixel.h"

enum { ROOM = DYNAMIXEL_MAX_FRAME };

static void vectors(void)
{
    uint8_t out[ROOM];
    REQUIRE(same(out, dynamixel_ping(1, out, ROOM), "FF FF FD 00 01 03 00 01 19 4E"));
    REQUIRE(same(out, dynamixel_read(1, DYNAMIXEL_PRESENT_POSITION, 4, out, ROOM),
                 "FF FF FD 00 01 07 00 02 84 00 04 00 1D 15"));
    REQUIRE(same(out, dynamixel_status(1, 0, (uint8_t[]){166, 0, 0, 0}, 4, out, ROOM),
                 "FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0"));
    REQUIRE(same(out, dynamixel_write(1, DYNAMIXEL_GOAL_POSITION, (uint8_t[]){0, 2, 0, 0}, 4, out, ROOM),
                 "FF FF FD 00 01 09 00 03 74 00 00 02 00 00 CA 89"));
    REQUIRE(same(out,
                 dynamixel_sync_write(DYNAMIXEL_GOAL_POSITION, 4, (uint8_t[]){1, 2},
                                      (uint8_t[]){150, 0, 0, 0, 170, 0, 0, 0}, 2, out, ROOM),
                 "FF FF FD 00 FE 11 00 83 74 00 04 00 01 96 00 00 00 02 AA 00 00 00 82 87"));
    REQUIRE(same(out, dynamixel_write(1, DYNAMIXEL_GOAL_POSITION, (uint8_t[]){0xFF, 0xFF, 0xFD, 0}, 4, out, ROOM),
                 "FF FF FD 00 01 0A 00 03 74 00 FF FF FD FD 00 21 E7"));
}

static void refused(void)
{
    uint8_t out[ROOM + 1];
    uint8_t zeros[400] = {0};
    REQUIRE(dynamixel_ping(0xFD, out, ROOM) == 0);
    REQUIRE(dynamixel_ping(0xFF, out, ROOM) == 0);
    REQUIRE(dynamixel_ping(DYNAMIXEL_MAX_ID, out, ROOM) == DYNAMIXEL_OVERHEAD);
    REQUIRE(dynamixel_ping(1, out, DYNAMIXEL_OVERHEAD - 1) == 0);
    REQUIRE(dynamixel_read(1, 0, 4, out, DYNAMIXEL_OVERHEAD + 3) == 0);
    REQUIRE(dynamixel_frame_build(1, 3, zeros, DYNAMIXEL_MAX_PARAMS, out, sizeof out) == DYNAMIXEL_MAX_FRAME);
    REQUIRE(dynamixel_frame_build(1, 3, zeros, DYNAMIXEL_MAX_PARAMS + 1, out, sizeof out) == 0);
    memcpy(zeros, (uint8_t[]){0xFF, 0xFF, 0xFD}, 3); /* stuffing counts */
    REQUIRE(dynamixel_frame_build(1, 3, zeros, DYNAMIXEL_MAX_PARAMS - 1, out, sizeof out) == DYNAMIXEL_MAX_FRAME);
    REQUIRE(dynamixel_frame_build(1, 3, zeros, DYNAMIXEL_MAX_PARAMS, out, sizeof out) == 0);
    REQUIRE(dynamixel_frame_build(1, 3, zeros, 3, out, DYNAMIXEL_OVERHEAD + 3) == 0);
    REQUIRE(dynamixel_sync_write(0, 60, zeros, zeros, 6, out, sizeof out) == 0);
    REQUIRE(dynamixel_sync_write(0, 0xFFFF, zeros, zeros, 1, out, sizeof out) == 0);
}

static uint16_t crc(const uint8_t *bytes, size_t count)
{
    uint16_t crc = 0;
    for (size_t bit = 0; bit < 8 * count; ++bit) {
        const bool set = (bytes[bit / 8] >> (7 - bit % 8) & 1) != crc >> 15;
        crc = (uint16_t)((unsigned)crc << 1 ^ (set ? 0x8005u : 0u));
    }
    return crc;
}

/* The parser's verdict on a frame whose CRC is right: its parameters, or -1. */
static int parameters(const char *hex)
{
    byte_string bytes = bytes_of(hex);
    const uint16_t check = crc(bytes.at, bytes.count);
    bytes.at[bytes.count++] = (uint8_t)(check & 0xFF);
    bytes.at[bytes.count++] = (uint8_t)(check >> 8);
    dynamixel_parser parser;
    dynamixel_frame frame;
    dynamixel_parser_init(&parser, 50);
    REQUIRE(dynamixel_parser_push(&parser, bytes.at, bytes.count) == bytes.count);
    const bool found = dynamixel_parser_next(&parser, &frame);
    REQUIRE(parser.corrupt == (found ? 0 : 1));
    return found ? (int)frame.count : -1;
}

static void what_no_sender_makes_is_corrupt(void)
{
    REQUIRE(parameters("FF FF FD 00 01 04 00 55 00") == 0);
    REQUIRE(parameters("FF FF FD 00 01 03 00 55") == -1);                  /* a status without its error byte */
    REQUIRE(parameters("FF FF FD 00 01 07 00 03 FF FF FD FD") == 3);       /* stuffing at the end */
    REQUIRE(parameters("FF FF FD 00 01 06 00 03 FF FF FD") == -1);         /* missing there */
    REQUIRE(parameters("FF FF FD 00 01 07 00 03 FF FF FD 00") == -1);      /* or before another byte */
    REQUIRE(parameters("FF FF FD 00 01 07 00 FF FF FD FD 07") == 3);       /* from the instruction on */
    REQUIRE(parameters("FF FF FD 00 01 09 00 55 FF FF FD FD FF FD") == 4); /* from the error byte on */
    REQUIRE(parameters("FF FF FD 00 01 08 00 03 FF FE FD FF FD") == 5);    /* looks like it and is not */
}

/* All intact frames around the damage are found, whole or byte by byte. */
static void found_behind_damage(void)
{
    const byte_string stream = bytes_of(
        "01 FF FD FF FF FF FD 00 01 03 00 01 19 4E "             /* a header that begins late */
        "FF FF FD 00 FD FF FF FD 00 FF FF FF FD 00 01 02 00 "    /* no such id, twice; too short */
        "FF FF FD 00 01 34 00 FF FF FD 00 01 00 01 FF FF FD 01 " /* too long for this parser, twice */
        "FF FF FD 00 01 03 00 01 19 4F "                         /* one bit wrong */
        "FF FF FD 00 FE 03 00 01 31 42");
    for (size_t step = 1; step <= stream.count; ++step) {
        dynamixel_parser parser;
        dynamixel_frame frame;
        uint8_t ids[4];
        size_t found = 0;
        dynamixel_parser_init(&parser, 20);
        for (size_t at = 0; at < stream.count; at += step) {
            const size_t count = stream.count - at < step ? stream.count - at : step;
            REQUIRE(dynamixel_parser_push(&parser, stream.at + at, count) == count);
            while (dynamixel_parser_next(&parser, &frame)) {
                REQUIRE(frame.instruction == DYNAMIXEL_PING && frame.count == 0 && frame.error == 0);
                ids[found++] = frame.id;
            }
        }
        REQUIRE(found == 2 && ids[0] == 1 && ids[1] == DYNAMIXEL_BROADCAST);
        REQUIRE(parser.frames == 2 && parser.corrupt == 1 && parser.skipped == stream.count - 20);
    }
}

enum { MOST = 20, PIECES = 6 };

/* The length of the intact frame that begins here; 0 when none does. */
static size_t intact_at(const uint8_t *at, size_t left)
{
    static const uint8_t header[] = {0xFF, 0xFF, 0xFD, 0x00};
    if (left < DYNAMIXEL_OVERHEAD || memcmp(at, header, sizeof header) != 0 || at[4] == 0xFD || at[4] == 0xFF) {
        return 0;
    }
    const size_t length = (size_t)(at[5] | at[6] << 8) + 7;
    if (length < DYNAMIXEL_OVERHEAD || length > left) {
        return 0;
    }
    const uint16_t check = crc(at, length - 2);
    return at[length - 2] == (check & 0xFF) && at[length - 1] == check >> 8 ? length : 0;
}

/* Garbage, frames and parts of frames: what is found is what one finds who tries every byte as a beginning. */
static void nothing_intact_is_lost_behind_garbage(void)
{
    static const uint8_t often[] = {0xFF, 0xFF, 0xFD, 0xFD, 0x00, 0x01, 0x05, 0x55};
    enum { LONGEST = 2 * MOST + DYNAMIXEL_OVERHEAD }; /* with stuffing */
    size_t all = 0;
    for (int round = 0; round < 5000; ++round) {
        uint8_t stream[(PIECES + 1) * LONGEST] = {0};
        size_t length = 0;
        for (int piece = 0; piece < PIECES; ++piece) {
            uint8_t bytes[MOST];
            for (size_t i = 0; i < MOST; ++i) {
                bytes[i] = round % 4 == 0 ? (uint8_t)any() : often[any_below(sizeof often)];
            }
            size_t count = any_below(MOST);
            if (piece % 2 == 0) {
                memcpy(stream + length, bytes, count);
            } else {
                count = dynamixel_status((uint8_t)any_below(0xFD), (uint8_t)any(), bytes, count, stream + length,
                                         sizeof stream - length);
                count -= any() % 3 == 0 ? any_below((uint32_t)count) : 0;
                memset(stream + length + count, 0, sizeof stream - length - count);
            }
            length += count;
        }
        length += LONGEST; /* of zeros: nothing is waited for any more */
        dynamixel_parser parser;
        dynamixel_frame frame;
        dynamixel_parser_init(&parser, LONGEST - DYNAMIXEL_OVERHEAD);
        size_t at = 0;
        for (size_t pushed = 0; pushed < length; ++pushed) {
            REQUIRE(dynamixel_parser_push(&parser, stream + pushed, 1) == 1);
            while (dynamixel_parser_next(&parser, &frame)) {
                while (intact_at(stream + at, length - at) == 0) {
                    at += 1;
                    REQUIRE(at < length);
                }
                REQUIRE(frame.id == stream[at + 4] && frame.instruction == stream[at + 7]);
                at += intact_at(stream + at, length - at);
                REQUIRE(at <= pushed + 1);
                all += 1;
            }
        }
        for (; at < length; ++at) {
            REQUIRE(intact_at(stream + at, length - at) == 0);
        }
    }
    REQUIRE(all > 5000);
}

static void buffer_ends(void)
{
    uint8_t many[DYNAMIXEL_MAX_FRAME + 1] = {0xFF, 0xFF, 0xFD, 0, 1, 0xFD};
    dynamixel_parser parser;
    dynamixel_frame frame;
    dynamixel_parser_init(&parser, 1000);
    REQUIRE(dynamixel_parser_push(&parser, many, sizeof many) == DYNAMIXEL_MAX_FRAME);
    REQUIRE(dynamixel_parser_push(&parser, NULL, 0) == 0);
    REQUIRE(!dynamixel_parser_next(&parser, &frame));
    REQUIRE(parser.corrupt == 1 && parser.length == 0);
    REQUIRE(dynamixel_parser_push(&parser, many, 5) == 5);
    REQUIRE(!dynamixel_parser_next(&parser, &frame) && parser.length == 5);
    dynamixel_parser_reset(&parser);
    REQUIRE(parser.length == 0 && parser.corrupt == 1);
}

void test_dynamixel(void)
{
    vectors();
    refused();
    what_no_sender_makes_is_corrupt();
    found_behind_damage();
    buffer_ends();
    nothing_intact_is_lost_behind_garbage();
}
