/* Any stream: what is found is what a sender would have sent, and an intact frame behind it is found at once. */
#include "bridge_serial.h"

#include <string.h>

#include "fuzz.h"

static void is_what_was_sent(const bridge_message *message, const uint8_t *end)
{
    uint8_t bytes[BRIDGE_MAX_LENGTH];
    uint8_t frame[BRIDGE_SERIAL_MAX_FRAME];
    const size_t length = bridge_serial_frame(bytes, bridge_encode(message, bytes), frame);
    must(length > 0 && memcmp(end - (length - 1), frame + 1, length - 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t stop[] = {0x00, 0x02, 0x03, 0x05, 0x3C, 0x41, 0xF4, 0x6A, 0x00};
    bridge_parser parser;
    bridge_message message;
    bridge_parser_init(&parser);
    for (size_t i = 0; i < size; ++i) {
        if (bridge_parser_push(&parser, data[i], &message)) {
            is_what_was_sent(&message, data + i + 1);
        }
    }
    bool found = false;
    for (size_t i = 0; i < sizeof stop; ++i) {
        found = bridge_parser_push(&parser, stop[i], &message);
    }
    must(found && message.kind == BRIDGE_STOP);
    must(!bridge_decode(data, size, &message) || bridge_length(data[0], data[1]) == size);
    return 0;
}
