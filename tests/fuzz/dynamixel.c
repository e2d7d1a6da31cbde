/* Any stream, in pieces: what is found is what a sender would have sent, however the stream is cut, and an intact frame
 * behind it is found. */
#include "dynamixel.h"

#include <string.h>

#include "fuzz.h"

enum { MOST = 64 };

/* A number for all that is found, pushing `step` bytes at a time; the last frame's id. */
static uint32_t found(dynamixel_parser *parser, const uint8_t *data, size_t size, size_t step, uint8_t *last)
{
    uint32_t hash = HASH_BEGIN;
    dynamixel_frame frame;
    for (size_t done = 0; done < size;) {
        const size_t piece = size - done < step ? size - done : step;
        done += dynamixel_parser_push(parser, data + done, piece);
        while (dynamixel_parser_next(parser, &frame)) {
            uint8_t again[DYNAMIXEL_MAX_FRAME];
            const bool status = frame.instruction == DYNAMIXEL_STATUS;
            const size_t length =
                status ? dynamixel_status(frame.id, frame.error, frame.params, frame.count, again, sizeof again)
                       : dynamixel_frame_build(frame.id, frame.instruction, frame.params, frame.count, again,
                                               sizeof again);
            must(length == parser->consumed);
            hash = hashed(hash, again, length);
            *last = frame.id;
        }
    }
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dynamixel_parser whole;
    dynamixel_parser pieces;
    uint8_t last = 0;
    dynamixel_parser_init(&whole, MOST);
    dynamixel_parser_init(&pieces, MOST);
    const uint32_t at_once = found(&whole, data, size, size + 1, &last);
    must(at_once == found(&pieces, data, size, 1 + size % 7, &last));
    must(whole.frames == pieces.frames && whole.skipped == pieces.skipped && whole.corrupt == pieces.corrupt);

    uint8_t ping[DYNAMIXEL_OVERHEAD];
    const size_t length = dynamixel_ping(77, ping, sizeof ping);
    last = 0;
    for (size_t sent = 0; sent < MOST + DYNAMIXEL_OVERHEAD + 2 * length; sent += length) {
        found(&whole, ping, length, length, &last);
    }
    must(last == 77 && whole.length - whole.consumed == 0);
    return 0;
}
