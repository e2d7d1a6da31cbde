/* Eight servos on a wire of 1 Mbps, half duplex, on a virtual clock: no kinder than the device. What they decode is
 * what the tests judge by. */
#ifndef EDGEARM_TESTS_FIRMWARE_SERVOS_H
#define EDGEARM_TESTS_FIRMWARE_SERVOS_H

#include "feetech.h"

enum { SERVOS = 8, REGISTERS = 128, WIRE_BYTES = 2048, WRITES = 200000 };

typedef struct {
    uint8_t registers[REGISTERS];
    int32_t position; /* encoder ticks */
    uint8_t error;    /* of every answer */
    bool silent;      /* hears and does not answer */
    bool deaf;        /* does not hear either */
    bool jammed;      /* does not move */
    bool meek;        /* a goal does not switch its torque on */
    int deaf_to;      /* a register that does not take what is written; 0: none */
} emulated_servo;

typedef struct {
    uint32_t time_us;
    uint8_t servo; /* 0 to SERVOS - 1 */
    uint8_t address;
    int32_t value; /* of the first register that was written */
} servo_write;

typedef struct {
    emulated_servo servos[SERVOS];
    feetech_parser parser;
    uint32_t free_us; /* when the firmware's own bytes are through */
    struct {
        uint32_t time_us;
        uint8_t byte;
    } wire[WIRE_BYTES]; /* on its way back */
    size_t carried;
    servo_write *writes; /* everything that any servo was told, oldest first */
    size_t written;
    uint32_t collisions;
    uint32_t lose; /* so many coming frames of the firmware are damaged on the wire */
    uint32_t flip; /* so many coming answers have a wrong sum */
    uint32_t swap; /* so many coming answers have the position's bytes swapped, and a right sum */
    bool chatty;   /* a servo acknowledges what asks for no acknowledgement before it answers */
    bool echo;     /* the firmware hears itself */
} servo_line;

void servo_line_init(servo_line *line, int32_t position);
void servo_line_free(servo_line *line);
/* Bytes from the firmware, and those that are back by now; the servos move. */
void servo_line_hear(servo_line *line, uint32_t now_us, const uint8_t *bytes, size_t count);
size_t servo_line_read(servo_line *line, uint32_t now_us, uint8_t *to, size_t most);
void servo_line_step(servo_line *line, uint32_t us);

int32_t servo_word(const emulated_servo *servo, int address);
void servo_set_word(emulated_servo *servo, int address, int32_t value);
/* Off and on again: torque off, factory's return delay. */
void servo_restart(emulated_servo *servo);

#endif
