#include "dynamixel.h"

#include <string.h>

enum { ID_AT = 4, LENGTH_AT = 5, INSTRUCTION_AT = 7, PARAMS_AT = 8, CRC_SIZE = 2, STUFFING = 0xFD };

static const uint8_t header[] = {0xFF, 0xFF, 0xFD, 0x00};

/* Polynomial 0x8005, most significant bit first, four bits at a time. */
static uint16_t crc16(const uint8_t *bytes, size_t count)
{
    static const uint16_t table[] = {0x0000, 0x8005, 0x800F, 0x000A, 0x801B, 0x001E, 0x0014, 0x8011,
                                     0x8033, 0x0036, 0x003C, 0x8039, 0x0028, 0x802D, 0x8027, 0x0022};
    unsigned crc = 0;
    for (size_t i = 0; i < count; ++i) {
        crc = (crc << 4 ^ table[(crc >> 12 ^ bytes[i] >> 4) & 0xF]) & 0xFFFF;
        crc = (crc << 4 ^ table[(crc >> 12 ^ bytes[i]) & 0xF]) & 0xFFFF;
    }
    return (uint16_t)crc;
}

/* Whether the three bytes that end before `end` are what must be followed by stuffing. */
static bool needs_stuffing(const uint8_t *frame, size_t end)
{
    return end >= INSTRUCTION_AT + 3 && frame[end - 3] == 0xFF && frame[end - 2] == 0xFF && frame[end - 1] == 0xFD;
}

/* A frame being written. `at` above `most` says that it did not fit. */
typedef struct {
    uint8_t *out;
    size_t at;
    size_t most; /* the first byte that is no longer for parameters */
} writer;

static bool store(writer *frame, uint8_t byte)
{
    if (frame->at >= frame->most) {
        frame->at = frame->most + 1;
        return false;
    }
    frame->out[frame->at++] = byte;
    return true;
}

static void put(writer *frame, uint8_t byte)
{
    if (store(frame, byte) && needs_stuffing(frame->out, frame->at)) {
        store(frame, STUFFING);
    }
}

static void put_all(writer *frame, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count && frame->at <= frame->most; ++i) {
        put(frame, bytes[i]);
    }
}

static void put_word(writer *frame, uint16_t word)
{
    put(frame, (uint8_t)(word & 0xFF));
    put(frame, (uint8_t)(word >> 8));
}

static writer begin(uint8_t id, uint8_t instruction, uint8_t *out, size_t capacity)
{
    const size_t size = capacity < DYNAMIXEL_MAX_FRAME ? capacity : DYNAMIXEL_MAX_FRAME;
    if (size < DYNAMIXEL_OVERHEAD || (id > DYNAMIXEL_MAX_ID && id != DYNAMIXEL_BROADCAST)) {
        return (writer){out, 1, 0};
    }
    memcpy(out, header, sizeof header);
    out[ID_AT] = id;
    out[INSTRUCTION_AT] = instruction;
    return (writer){out, PARAMS_AT, size - CRC_SIZE};
}

static size_t finish(const writer *frame)
{
    if (frame->at > frame->most) {
        return 0;
    }
    const size_t length = frame->at + CRC_SIZE - INSTRUCTION_AT;
    frame->out[LENGTH_AT] = (uint8_t)(length & 0xFF);
    frame->out[LENGTH_AT + 1] = (uint8_t)(length >> 8);
    const uint16_t crc = crc16(frame->out, frame->at);
    frame->out[frame->at] = (uint8_t)(crc & 0xFF);
    frame->out[frame->at + 1] = (uint8_t)(crc >> 8);
    return frame->at + CRC_SIZE;
}

size_t dynamixel_frame_build(uint8_t id, uint8_t instruction, const uint8_t *params, size_t count, uint8_t *out,
                             size_t capacity)
{
    writer frame = begin(id, instruction, out, capacity);
    put_all(&frame, params, count);
    return finish(&frame);
}

size_t dynamixel_ping(uint8_t id, uint8_t *out, size_t capacity)
{
    return dynamixel_frame_build(id, DYNAMIXEL_PING, NULL, 0, out, capacity);
}

size_t dynamixel_read(uint8_t id, uint16_t address, uint16_t length, uint8_t *out, size_t capacity)
{
    writer frame = begin(id, DYNAMIXEL_READ, out, capacity);
    put_word(&frame, address);
    put_word(&frame, length);
    return finish(&frame);
}

size_t dynamixel_write(uint8_t id, uint16_t address, const uint8_t *data, size_t length, uint8_t *out, size_t capacity)
{
    writer frame = begin(id, DYNAMIXEL_WRITE, out, capacity);
    put_word(&frame, address);
    put_all(&frame, data, length);
    return finish(&frame);
}

