/* The firmware on a clock and on lines that a test holds: what goes in and out is bytes in memory. */
#include <string.h>

#include "firmware.h"
#include "hal.h"

enum { LINE_BYTES = 8192 };

typedef struct {
    uint8_t bytes[LINE_BYTES];
    size_t count;
} line;

static firmware fw;
static line upward_in, upward_out, bus_in, bus_out;
static bool pressed;
static bool by_watchdog;

static bool put(line* to, const uint8_t* bytes, size_t count) {
    if (count > LINE_BYTES - to->count) {
        return false;
    }
    memcpy(to->bytes + to->count, bytes, count);
    to->count += count;
    return true;
}

static size_t take(line* from, uint8_t* to, size_t most) {
    const size_t count = from->count < most ? from->count : most;
    memcpy(to, from->bytes, count);
    from->count -= count;
    memmove(from->bytes, from->bytes + count, from->count);
    return count;
}

size_t hal_upward_read(uint8_t* to, size_t most) {
    return take(&upward_in, to, most);
}

bool hal_upward_send(const uint8_t* bytes, size_t count) {
    return put(&upward_out, bytes, count);
}

size_t hal_bus_read(uint8_t* to, size_t most) {
    return take(&bus_in, to, most);
}

bool hal_bus_send(const uint8_t* bytes, size_t count) {
    return put(&bus_out, bytes, count);
}

bool hal_stop_pressed(void) {
    return pressed;
}

bool hal_watchdog_reset(void) {
    return by_watchdog;
}

void hal_kick_watchdog(void) {}

void twin_boot(uint32_t now_us, int watchdog) {
    by_watchdog = watchdog != 0;
    upward_in.count = 0;
    bus_in.count = 0;
    firmware_init(&fw, &so101_table, now_us);
}

void twin_press(int whether) {
    pressed = whether != 0;
}

int twin_hear(int bus, const uint8_t* bytes, size_t count) {
    return put(bus != 0 ? &bus_in : &upward_in, bytes, count);
}

size_t twin_say(int bus, uint8_t* to, size_t most) {
    return take(bus != 0 ? &bus_out : &upward_out, to, most);
}

/* Until all that has come is taken. */
void twin_poll(uint32_t now_us) {
    do {
        firmware_poll(&fw, now_us);
    } while (upward_in.count > 0 || bus_in.count > 0);
}
