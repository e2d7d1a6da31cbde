// The arm at the other end of the bus: who answers, where every joint is, goals out, and what may be believed.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "arm.hpp"
#include "feetech_bus.hpp"
#include "serial_port.hpp"

namespace edgearm {

// A frame that passes the 8-bit sum can still be wrong (the sum does not see two bytes swapped): a joint that seems to
// have moved faster than it can is not believed.
class PlausibilityGate {
public:
    // Bound on |dq| is `factor` times the joint's velocity limit times the time since the last believed value, and
    // `margin` (radians, or a share of the gripper's way) for the resolution and the play of the gears.
    static constexpr double kFactor = 2.0;
    static constexpr double kMargin = 0.05;

    explicit PlausibilityGate(const Arm& arm) : arm_(arm) {}
    // Believes `joints` without asking.
    void reset(const Joints& joints, std::int64_t now_ns) noexcept;
    bool admit(std::size_t joint, double value, std::int64_t now_ns) noexcept;

private:
    const Arm& arm_;
    Joints value_{};
    std::array<std::int64_t, kJoints> time_ns_{};
};

// Written by the bus thread, read by any.
struct LinkStats {
    std::atomic<std::uint64_t> exchanges{0};  // cycles in which all joints answered
    std::atomic<std::uint64_t> replies{0};
    std::atomic<std::uint64_t> corrupt{0};
    std::atomic<std::uint64_t> stray{0};
    std::atomic<std::uint64_t> timeouts{0};
    std::atomic<std::uint64_t> implausible{0};
    std::array<std::atomic<std::uint8_t>, kJoints> errors{};   // the servo's error bits, from its last reply
    std::array<std::atomic<std::int64_t>, kJoints> seen_ns{};  // when it last gave a believable position
};

class ArmLink {
public:
    // What one bus cycle puts on the line: goals out, the question for positions, one answer a joint. Eight data bits
    // take ten on the wire.
    static constexpr std::int64_t kCycleBytes =
        (FEETECH_OVERHEAD + 2 + 3 * kJoints) + (FEETECH_OVERHEAD + 2 + kJoints) + kJoints * (FEETECH_OVERHEAD + 2);
    static constexpr std::int64_t kCycleNs = kCycleBytes * 10 * 1'000;  // at 1 Mbps: 880 us

    // Opens the port and checks that every servo of the description answers, is of the described model and, where the
    // arm has a calibration, holds the same one. Throws Error (link or arm). Moves nothing and leaves torque as it is.
    // Takes the servos' return delay away until they are next switched off: at its factory value of 0.5 ms a servo, six
    // replies alone take longer than a bus cycle.
    ArmLink(const Arm& arm, const std::string& port, LinkStats& stats);

    const std::string& path() const { return port_.path(); }
    // The name to find the same adapter by, should it come back as another port.
    const std::string& stable_path() const { return port_.stable_path(); }

    // Where every joint is, from two readings that agree. Throws Error.
    Joints measure();
    // Sets every goal to where the joint is, without a speed or acceleration limit of the servo's own (the loop has
    // them), then switches torque on; every servo has to acknowledge. Returns that pose. Throws Error, and then torque
    // is off again.
    Joints engage();
    // Torque off; true when every servo acknowledged.
    bool release();

    // One bus cycle: goals out when there are some, positions in. Io::ok when the line works. `measured` is filled once
    // every joint has given a believable position since it was filled last.
    Io cycle(const Joints* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept;

private:
    void identify();
    void compare_calibration();
    std::uint16_t ask(std::size_t joint, std::uint8_t address, const char* what);
    void write(std::size_t joint, std::uint8_t address, std::span<const std::uint8_t> data, const char* doing);
    [[noreturn]] void line_gone() const;
    Io send_goals(const Joints& goals, std::int64_t deadline_ns) noexcept;
    void publish_counters() noexcept;

    const Arm& arm_;
    LinkStats& stats_;
    link::SerialPort port_;
    FeetechBus bus_;
    PlausibilityGate gate_;
    std::array<std::uint8_t, kJoints> ids_{};
    Joints newest_{};
    std::array<bool, kJoints> fresh_{};
};

// The names of a status frame's error bits, for a person.
std::string describe_servo_error(std::uint8_t bits);

}  // namespace edgearm