size_t dynamixel_sync_write(uint16_t address, uint16_t length, const uint8_t *ids, const uint8_t *data, size_t count,
                            uint8_t *out, size_t capacity)
{
    writer frame = begin(DYNAMIXEL_BROADCAST, DYNAMIXEL_SYNC_WRITE, out, capacity);
    put_word(&frame, address);
    put_word(&frame, length);
    for (size_t i = 0; i < count && frame.at <= frame.most; ++i) {
        put(&frame, ids[i]);
        put_all(&frame, data + i * length, length);
    }
    return finish(&frame);
}

size_t dynamixel_status(uint8_t id, uint8_t error, const uint8_t *params, size_t count, uint8_t *out, size_t capacity)
{
    writer frame = begin(id, DYNAMIXEL_STATUS, out, capacity);
    put(&frame, error);
    put_all(&frame, params, count);
    return finish(&frame);
}

void dynamixel_parser_init(dynamixel_parser *parser, size_t max_params)
{
    memset(parser, 0, sizeof *parser);
    parser->max_params = max_params < DYNAMIXEL_MAX_PARAMS ? max_params : DYNAMIXEL_MAX_PARAMS;
}

void dynamixel_parser_reset(dynamixel_parser *parser)
{
    parser->length = 0;
    parser->consumed = 0;
}

static void drop(dynamixel_parser *parser, size_t count)
{
    parser->length -= count;
    memmove(parser->buffer, parser->buffer + count, parser->length);
}

static void release(dynamixel_parser *parser)
{
    drop(parser, parser->consumed);
    parser->consumed = 0;
}

size_t dynamixel_parser_push(dynamixel_parser *parser, const uint8_t *bytes, size_t count)
{
    release(parser);
    const size_t room = DYNAMIXEL_MAX_FRAME - parser->length;
    const size_t taken = count < room ? count : room;
    if (taken > 0) { /* memcpy of nothing from a null pointer is undefined */
        memcpy(parser->buffer + parser->length, bytes, taken);
        parser->length += taken;
    }
    return taken;
}

/* Bytes of the frame that the buffer begins with: 0 when it begins none, `more` when that is not known yet. */
static size_t expected(const dynamixel_parser *parser, size_t more)
{
    const uint8_t *at = parser->buffer;
    if (memcmp(at, header, parser->length < sizeof header ? parser->length : sizeof header) != 0) {
        return 0;
    }
    if (parser->length > ID_AT && at[ID_AT] > DYNAMIXEL_MAX_ID && at[ID_AT] != DYNAMIXEL_BROADCAST) {
        return 0;
    }
    if (parser->length < INSTRUCTION_AT) {
        return more;
    }
    const size_t length = (size_t)(at[LENGTH_AT] | at[LENGTH_AT + 1] << 8);
    const size_t least = DYNAMIXEL_OVERHEAD - INSTRUCTION_AT;
    return length >= least && length <= least + parser->max_params ? INSTRUCTION_AT + length : 0;
}

static bool intact(const uint8_t *at, size_t size)
{
    const size_t end = size - CRC_SIZE;
    if (crc16(at, end) != (at[end] | at[end + 1] << 8)) {
        return false;
    }
    for (size_t i = INSTRUCTION_AT + 3; i <= end; ++i) {
        if (needs_stuffing(at, i) && (i == end || at[i] != STUFFING)) {
            return false;
        }
    }
    return at[INSTRUCTION_AT] != DYNAMIXEL_STATUS || end > PARAMS_AT;
}

/* In place, from the first parameter on; returns where they end. */
static size_t unstuff(uint8_t *at, size_t end)
{
    size_t to = PARAMS_AT;
    for (size_t from = PARAMS_AT; from < end; ++from) {
        at[to++] = at[from];
        if (needs_stuffing(at, to)) {
            ++from; /* intact() has seen that it is stuffing */
        }
    }
    return to;
}

bool dynamixel_parser_next(dynamixel_parser *parser, dynamixel_frame *frame)
{
    release(parser);
    while (parser->length > 0) {
        const size_t size = expected(parser, sizeof parser->buffer + 1);
        if (size > parser->length) {
            return false;
        }
        if (size > 0 && intact(parser->buffer, size)) {
            uint8_t *at = parser->buffer;
            const size_t end = unstuff(at, size - CRC_SIZE);
            const bool status = at[INSTRUCTION_AT] == DYNAMIXEL_STATUS;
            const size_t params_at = status ? PARAMS_AT + 1 : PARAMS_AT;
            *frame = (dynamixel_frame){at[ID_AT], at[INSTRUCTION_AT], status ? at[PARAMS_AT] : (uint8_t)0,
                                       at + params_at, end - params_at};
            parser->consumed = size;
            parser->frames += 1;
            return true;
        }
        parser->corrupt += size > 0;
        drop(parser, 1);
        parser->skipped += 1;
    }
    return false;
}
