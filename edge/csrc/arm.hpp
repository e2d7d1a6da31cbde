// What the core knows of an arm: names, limits, geometry and what drives it. Built once from edge/arm.py's description.
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
    std::uint8_t servo_id = 0;  // or the motor's, on its bus
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

// What a servo was told when the arm was calibrated. Ticks are those it reports: its encoder less the homing offset.
struct ServoCalibration {
    std::int32_t homing_offset = 0;
    std::int32_t range_min = 0;
    std::int32_t range_max = 0;
    bool reversed = false;  // a normalised joint that is 0 at range_max
};

// Which motors, on which bus. Who speaks to them: arm_link.cpp.
// A bridge is Feetech servos behind a microcontroller.
enum class Drive : std::uint8_t { feetech, damiao, bridge };

// A CAN motor. It holds limits of its own, which give its wire format a meaning and are compared before it runs.
struct MotorSpec {
    std::uint16_t master_id = 0;  // it answers under this identifier
    std::string model;
    double max_position = 0;  // rad
    double max_velocity = 0;  // rad/s
    double max_torque = 0;    // N m
    double kp = 0;            // N m/rad
    double kd = 0;            // N m s/rad
    double zero = 0;          // rad: where the motor stands when the joint is at 0
    bool reversed = false;    // the motor turns against the joint
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
    Drive drive = Drive::feetech;
    // Of Feetech servos, behind a microcontroller too.
    std::uint16_t model_number = 0;
    std::uint32_t ticks_per_turn = 0;
    std::vector<ServoCalibration> calibration;  // one a joint, or none: half a turn is 0 rad
    // Of a microcontroller.
    std::uint16_t bridge_tick_us = 0;
    // Of Damiao motors.
    std::vector<MotorSpec> motors;  // one a joint
    double motor_timeout_s = 0;     // silence after which a motor goes off by itself, and limp; 0: never
};

struct TickRange {
    std::int32_t least = 0;
    std::int32_t most = 0;
};

class Arm {
public:
    // Throws Error(arm) when the description has not exactly kJoints joints, or a calibrated one no range. Whether
    // limits can be kept is known once there is a loop with a period (limiter.hpp).
    explicit Arm(ArmSpec spec);

    const ArmSpec& spec() const { return spec_; }
    // In joint units.
    const std::array<safety_physical, kJoints>& limits() const { return limits_; }

    double to_radians(std::size_t joint, double value) const;
    double from_radians(std::size_t joint, double radians) const;
    // Motor angle in radians, of an arm of Damiao motors.
    double to_motor(std::size_t joint, double value) const;
    double from_motor(std::size_t joint, double angle) const;
    // Servo ticks, of an arm of Feetech servos. Rounds to the nearest one and stays within one turn, and within the
    // calibrated range.
    std::int32_t to_ticks(std::size_t joint, double value) const;
    double from_ticks(std::size_t joint, std::int32_t ticks) const;
    // What to_ticks() stays within, and where `value` is, inside or not.
    TickRange tick_range(std::size_t joint) const;
    std::int64_t ticks_at(std::size_t joint, double value) const;

private:
    // Ticks are zero + scale * value, with the value in joint units.
    struct Ticks {
        double zero = 0;
        double scale = 1;
        double least = 0;
        double most = 0;
    };
    Ticks uncalibrated(const JointSpec& joint) const;
    Ticks calibrated(const JointSpec& joint, const ServoCalibration& servo) const;

    ArmSpec spec_;
    std::array<Ticks, kJoints> ticks_{};
    std::array<safety_physical, kJoints> limits_{};
};

}  // namespace edgearm
