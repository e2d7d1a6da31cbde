/* Bridge messages over a serial line: a zero, the message in COBS, a zero.
 *
 * No zero is inside a frame, so whatever came before, the zero in front begins anew: a frame that arrives whole, its
 * two zeros included, is always found. Damage costs the frame it hits and no other, as long as it does not also hit
 * both zeros between two frames.
 */
#ifndef EDGEARM_BRIDGE_SERIAL_H
#define EDGEARM_BRIDGE_SERIAL_H

#include "bridge.h"
#include "cobs.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BRIDGE_SERIAL_MAX_FRAME = COBS_ENCODED(BRIDGE_MAX_LENGTH) + 2 };

/* Frames what bridge_encode has written; returns the frame's length, or 0 for a length that no message has. */
size_t bridge_serial_frame(const uint8_t *message, size_t length, uint8_t out[BRIDGE_SERIAL_MAX_FRAME]);

typedef struct {
    uint8_t buffer[COBS_ENCODED(BRIDGE_MAX_LENGTH)];
    size_t length;    /* bytes since the last zero, more than `buffer` holds when it is too long for a frame */
    uint32_t frames;  /* messages handed out */
    uint32_t corrupt; /* what stood between two zeros and was none */
    uint32_t skipped; /* bytes of those */
} bridge_parser;

void bridge_parser_init(bridge_parser *parser);

/* True, and `message` filled, when this byte completes a message. */
bool bridge_parser_push(bridge_parser *parser, uint8_t byte, bridge_message *message);

#ifdef __cplusplus
}
#endif

#endif
