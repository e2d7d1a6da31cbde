// What the core knows of an arm: names, limits, geometry and servo ticks. Built once from edge/arm.py's description.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "units.h"

namespace edgearm {

inline constexpr std::size_t kJoints = 6;

// Joint values in the order of the description: radians, or 0..1 for a normalised joint (the gripper).
using Joints = std::array<double, kJoints>;
using Vector3 = std::array<double, 3>;
using Quaternion = std::array<double, 4>;  // w x y z

struct JointSpec {
    std::string name;
    std::uint8_t servo_id = 0;
    Vector3 offset{};
    Quaternion quat{};
    Vector3 axis{};
    double lower = 0;  // radians, also for a normalised joint
    double upper = 0;
    double max_velocity = 0;
    double max_acceleration = 0;
    double max_jerk = 0;
    bool normalised = false;
};

struct FrameSpec {
    std::string name;
    std::string parent;  // a joint's name
    Vector3 offset{};
    Quaternion quat{};
};

struct ArmSpec {
    std::string name;
    std::vector<JointSpec> joints;
    std::vector<FrameSpec> frames;
    std::uint16_t model_number = 0;
    std::uint32_t ticks_per_turn = 0;
};

class Arm {
public:
    // Throws Error(arm) when the description has not exactly kJoints joints. Whether limits can be kept is known once
    // there is a loop with a period (limiter.hpp).
    explicit Arm(ArmSpec spec);

    const ArmSpec& spec() const { return spec_; }
    // In joint units.
    const std::array<safety_physical, kJoints>& limits() const { return limits_; }

    double to_radians(std::size_t joint, double value) const;
    double from_radians(std::size_t joint, double radians) const;
    // Servo ticks: half a turn is 0 rad. Rounds to the nearest tick and stays within one turn.
    std::int32_t to_ticks(std::size_t joint, double value) const;
    double from_ticks(std::size_t joint, std::int32_t ticks) const;

private:
    ArmSpec spec_;
    std::array<safety_physical, kJoints> limits_{};
};

}  // namespace edgearm
