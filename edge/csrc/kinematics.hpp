// Forward kinematics of the serial arm, equal to MuJoCo's for the same description.
#pragma once

#include <optional>
#include <string_view>

#include "arm.hpp"

namespace edgearm {

struct Transform {
    Vector3 position{};
    Quaternion rotation{1, 0, 0, 0};
};

// The pinch point in the base frame: metres, and the yaw in radians.
struct PinchPose {
    double x = 0;
    double y = 0;
    double z = 0;
    double yaw = 0;
};

Transform operator*(const Transform& a, const Transform& b);
Vector3 rotate(const Quaternion& q, const Vector3& v);

// Pose of a named frame, or of a joint's body when `frame` is a joint's name. Nothing for an unknown name.
std::optional<Transform> forward(const Arm& arm, const Joints& joints, std::string_view frame);

// Where the pinch point is. The frame "pinch" has x along the fingers, away from the wrist, and z from the fixed pad
// toward the moving one: the gripper opens along its +z. `yaw` is the heading of that z axis in the base's xy plane,
// atan2(z.y, z.x); it is well defined while the fingers do not open straight up or down. The fingers turn on the pinch
// frame's y axis, so the gripper's own joint does not change the pose.
std::optional<PinchPose> pinch_pose(const Arm& arm, const Joints& joints);

}  // namespace edgearm
