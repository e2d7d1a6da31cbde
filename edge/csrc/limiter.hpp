// The safety limiter of all joints, in ticks of the loop's period: what was commanded last, and the only way to the
// next command. Floating point ends here: the limits are kept in integers, by the C99 code that the microcontroller
// also runs (firmware_bridge/safety).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "arm.hpp"
#include "error.hpp"

namespace edgearm {

// Joint units, and those per second and per second squared.
struct Motion {
    Joints position{};
    Joints velocity{};
    Joints acceleration{};
};

// Why limits are refused, in the arm description's units: radians for every joint.
Error limits_refused(const JointSpec& joint, safety_verdict verdict, double tick_s);

class Limiter {
public:
    static constexpr unsigned kRejected = SAFETY_REJECTED;

    // Throws Error(arm) when a joint's limits contradict each other, or cannot be kept in ticks of this length.
    Limiter(const Arm& arm, std::int64_t tick_ns);

    // The first joint that is at no position: not a number, or farther away than can be counted.
    static std::optional<std::size_t> astray(const Joints& pose) noexcept;

    // Stand still at `pose`, which may lie outside the limits. False, and nothing changes, when a joint is astray.
    bool rest_at(const Joints& pose) noexcept;
    // One tick after a target that moves from `from` to `to` meanwhile; returns safety_flag bits. A joint whose target
    // is no position, or whose state is none, brakes, and kRejected is among the bits.
    unsigned follow(const Joints& from, const Joints& to) noexcept;
    // One tick of coming to rest.
    unsigned brake() noexcept;

    bool at_rest() const noexcept;
    // What was commanded. Velocity and acceleration are those of a smooth motion through the ticks.
    Motion motion() const noexcept;

private:
    std::array<safety_limits, kJoints> limits_{};
    std::array<safety_state, kJoints> joints_{};
    double tick_s_;
};

}  // namespace edgearm
