/* What the firmware knows of the arm: a constant table, written by `python -m firmware_bridge.arm_table`. */
#ifndef EDGEARM_FIRMWARE_ARM_TABLE_H
#define EDGEARM_FIRMWARE_ARM_TABLE_H

#include <stdint.h>

#include "bridge_wire.h"
#include "limiter.h"

/* Positions of the encoder are in ticks, those of the limiter in 2^-32 of the joint's unit. */
typedef struct {
    uint8_t servo_id;
    safety_limits limits;
    int64_t origin;   /* the limiter's position at encoder tick 0 */
    int64_t scale;    /* of an encoder tick, in 2^-48 of the joint's unit; negative for a joint that counts backwards */
    int32_t travel;   /* farther than this, in encoder ticks, no joint gets in a cycle, */
    int32_t margin;   /* but for the resolution and the play of the gears */
    int32_t tracking; /* so far, in encoder ticks, a joint may stay behind its goal; 0: as far as it likes */
} arm_joint;

typedef struct {
    uint8_t count; /* 1 to BRIDGE_MAX_JOINTS */
    uint16_t tick_us;
    arm_joint joints[BRIDGE_MAX_JOINTS];
} arm_table;

int64_t arm_position(const arm_joint *joint, int32_t encoder);

/* To the nearest tick; the inverse of arm_position for whole ones. */
int32_t arm_encoder(const arm_joint *joint, int64_t position);

/* `config` of a hello: the same number for the same table, here and in arm_table.py. */
uint32_t arm_config(const arm_table *table);

extern const arm_table so101_table;

#endif
