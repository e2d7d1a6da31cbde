#include "limiter.hpp"

#include <algorithm>
#include <sstream>
#include <string>

#include "error.hpp"

namespace edgearm {

Error limits_refused(const JointSpec& joint, safety_verdict verdict, double tick_s) {
    std::ostringstream lead;
    std::ostringstream got;
    lead << "the limits of joint " << joint.name << " cannot be kept in steps of " << tick_s * 1e3 << " ms";
    const char* expected = "";
    switch (verdict) {
        case SAFETY_LIMITS_OK:
            break;
        case SAFETY_BAD_TICK:
            expected = "steps of 0.001 to 1000 ms";
            got << tick_s * 1e3 << " ms";
            break;
        case SAFETY_BAD_LOWER:
            expected = "a finite lower limit";
            got << "lower " << joint.lower;
            break;
        case SAFETY_BAD_UPPER:
            expected = "a finite upper limit above the lower one";
            got << "lower " << joint.lower << ", upper " << joint.upper;
            break;
        case SAFETY_BAD_VELOCITY:
            expected = "a positive max_velocity of at most 2^-5 a step";
            got << "max_velocity " << joint.max_velocity;
            break;
        case SAFETY_BAD_ACCELERATION:
            expected = "a positive max_acceleration of at most 2^-6 a step a step";
            got << "max_acceleration " << joint.max_acceleration;
            break;
        case SAFETY_BAD_JERK:
            expected = "a positive max_jerk that reaches max_acceleration within 1024 steps";
            got << "max_jerk " << joint.max_jerk << ", max_acceleration " << joint.max_acceleration;
            break;
        case SAFETY_BAD_RANGE:
            expected = "room between lower and upper to stop from max_velocity";
            got << "lower " << joint.lower << ", upper " << joint.upper << ", max_velocity " << joint.max_velocity
                << ", max_acceleration " << joint.max_acceleration << ", max_jerk " << joint.max_jerk;
            break;
    }
    return {Error::Kind::arm, lead.str(), expected, got.str(),
            "correct the joint's entry in the arm description, or choose another loop.rate_hz"};
}

Limiter::Limiter(const Arm& arm, std::int64_t tick_ns) : tick_s_(static_cast<double>(tick_ns) * 1e-9) {
    for (std::size_t i = 0; i < kJoints; ++i) {
        const safety_verdict verdict = safety_limits_from(&arm.limits()[i], tick_s_, &limits_[i]);
        if (verdict != SAFETY_LIMITS_OK) {
            throw limits_refused(arm.spec().joints[i], verdict, tick_s_);
        }
    }
}

std::optional<std::size_t> Limiter::astray(const Joints& pose) noexcept {
    for (std::size_t i = 0; i < kJoints; ++i) {
        std::int64_t position = 0;
        if (!safety_position_from(pose[i], &position)) {
            return i;
        }
    }
    return std::nullopt;
}

bool Limiter::rest_at(const Joints& pose) noexcept {
    std::array<safety_state, kJoints> joints{};
    for (std::size_t i = 0; i < kJoints; ++i) {
        std::int64_t position = 0;
        if (!safety_position_from(pose[i], &position)) {
            return false;
        }
        joints[i] = safety_at_rest(position);
    }
    joints_ = joints;
    return true;
}

unsigned Limiter::follow(const Joints& from, const Joints& to) noexcept {
    unsigned flags = 0;
    for (std::size_t i = 0; i < kJoints; ++i) {
        // The velocity is the difference of two positions as the limiter counts them: a target that moves within the
        // limits is then followed to the last bit.
        std::int64_t before = 0;
        std::int64_t after = 0;
        unsigned taken = kRejected;
        if (safety_position_from(from[i], &before) && safety_position_from(to[i], &after)) {
            const safety_target target{after, after - before};
            taken = safety_step(&limits_[i], &joints_[i], &target);
        }
        if ((taken & kRejected) != 0) {
            taken |= safety_brake(&limits_[i], &joints_[i]);
        }
        flags |= taken;
    }
    return flags;
}

unsigned Limiter::brake() noexcept {
    unsigned flags = 0;
    for (std::size_t i = 0; i < kJoints; ++i) {
        flags |= safety_brake(&limits_[i], &joints_[i]);
    }
    return flags;
}

bool Limiter::at_rest() const noexcept {
    return std::all_of(joints_.begin(), joints_.end(),
                       [](const safety_state& joint) { return joint.velocity == 0 && joint.acceleration == 0; });
}

Motion Limiter::motion() const noexcept {
    Motion motion;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const safety_state& joint = joints_[i];
        // A tick's velocity is the mean over the tick; half of the next change leads to its end.
        const double velocity = safety_position_to(joint.velocity) + safety_position_to(joint.acceleration) / 2;
        motion.position[i] = safety_position_to(joint.position);
        motion.velocity[i] = velocity / tick_s_;
        motion.acceleration[i] = safety_position_to(joint.acceleration) / (tick_s_ * tick_s_);
    }
    return motion;
}

}  // namespace edgearm
