#include "motion.h"

#include <string.h>

void motion_rest(motion *of, const arm_table *arm, const int32_t *encoders)
{
    memset(of, 0, sizeof *of);
    of->arm = arm;
    for (int i = 0; i < arm->count; ++i) {
        of->joints[i] = safety_at_rest(arm_position(&arm->joints[i], encoders[i]));
        of->targets[i].position = of->joints[i].position;
    }
}

void motion_take(motion *of, const bridge_target *targets)
{
    for (int i = 0; i < of->arm->count; ++i) {
        of->targets[i] = (safety_target){targets[i].position, targets[i].velocity};
    }
}

static void brake(motion *of, int joint)
{
    safety_state *state = &of->joints[joint];
    if ((safety_brake(&of->arm->joints[joint].limits, state) & SAFETY_REJECTED) != 0) {
        *state = safety_at_rest(state->position); /* no state that the limiter has made: it stays where it is */
    }
}

bool motion_follow(motion *of)
{
    bool good = true;
    of->limited = 0;
    for (int i = 0; i < of->arm->count; ++i) {
        safety_target *target = &of->targets[i];
        if ((safety_step(&of->arm->joints[i].limits, &of->joints[i], target) & SAFETY_REJECTED) != 0) {
            brake(of, i);
            good = false;
        }
        of->limited |= (uint8_t)((of->joints[i].position != target->position) << i);
        target->position += target->velocity;
    }
    return good;
}

bool motion_brake(motion *of)
{
    bool rest = true;
    of->limited = 0;
    for (int i = 0; i < of->arm->count; ++i) {
        brake(of, i);
        rest = rest && of->joints[i].velocity == 0 && of->joints[i].acceleration == 0;
    }
    return rest;
}
