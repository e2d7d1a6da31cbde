/* Damiao CAN motors in MIT mode: pack commands, unpack feedback, read and write registers.
 *
 * One classic CAN frame of 8 bytes each. A command goes to the motor's own id; registers go to DAMIAO_REGISTER_ID. Both
 * are answered on the master id set in the motor. Numbers are fractions of limits that the motor holds itself and that
 * public tables disagree about: read them (DAMIAO_MAX_POSITION and the two after it) while the motor is off, and
 * refuse to run it when damiao_limits_agree is false. C99, no allocation, no I/O.
 */
#ifndef EDGEARM_DAMIAO_H
#define EDGEARM_DAMIAO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DAMIAO_FRAME = 8, DAMIAO_REGISTER_ID = 0x7FF };

/* Each is the largest magnitude that the wire can say. */
typedef struct {
    float position; /* rad */
    float velocity; /* rad/s */
    float torque;   /* N m */
} damiao_limits;

/* The motor applies kp (position - q) + kd (velocity - dq) + torque. */
typedef struct {
    float position;
    float velocity;
    float kp; /* N m/rad, 0 to 500 */
    float kd; /* N m s/rad, 0 to 5 */
    float torque;
} damiao_command;

enum damiao_status {
    DAMIAO_OFF = 0x0,
    DAMIAO_ON = 0x1,
    DAMIAO_SENSOR = 0x5,
    DAMIAO_PARAMETER = 0x6,
    DAMIAO_OVERVOLTAGE = 0x8,
    DAMIAO_UNDERVOLTAGE = 0x9,
    DAMIAO_OVERCURRENT = 0xA,
    DAMIAO_HOT_MOSFET = 0xB,
    DAMIAO_HOT_COIL = 0xC,
    DAMIAO_LOST_COMMANDS = 0xD,
    DAMIAO_OVERLOAD = 0xE
};

typedef struct {
    uint8_t id;     /* low four bits of the motor's id */
    uint8_t status; /* enum damiao_status, or a number that is not in it */
    float position;
    float velocity;
    float torque;
    uint8_t mosfet_celsius;
    uint8_t coil_celsius;
} damiao_feedback;

/* What replaces a command: forget a fault whose cause is gone, power on, power off, or "here is zero". Each is answered
 * with feedback. */
enum damiao_order { DAMIAO_CLEAR = 0xFB, DAMIAO_ENABLE = 0xFC, DAMIAO_DISABLE = 0xFD, DAMIAO_ZERO = 0xFE };

/* The only mode that takes damiao_command. */
enum { DAMIAO_MODE_MIT = 1 };

enum damiao_register {
    DAMIAO_TIMEOUT = 9,       /* unsigned, 50 us each: silence after which a motor that is on goes off; 0: never */
    DAMIAO_CONTROL_MODE = 10, /* unsigned */
    DAMIAO_MAX_POSITION = 21, /* float, rad */
    DAMIAO_MAX_VELOCITY = 22, /* float, rad/s */
    DAMIAO_MAX_TORQUE = 23    /* float, N m */
};

/* Each a number from 0.001 to 10000. */
bool damiao_limits_valid(const damiao_limits *limits);

/* Whether the motor means the same numbers: both valid, and equal within a thousandth. */
bool damiao_limits_agree(const damiao_limits *ours, const damiao_limits *motors);

/* False, and nothing written, when a number is not finite or out of range, or the limits are not valid. Nothing is
 * clamped: a command that cannot be said as it was meant is not one. */
bool damiao_command_pack(const damiao_limits *limits, const damiao_command *command, uint8_t out[DAMIAO_FRAME]);

/* Each field is the lower end of the step that it was packed into. False for another length than DAMIAO_FRAME. */
bool damiao_command_unpack(const damiao_limits *limits, const uint8_t *data, size_t length, damiao_command *command);

void damiao_order_pack(enum damiao_order order, uint8_t out[DAMIAO_FRAME]);

/* False, and nothing written, when the limits are not valid or `feedback` has a number that they cannot say. */
bool damiao_feedback_pack(const damiao_limits *limits, const damiao_feedback *feedback, uint8_t out[DAMIAO_FRAME]);

/* False for another length than DAMIAO_FRAME. The position is only worth something while the status is not a fault, and
 * only as old as its frame: whoever keeps it keeps its time with it. */
bool damiao_feedback_unpack(const damiao_limits *limits, const uint8_t *data, size_t length, damiao_feedback *feedback);

/* Everything but off and on, statuses that nobody has named too. */
bool damiao_status_is_fault(uint8_t status);

/* Requests, to be sent to DAMIAO_REGISTER_ID. A refresh is answered with feedback and changes nothing, so that a motor
 * that is off can be asked where it stands. A write is lost when the motor goes off. */
void damiao_refresh(uint16_t id, uint8_t out[DAMIAO_FRAME]);
void damiao_register_read(uint16_t id, uint8_t address, uint8_t out[DAMIAO_FRAME]);
void damiao_register_write(uint16_t id, uint8_t address, uint32_t bits, uint8_t out[DAMIAO_FRAME]);

/* The answer to either. A feedback frame can look like one, so this is only for who has just asked, with the motor off:
 * true when it is about the register and the motor that were asked for. */
bool damiao_register_unpack(const uint8_t *data, size_t length, uint16_t id, uint8_t address, uint32_t *bits);

uint32_t damiao_bits_of(float value);
float damiao_float_of(uint32_t bits);

#ifdef __cplusplus
}
#endif

#endif
