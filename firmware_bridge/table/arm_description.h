/* An arm's description into the firmware's table (arm_table.h): one builder for the program that writes the table and
 * for the driver that compares its hash. The firmware itself has no use for it.
 */
#ifndef EDGEARM_TABLE_ARM_DESCRIPTION_H
#define EDGEARM_TABLE_ARM_DESCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "arm_table.h"
#include "units.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One joint, in radians and seconds, and what LeRobot's calibration says of it. */
typedef struct {
    uint8_t servo_id;
    bool normalised; /* its unit is not the radian but the way from lower to upper, as 0 to 1 */
    double lower;
    double upper;
    double max_velocity;
    double max_acceleration;
    double max_jerk;
    bool calibrated;   /* or else half a turn of the servo is 0 rad */
    int32_t range_min; /* ticks that the servo reports */
    int32_t range_max;
    bool reversed; /* a normalised joint that is 0 at range_max */
} arm_described_joint;

/* Returns why not, and writes nothing, when no limiter can keep these limits in ticks of `tick_us`, or when a
 * calibrated range has no length. */
safety_verdict arm_joint_from(const arm_described_joint *described, uint32_t ticks_per_turn, uint16_t tick_us,
                              arm_joint *joint);

#ifdef __cplusplus
}
#endif

#endif
