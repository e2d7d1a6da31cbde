/* The safety limiter of all joints, and the targets that they pursue. It decides over every goal, whatever the computer
 * says: no planner is known here. */
#ifndef EDGEARM_FIRMWARE_MOTION_H
#define EDGEARM_FIRMWARE_MOTION_H

#include "arm_table.h"
#include "bridge.h"

/* Read it; only the functions below write it. */
typedef struct {
    const arm_table *arm;
    safety_state joints[BRIDGE_MAX_JOINTS];
    safety_target targets[BRIDGE_MAX_JOINTS];
    uint8_t limited; /* a bit for each joint that the limiter held back in the last tick */
} motion;

/* At rest where the encoders are, and that is the target. */
void motion_rest(motion *of, const arm_table *arm, const int32_t *encoders);

/* New targets, from the next tick on. */
void motion_take(motion *of, const bridge_target *targets);

/* One tick after the targets. False when a target was none, or the state of a joint is none any more: it brakes. */
bool motion_follow(motion *of);

/* One tick of coming to rest. True once all joints are. */
bool motion_brake(motion *of);

#endif
