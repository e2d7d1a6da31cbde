/* The firmware as C++ can hold it: its struct has members named like their types, which C++ does not allow. */
#ifndef EDGEARM_TESTS_NATIVE_FIRMWARE_BOX_H
#define EDGEARM_TESTS_NATIVE_FIRMWARE_BOX_H

#include "arm_table.h"
#include "bridge_gate.h"
#include "bridge_serial.h"

void box_start(const arm_table* table, uint32_t now_us);
void box_poll(uint32_t now_us);
const bridge_gate* box_gate(void);
const bridge_parser* box_parser(void);

#endif
