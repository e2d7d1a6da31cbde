#include "firmware_box.h"

#include "firmware.h"

static firmware inside;

void box_start(const arm_table* table, uint32_t now_us) {
    firmware_init(&inside, table, now_us);
}

void box_poll(uint32_t now_us) {
    firmware_poll(&inside, now_us);
}

const bridge_gate* box_gate(void) {
    return &inside.gate;
}

const bridge_parser* box_parser(void) {
    return &inside.parser;
}
