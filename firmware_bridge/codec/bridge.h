/* Messages between the computer and the microcontroller, to bytes and back: the same over serial (bridge_serial.h) and
 * CAN (bridge_can.h). What a microcontroller does with them is in bridge_gate.h. C99, no allocation, no I/O.
 */
#ifndef EDGEARM_BRIDGE_H
#define EDGEARM_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge_wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The first eight hexadecimal digits of the SHA-256 of bridge_wire.h. */
#define BRIDGE_PROTOCOL UINT32_C(0x2cc8d942)

/* Both directions. From the computer `session` is new and random, and `refusal` is BRIDGE_ACCEPTED; in a reply
 * `session` is the one now open, or 0. `config` is what both ends must have alike, hashed: limits, joint order,
 * calibration. */
typedef struct {
    uint8_t joints;
    uint16_t tick_us;
    uint32_t protocol;
    uint32_t session;
    uint32_t config;
    uint8_t refusal;
} bridge_hello;

/* What a command, a clear and a release have in common. Sequence numbers count all of them together. */
typedef struct {
    uint16_t expiry_ms;
    uint32_t session;
    uint32_t sequence;
    uint32_t basis_us; /* time_us of the newest state that the computer had seen */
} bridge_order;

typedef struct {
    int64_t position;
    int32_t velocity;
} bridge_target;

typedef struct {
    bridge_order order;
    uint8_t joints;
    bridge_target targets[BRIDGE_MAX_JOINTS];
} bridge_command;

typedef struct {
    bridge_order order;
    uint16_t latch; /* of the state on which it was decided to clear, or to release */
} bridge_clear;

typedef struct {
    uint8_t joints;
    uint8_t arm;
    uint8_t refusal;
    uint32_t session;  /* 0 while none is open */
    uint32_t sequence; /* the last one accepted in this session */
    uint32_t time_us;
    uint16_t faults;
    uint16_t latch;  /* counts what was latched */
    uint8_t limited; /* a bit for each joint that the safety limiter held back in the last tick */
    uint8_t stale;   /* a bit for each joint whose position is not from the last cycle */
    uint8_t age_ms;  /* of the oldest position; 255 is that or more */
    int64_t positions[BRIDGE_MAX_JOINTS];
} bridge_state;

typedef struct {
    uint8_t kind; /* enum bridge_kind */
    union {
        bridge_hello hello; /* and the reply */
        bridge_command command;
        bridge_clear clear; /* and the release */
        bridge_state state;
    } as;
} bridge_message;

/* Returns the message's length, CRC included; 0, and nothing of use in `out`, when a number is not one that
 * bridge_wire.h allows. */
size_t bridge_encode(const bridge_message *message, uint8_t out[BRIDGE_MAX_LENGTH]);

/* True when exactly these bytes are a message. */
bool bridge_decode(const uint8_t *bytes, size_t length, bridge_message *message);

/* Length of a message that begins with these two bytes, CRC included; 0 when none does. */
size_t bridge_length(uint8_t kind, uint8_t joints);

#ifdef __cplusplus
}
#endif

#endif
