#include "bridge_can.h"

#include <string.h>

enum { PLACES = 16, HEADER = 1 };

/* The shortest length of a frame that holds `used` bytes. */
static size_t filled_up(size_t used)
{
    static const uint8_t lengths[] = {12, 16, 20, 24, 32, 48};
    if (used <= BRIDGE_CAN_CLASSIC) {
        return used;
    }
    for (size_t i = 0; i < sizeof lengths; ++i) {
        if (used <= lengths[i]) {
            return lengths[i];
        }
    }
    return BRIDGE_CAN_FD;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t bridge_can_fragment(const uint8_t *message, size_t length, size_t frame_size, uint8_t transfer, size_t place,
                           uint8_t out[BRIDGE_CAN_FD])
{
    const size_t each = frame_size - HEADER;
    const size_t from = place * each;
    const bool known = frame_size == BRIDGE_CAN_CLASSIC || frame_size == BRIDGE_CAN_FD;
    if (!known || length < BRIDGE_STOP_LENGTH || length > BRIDGE_MAX_LENGTH || place >= PLACES || from >= length) {
        return 0;
    }
    const size_t part = smaller(length - from, each);
    const size_t size = filled_up(HEADER + part);
    out[0] = (uint8_t)(transfer % PLACES << 4 | place);
    memcpy(out + HEADER, message + from, part);
    memset(out + HEADER + part, 0, size - HEADER - part);
    return size;
}

void bridge_assembly_init(bridge_assembly *assembly, size_t frame_size)
{
    memset(assembly, 0, sizeof *assembly);
    assembly->frame_size = frame_size;
}

/* The first fragment of a message with these bytes as its first two; whatever was under way is lost. */
static void begin(bridge_assembly *assembly, uint8_t header, const uint8_t *message)
{
    assembly->skipped += assembly->next % PLACES; /* those that were in */
    assembly->expected = bridge_length(message[0], message[1]);
    assembly->length = 0;
    assembly->next = header;
}

static bool zeros(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Whether this is the fragment that comes next, whole; then its bytes are taken. */
static bool take(bridge_assembly *assembly, const uint8_t *data, size_t size)
{
    if (size <= HEADER) {
        return false;
    }
    if (data[0] % PLACES == 0 && size > HEADER + 1) {
        begin(assembly, data[0], data + HEADER);
    }
    const size_t part = smaller(assembly->expected - assembly->length, assembly->frame_size - HEADER);
    if (assembly->expected == 0 || data[0] != assembly->next || size != filled_up(HEADER + part) ||
        !zeros(data + HEADER + part, size - HEADER - part)) {
        return false;
    }
    memcpy(assembly->buffer + assembly->length, data + HEADER, part);
    assembly->length += part;
    assembly->next += 1;
    return true;
}

bool bridge_assembly_push(bridge_assembly *assembly, const uint8_t *data, size_t size, bridge_message *message)
{
    if (!take(assembly, data, size)) {
        assembly->skipped += 1U + assembly->next % PLACES;
        assembly->expected = 0;
        assembly->next = 0;
        return false;
    }
    if (assembly->length < assembly->expected) {
        return false;
    }
    assembly->expected = 0;
    assembly->next = 0;
    if (!bridge_decode(assembly->buffer, assembly->length, message)) {
        assembly->corrupt += 1;
        return false;
    }
    assembly->frames += 1;
    return true;
}
