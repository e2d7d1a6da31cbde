#include "arm.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::int32_t kLeastTicks = 64;  // as in edge/calibration.py

}  // namespace

Arm::Arm(ArmSpec spec) : spec_(std::move(spec)) {
    if (spec_.joints.size() != kJoints) {
        std::string names;
        for (const JointSpec& joint : spec_.joints) {
            names += (names.empty() ? "" : ", ") + joint.name;
        }
        throw Error(Error::Kind::arm, "the arm description has " + std::to_string(spec_.joints.size()) + " joints",
                    std::to_string(kJoints) + " joints", names, "compare with edge/robots/so101.json");
    }
    if (spec_.drive == Drive::damiao && spec_.motors.size() != kJoints) {
        throw Error(Error::Kind::arm, "the arm description has " + std::to_string(spec_.motors.size()) + " motors",
                    std::to_string(kJoints) + " motors, one a joint", std::to_string(spec_.motors.size()),
                    "compare with edge/robots/damiao-bench.json");
    }
    for (std::size_t i = 0; i < spec_.calibration.size(); ++i) {
        const ServoCalibration& servo = spec_.calibration[i];
        if (servo.range_max - servo.range_min < kLeastTicks) {
            throw Error(Error::Kind::arm, "the calibration of joint " + spec_.joints[i].name + " has no range",
                        std::to_string(kLeastTicks) + " ticks or more",
                        std::to_string(servo.range_min) + " to " + std::to_string(servo.range_max),
                        "move the joint through its whole range when calibrating");
        }
    }
    for (std::size_t i = 0; i < kJoints; ++i) {
        const JointSpec& joint = spec_.joints[i];
        const double span = joint.normalised ? joint.upper - joint.lower : 1.0;
        limits_[i] = {from_radians(i, joint.lower), from_radians(i, joint.upper), joint.max_velocity / span,
                      joint.max_acceleration / span, joint.max_jerk / span};
        ticks_[i] = spec_.calibration.empty() ? uncalibrated(joint) : calibrated(joint, spec_.calibration[i]);
        if (!spec_.calibration.empty() && !joint.normalised) {
            limits_[i].lower = std::max(limits_[i].lower, (ticks_[i].least - ticks_[i].zero) / ticks_[i].scale);
            limits_[i].upper = std::min(limits_[i].upper, (ticks_[i].most - ticks_[i].zero) / ticks_[i].scale);
        }
    }
}

double Arm::to_radians(std::size_t joint, double value) const {
    const JointSpec& spec = spec_.joints[joint];
    return spec.normalised ? spec.lower + value * (spec.upper - spec.lower) : value;
}

double Arm::from_radians(std::size_t joint, double radians) const {
    const JointSpec& spec = spec_.joints[joint];
    return spec.normalised ? (radians - spec.lower) / (spec.upper - spec.lower) : radians;
}

Arm::Ticks Arm::uncalibrated(const JointSpec& joint) const {
    const double turn = spec_.ticks_per_turn;
    const double radian = turn / (2 * std::numbers::pi);
    if (joint.normalised) {
        return {turn / 2 + joint.lower * radian, (joint.upper - joint.lower) * radian, 0, turn - 1};
    }
    return {turn / 2, radian, 0, turn - 1};
}

Arm::Ticks Arm::calibrated(const JointSpec& joint, const ServoCalibration& servo) const {
    const double least = servo.range_min;
    const double most = servo.range_max;
    if (joint.normalised) {
        return servo.reversed ? Ticks{most, least - most, least, most} : Ticks{least, most - least, least, most};
    }
    return {(least + most) / 2, spec_.ticks_per_turn / (2 * std::numbers::pi), least, most};
}

double Arm::to_motor(std::size_t joint, double value) const {
    const MotorSpec& motor = spec_.motors[joint];
    const double radians = to_radians(joint, value);
    return motor.zero + (motor.reversed ? -radians : radians);
}

double Arm::from_motor(std::size_t joint, double angle) const {
    const MotorSpec& motor = spec_.motors[joint];
    const double radians = angle - motor.zero;
    return from_radians(joint, motor.reversed ? -radians : radians);
}

std::int32_t Arm::to_ticks(std::size_t joint, double value) const {
    const Ticks& ticks = ticks_[joint];
    return static_cast<std::int32_t>(std::clamp(std::round(ticks.zero + ticks.scale * value), ticks.least, ticks.most));
}

TickRange Arm::tick_range(std::size_t joint) const {
    return {static_cast<std::int32_t>(ticks_[joint].least), static_cast<std::int32_t>(ticks_[joint].most)};
}

std::int64_t Arm::ticks_at(std::size_t joint, double value) const {
    return std::llround(ticks_[joint].zero + ticks_[joint].scale * value);
}

double Arm::from_ticks(std::size_t joint, std::int32_t ticks) const {
    return (ticks - ticks_[joint].zero) / ticks_[joint].scale;
}

}  // namespace edgearm
