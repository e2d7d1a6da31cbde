/* Any frames (a length, then as many bytes): what is put together is what a sender would have sent, from the frames
 * right before, and an intact message behind them is found. The first byte says classic or CAN-FD. */
#include "bridge_can.h"

#include <string.h>

#include "fuzz.h"

enum { HISTORY = 16 };

typedef struct {
    uint8_t at[BRIDGE_CAN_FD];
    size_t size;
} can_frame;

static void is_what_was_sent(const bridge_message *message, size_t frame_size, const can_frame *frames, size_t count)
{
    uint8_t bytes[BRIDGE_MAX_LENGTH];
    uint8_t data[BRIDGE_CAN_FD];
    const size_t length = bridge_encode(message, bytes);
    const size_t fragments = (length + frame_size - 2) / (frame_size - 1);
    must(length > 0 && fragments <= count);
    for (size_t place = 0; place < fragments; ++place) {
        const can_frame *frame = &frames[(count - fragments + place) % HISTORY];
        const uint8_t transfer = frames[(count - 1) % HISTORY].at[0] >> 4;
        must(bridge_can_fragment(bytes, length, frame_size, transfer, place, data) == frame->size);
        must(memcmp(data, frame->at, frame->size) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t stop[] = {0x50, 0x03, 0x00, 0x3C, 0x41, 0xF4, 0x6A};
    const size_t frame_size = size > 0 && data[0] % 2 == 1 ? BRIDGE_CAN_FD : BRIDGE_CAN_CLASSIC;
    can_frame frames[HISTORY];
    bridge_assembly assembly;
    bridge_message message;
    size_t count = 0;
    bridge_assembly_init(&assembly, frame_size);
    for (size_t at = 1; at < size && data[at] <= frame_size && data[at] < size - at; at += 1U + data[at]) {
        can_frame *frame = &frames[count++ % HISTORY];
        frame->size = data[at];
        memcpy(frame->at, data + at + 1, frame->size);
        if (bridge_assembly_push(&assembly, frame->at, frame->size, &message)) {
            is_what_was_sent(&message, frame_size, frames, count);
        }
    }
    must(bridge_assembly_push(&assembly, stop, sizeof stop, &message) && message.kind == BRIDGE_STOP);
    return 0;
}
