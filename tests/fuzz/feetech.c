/* Any stream, in pieces: what is found is what a sender would have sent, however the stream is cut, and an intact frame
 * behind it is found. */
#include "feetech.h"

#include <string.h>

#include "fuzz.h"

enum { MOST = 64 };

/* A number for all that is found, pushing `step` bytes at a time; the last frame's id. */
static uint32_t found(feetech_parser *parser, const uint8_t *data, size_t size, size_t step, uint8_t *last)
{
    uint32_t hash = HASH_BEGIN;
    feetech_frame frame;
    for (size_t done = 0; done < size;) {
        const size_t piece = size - done < step ? size - done : step;
        done += feetech_parser_push(parser, data + done, piece);
        while (feetech_parser_next(parser, &frame)) {
            uint8_t again[FEETECH_MAX_FRAME];
            const size_t length =
                feetech_frame_build(frame.id, frame.code, frame.params, frame.count, again, sizeof again);
            must(length == parser->consumed);
            hash = hashed(hash, again, length);
            *last = frame.id;
        }
    }
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    feetech_parser whole;
    feetech_parser pieces;
    uint8_t last = 0;
    feetech_parser_init(&whole, MOST);
    feetech_parser_init(&pieces, MOST);
    const uint32_t at_once = found(&whole, data, size, size + 1, &last);
    must(at_once == found(&pieces, data, size, 1 + size % 7, &last));
    must(whole.frames == pieces.frames && whole.skipped == pieces.skipped && whole.corrupt == pieces.corrupt);

    uint8_t ping[FEETECH_OVERHEAD];
    const size_t length = feetech_ping(77, ping, sizeof ping);
    last = 0;
    for (size_t sent = 0; sent < MOST + FEETECH_OVERHEAD + 2 * length; sent += length) {
        found(&whole, ping, length, length, &last);
    }
    must(last == 77 && whole.length - whole.consumed == 0);
    return 0;
}
