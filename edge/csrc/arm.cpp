#include "arm.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "error.hpp"

namespace edgearm {

Arm::Arm(ArmSpec spec) : spec_(std::move(spec)) {
    if (spec_.joints.size() != kJoints) {
        std::string names;
        for (const JointSpec& joint : spec_.joints) {
            names += (names.empty() ? "" : ", ") + joint.name;
        }
        throw Error(Error::Kind::arm, "the arm description has " + std::to_string(spec_.joints.size()) + " joints",
                    std::to_string(kJoints) + " joints", names, "compare with edge/robots/so101.json");
    }
    for (std::size_t i = 0; i < kJoints; ++i) {
        const JointSpec& joint = spec_.joints[i];
        const double span = joint.normalised ? joint.upper - joint.lower : 1.0;
        limits_[i] = {from_radians(i, joint.lower), from_radians(i, joint.upper), joint.max_velocity / span,
                      joint.max_acceleration / span, joint.max_jerk / span};
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

std::int32_t Arm::to_ticks(std::size_t joint, double value) const {
    const double turn = spec_.ticks_per_turn;
    const double ticks = turn / 2 + to_radians(joint, value) * turn / (2 * std::numbers::pi);
    return static_cast<std::int32_t>(std::clamp(std::round(ticks), 0.0, turn - 1));
}

double Arm::from_ticks(std::size_t joint, std::int32_t ticks) const {
    const double turn = spec_.ticks_per_turn;
    return from_radians(joint, (ticks - turn / 2) * 2 * std::numbers::pi / turn);
}

}  // namespace edgearm
