#include "bridge_table.hpp"

#include "limiter.hpp"

namespace edgearm {

static_assert(kJoints <= BRIDGE_MAX_JOINTS);

arm_table bridge_table(const Arm& arm) {
    const ArmSpec& spec = arm.spec();
    arm_table table{};
    table.count = kJoints;
    table.tick_us = spec.bridge_tick_us;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const JointSpec& joint = spec.joints[i];
        arm_described_joint described{};
        described.servo_id = joint.servo_id;
        described.normalised = joint.normalised;
        described.lower = joint.lower;
        described.upper = joint.upper;
        described.max_velocity = joint.max_velocity;
        described.max_acceleration = joint.max_acceleration;
        described.max_jerk = joint.max_jerk;
        if (!spec.calibration.empty()) {
            described.calibrated = true;
            described.range_min = spec.calibration[i].range_min;
            described.range_max = spec.calibration[i].range_max;
            described.reversed = spec.calibration[i].reversed;
        }
        const safety_verdict verdict = arm_joint_from(&described, spec.ticks_per_turn, table.tick_us, &table.joints[i]);
        if (verdict != SAFETY_LIMITS_OK) {
            throw limits_refused(joint, verdict, table.tick_us * 1e-6);
        }
    }
    return table;
}

}  // namespace edgearm
