#include "bridge_serial.h"

#include <string.h>

size_t bridge_serial_frame(const uint8_t *message, size_t length, uint8_t out[BRIDGE_SERIAL_MAX_FRAME])
{
    if (length < BRIDGE_STOP_LENGTH || length > BRIDGE_MAX_LENGTH) {
        return 0;
    }
    out[0] = 0;
    const size_t encoded = cobs_encode(message, length, out + 1, BRIDGE_SERIAL_MAX_FRAME - 2);
    out[1 + encoded] = 0;
    return encoded + 2;
}

void bridge_parser_init(bridge_parser *parser)
{
    memset(parser, 0, sizeof *parser);
}

bool bridge_parser_push(bridge_parser *parser, uint8_t byte, bridge_message *message)
{
    if (byte != 0) {
        if (parser->length < sizeof parser->buffer) {
            parser->buffer[parser->length] = byte;
        }
        parser->length += parser->length <= sizeof parser->buffer;
        parser->skipped += 1; /* until it turns out to belong to a message */
        return false;
    }
    const size_t encoded = parser->length;
    size_t length = 0;
    parser->length = 0;
    if (encoded == 0) {
        return false;
    }
    if (encoded <= sizeof parser->buffer && cobs_decode(parser->buffer, encoded, &length) &&
        bridge_decode(parser->buffer, length, message)) {
        parser->frames += 1;
        parser->skipped -= (uint32_t)encoded;
        return true;
    }
    parser->corrupt += 1;
    return false;
}
