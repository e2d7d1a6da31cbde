/* The microcontroller between the computer and the servos: it holds the last word about what moves.
 *
 *     upward line -> bridge_gate -> motion (safety limiter) -> drives -> servo_bus -> servo line
 *                        ^ faults <------------------------------------------+
 *
 * One cooperative loop: a port calls firmware_poll as often as it can. Whatever comes in is taken at once; everything
 * else is done in a tick. No heap, no recursion, no wait. The state is one static struct.
 */
#ifndef EDGEARM_FIRMWARE_H
#define EDGEARM_FIRMWARE_H

#include "bridge_gate.h"
#include "bridge_serial.h"
#include "drives.h"
#include "motion.h"
#include "servo_bus.h"

enum {
    /* From the last order that counted until the servos have the brake's first goal, at most: whatever expiry the order
       asked for. */
    FIRMWARE_SILENCE_US = 20000,
    FIRMWARE_WIRE_US = 1000, /* goals of 8 joints at 1 Mbps take less */
    /* Servos need so long after power-on before their silence is a fault. */
    FIRMWARE_START_US = 1000000,
    /* A joint may be farther from its goal than its tolerance for so long. */
    FIRMWARE_TRACKING_US = 100000
};

typedef struct {
    const arm_table *arm;
    bridge_gate gate;
    bridge_parser parser;
    motion motion;
    drives drives;
    servo_bus bus;
    uint32_t due_us;                    /* of the next tick */
    uint32_t begun_us;                  /* of the first one */
    bool starting;                      /* FIRMWARE_START_US are not over, or not all servos have been heard */
    bool pressed;                       /* the emergency stop, when last looked at */
    bool held;                          /* and whether it was at any time since the last tick */
    uint32_t astray[BRIDGE_MAX_JOINTS]; /* ticks that a joint has been too far from its goal */
} firmware;

/* Moves nothing. The watchdog must be running. */
void firmware_init(firmware *fw, const arm_table *arm, uint32_t now_us);

/* `now_us` counts up and wraps. */
void firmware_poll(firmware *fw, uint32_t now_us);

#endif
