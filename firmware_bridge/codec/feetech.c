#include "feetech.h"

#include <string.h>

enum { HEADER = 0xFF, ID_AT = 2, LENGTH_AT = 3, CODE_AT = 4, PARAMS_AT = 5 };

/* Sum over ID, LEN, INST and the parameters. */
static uint8_t checksum(const uint8_t *frame, size_t params)
{
    unsigned sum = 0;
    for (size_t i = ID_AT; i < PARAMS_AT + params; ++i) {
        sum += frame[i];
    }
    return (uint8_t)~sum;
}

/* Writes everything but the parameters, which the caller has put in place. */
static size_t seal(uint8_t *out, uint8_t id, uint8_t code, size_t params)
{
    out[0] = HEADER;
    out[1] = HEADER;
    out[ID_AT] = id;
    out[LENGTH_AT] = (uint8_t)(params + 2);
    out[CODE_AT] = code;
    out[PARAMS_AT + params] = checksum(out, params);
    return params + FEETECH_OVERHEAD;
}

static bool fits(uint8_t id, size_t params, size_t capacity)
{
    return id <= FEETECH_BROADCAST && params <= FEETECH_MAX_PARAMS && params + FEETECH_OVERHEAD <= capacity;
}

static void copy(uint8_t *to, const uint8_t *from, size_t count)
{
    if (count > 0) { /* memcpy of nothing from a null pointer is undefined */
        memcpy(to, from, count);
    }
}

size_t feetech_frame_build(uint8_t id, uint8_t code, const uint8_t *params, size_t count, uint8_t *out, size_t capacity)
{
    if (!fits(id, count, capacity)) {
        return 0;
    }
    copy(out + PARAMS_AT, params, count);
    return seal(out, id, code, count);
}

size_t feetech_ping(uint8_t id, uint8_t *out, size_t capacity)
{
    return feetech_frame_build(id, FEETECH_PING, NULL, 0, out, capacity);
}

size_t feetech_read(uint8_t id, uint8_t address, uint8_t length, uint8_t *out, size_t capacity)
{
    const uint8_t params[2] = {address, length};
    return feetech_frame_build(id, FEETECH_READ, params, sizeof params, out, capacity);
}

size_t feetech_write(uint8_t id, uint8_t address, const uint8_t *data, size_t length, uint8_t *out, size_t capacity)
{
    if (length >= FEETECH_MAX_PARAMS || !fits(id, length + 1, capacity)) {
        return 0;
    }
    out[PARAMS_AT] = address;
    copy(out + PARAMS_AT + 1, data, length);
    return seal(out, id, FEETECH_WRITE, length + 1);
}

size_t feetech_sync_read(uint8_t address, uint8_t length, const uint8_t *ids, size_t count, uint8_t *out,
                         size_t capacity)
{
    if (count > FEETECH_MAX_PARAMS - 2 || !fits(FEETECH_BROADCAST, count + 2, capacity)) {
        return 0;
    }
    out[PARAMS_AT] = address;
    out[PARAMS_AT + 1] = length;
    copy(out + PARAMS_AT + 2, ids, count);
    return seal(out, FEETECH_BROADCAST, FEETECH_SYNC_READ, count + 2);
}

size_t feetech_sync_write(uint8_t address, uint8_t length, const uint8_t *ids, const uint8_t *data, size_t count,
                          uint8_t *out, size_t capacity)
{
    const size_t each = (size_t)length + 1;
    if (count > FEETECH_MAX_PARAMS / each || !fits(FEETECH_BROADCAST, count * each + 2, capacity)) {
        return 0;
    }
    out[PARAMS_AT] = address;
    out[PARAMS_AT + 1] = length;
    for (size_t i = 0; i < count; ++i) {
        uint8_t *entry = out + PARAMS_AT + 2 + i * each;
        entry[0] = ids[i];
        copy(entry + 1, data + i * length, length);
    }
    return seal(out, FEETECH_BROADCAST, FEETECH_SYNC_WRITE, count * each + 2);
}

size_t feetech_status(uint8_t id, uint8_t error, const uint8_t *params, size_t count, uint8_t *out, size_t capacity)
{
    return feetech_frame_build(id, error, params, count, out, capacity);
}

uint16_t feetech_to_sign_magnitude(int32_t value, unsigned sign_bit)
{
    const uint32_t most = (1u << sign_bit) - 1u;
    const uint32_t magnitude = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    const uint32_t kept = magnitude < most ? magnitude : most;
    return (uint16_t)(value < 0 ? kept | (1u << sign_bit) : kept);
}

int32_t feetech_from_sign_magnitude(uint16_t word, unsigned sign_bit)
{
    const uint32_t bits = word;
    const int32_t magnitude = (int32_t)(bits & ((1u << sign_bit) - 1u));
    return (bits >> sign_bit & 1u) != 0 ? -magnitude : magnitude;
}

void feetech_parser_init(feetech_parser *parser, size_t max_params)
{
    memset(parser, 0, sizeof *parser);
    parser->max_params = max_params < FEETECH_MAX_PARAMS ? max_params : FEETECH_MAX_PARAMS;
}

void feetech_parser_reset(feetech_parser *parser)
{
    parser->length = 0;
    parser->consumed = 0;
}

static void drop(feetech_parser *parser, size_t count)
{
    parser->length -= count;
    memmove(parser->buffer, parser->buffer + count, parser->length);
}

static void release(feetech_parser *parser)
{
    if (parser->consumed > 0) {
        drop(parser, parser->consumed);
        parser->consumed = 0;
    }
}

size_t feetech_parser_push(feetech_parser *parser, const uint8_t *bytes, size_t count)
{
    release(parser);
    const size_t room = FEETECH_MAX_FRAME - parser->length;
    const size_t taken = count < room ? count : room;
    copy(parser->buffer + parser->length, bytes, taken);
    parser->length += taken;
    return taken;
}

/* Whether what is buffered can still be the start of a frame. */
static bool plausible(const feetech_parser *parser)
{
    const uint8_t *at = parser->buffer;
    if (at[0] != HEADER || (parser->length > 1 && at[1] != HEADER)) {
        return false;
    }
    if (parser->length > ID_AT && at[ID_AT] > FEETECH_BROADCAST) {
        return false;
    }
    return parser->length <= LENGTH_AT || (at[LENGTH_AT] >= 2 && (size_t)at[LENGTH_AT] - 2 <= parser->max_params);
}

bool feetech_parser_next(feetech_parser *parser, feetech_frame *frame)
{
    release(parser);
    while (parser->length > 0) {
        const uint8_t *at = parser->buffer;
        bool candidate = plausible(parser);
        if (candidate) {
            if (parser->length <= LENGTH_AT) {
                return false;
            }
            const size_t params = (size_t)at[LENGTH_AT] - 2;
            if (parser->length < params + FEETECH_OVERHEAD) {
                return false;
            }
            if (at[PARAMS_AT + params] == checksum(at, params)) {
                *frame = (feetech_frame){at[ID_AT], at[CODE_AT], at + PARAMS_AT, params};
                parser->consumed = params + FEETECH_OVERHEAD;
                parser->frames += 1;
                return true;
            }
            parser->corrupt += 1;
        }
        drop(parser, 1);
        parser->skipped += 1;
    }
    return false;
}
