#include "kinematics.hpp"

#include <cmath>

namespace edgearm {

namespace {

Quaternion multiply(const Quaternion& a, const Quaternion& b) {
    return {
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3], a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1], a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0]};
}

Quaternion about(const Vector3& axis, double angle) {
    const double s = std::sin(angle / 2);
    return {std::cos(angle / 2), s * axis[0], s * axis[1], s * axis[2]};
}

}  // namespace

Vector3 rotate(const Quaternion& q, const Vector3& v) {
    // v + 2 u x (u x v + w v), with u the vector part.
    const Vector3 t{2 * (q[2] * v[2] - q[3] * v[1]), 2 * (q[3] * v[0] - q[1] * v[2]), 2 * (q[1] * v[1] - q[2] * v[0])};
    return {v[0] + q[0] * t[0] + q[2] * t[2] - q[3] * t[1], v[1] + q[0] * t[1] + q[3] * t[0] - q[1] * t[2],
            v[2] + q[0] * t[2] + q[1] * t[1] - q[2] * t[0]};
}

Transform operator*(const Transform& a, const Transform& b) {
    const Vector3 moved = rotate(a.rotation, b.position);
    return {{a.position[0] + moved[0], a.position[1] + moved[1], a.position[2] + moved[2]},
            multiply(a.rotation, b.rotation)};
}

std::optional<Transform> forward(const Arm& arm, const Joints& joints, std::string_view frame) {
    const FrameSpec* fixed = nullptr;
    for (const FrameSpec& spec : arm.spec().frames) {
        if (spec.name == frame) {
            fixed = &spec;
        }
    }
    const std::string_view body = fixed != nullptr ? std::string_view(fixed->parent) : frame;
    Transform pose;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const JointSpec& joint = arm.spec().joints[i];
        pose = pose * Transform{joint.offset, multiply(joint.quat, about(joint.axis, arm.to_radians(i, joints[i])))};
        if (joint.name == body) {
            return fixed != nullptr ? pose * Transform{fixed->offset, fixed->quat} : pose;
        }
    }
    return std::nullopt;
}

std::optional<PinchPose> pinch_pose(const Arm& arm, const Joints& joints) {
    const std::optional<Transform> pinch = forward(arm, joints, "pinch");
    if (!pinch) {
        return std::nullopt;
    }
    const Vector3 opens = rotate(pinch->rotation, {0, 0, 1});
    return PinchPose{pinch->position[0], pinch->position[1], pinch->position[2], std::atan2(opens[1], opens[0])};
}

}  // namespace edgearm
