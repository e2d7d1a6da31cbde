/* When the servos' torque goes on and off, and which goals they get. Nothing here decides to: firmware.c does.
 *
 *              arm                  all measured            goals read back
 *     left ----------> measuring ------------------> goals ------------------> torque -----------> on
 *      ^ ^                                                                       torque read back   |
 *      | +------------------------- halt, at rest and said so a few times ----------------------------+
 *      +-- releasing <-- release
 *
 * Left: as they are. Nothing is written, so a limp servo stays limp, and one with torque holds where it was told to be.
 * One found at power-on on its way somewhere else is told to stay where it is: nothing moves on power-up.
 *
 * On: a goal also switches a servo's torque on. So one that was lost, and may have been without power and have sunk, is
 * told nothing more until all are switched on anew, and one that has just said that it is limp nothing until its next
 * answer.
 */
#ifndef EDGEARM_FIRMWARE_DRIVES_H
#define EDGEARM_FIRMWARE_DRIVES_H

#include "servo_bus.h"

enum drives_stage {
    DRIVES_LEFT,
    DRIVES_MEASURING, /* waits for a cycle in which every servo gives its position: that is the pose */
    DRIVES_GOALS,     /* every servo's goal is to be where it is, without a speed or acceleration limit of its own */
    DRIVES_TORQUE,
    DRIVES_ON,
    DRIVES_RELEASING
};

enum {
    DRIVES_TRIES = 25,  /* cycles that a stage between left and on may take */
    DRIVES_REPEATS = 3, /* the last goal, and torque off, are sent so many times more, whatever a servo answers */
    DRIVES_NEAR = 64    /* encoder ticks between a goal and a servo that holds it against gravity, at most */
};

/* Read it; only the functions below write it. */
typedef struct {
    uint8_t stage; /* enum drives_stage */
    uint8_t cycles;
    uint8_t repeats;
    unsigned found; /* a bit for each servo that was seen limp, or where it was told to be, since power-on */
    unsigned lost;  /* a bit for each servo that was not known at some time since all were on */
    int32_t goals[BRIDGE_MAX_JOINTS];
} drives;

/* Begins to switch on: from the pose measured next. */
void drives_arm(drives *all);

/* Begins to switch off. */
void drives_release(drives *all);

/* Writes nothing any more: at once, or when on, after a few repetitions of the last goal. Again and again until then.
 */
void drives_halt(drives *all);

/* Writes nothing any more, at once. */
void drives_abandon(drives *all);

/* After every cycle of the bus. True when switching on has got past measuring: `goals` are the pose. */
bool drives_advance(drives *all, const servo_bus *bus);

/* Whether a stage takes longer than it may. */
bool drives_stuck(const drives *all);

/* Writes what the servos are to be told before the next question; returns its length. */
size_t drives_tell(drives *all, const servo_bus *bus, uint8_t *out, size_t capacity);

#endif
