// The arm at the other end of the bus: where every joint is, goals out, and what may be believed. The driver's bus
// thread knows this interface and not which motors are behind it; the arm description says, and open_arm() makes the
// right one.
#pragma once

#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "arm.hpp"
#include "byte_link.hpp"

namespace edgearm {

using link::Io;
using link::monotonic_ns;

// A frame that passes its check sum, or that has none, can still be wrong (Feetech's eight bits do not see two bytes
// swapped; a line of slcan does not see a digit that became another): a joint that seems to have moved faster than it
// can is not believed.
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

// Reads until two readings in a row agree to within PlausibilityGate::kMargin; none when they never do. For set-up.
template <class Read>
std::optional<Joints> read_twice_alike(Read read) {
    constexpr int kReadings = 4;
    Joints before = read();
    for (int reading = 1; reading < kReadings; ++reading) {
        const Joints now = read();
        bool alike = true;
        for (std::size_t i = 0; i < kJoints; ++i) {
            alike = alike && std::abs(now[i] - before[i]) <= PlausibilityGate::kMargin;
        }
        before = now;
        if (alike) {
            return now;
        }
    }
    return std::nullopt;
}

// Throws Error(arm): when it gave none.
[[noreturn]] void not_still(const std::string& path);

// What the arm is to do in this cycle.
struct Goals {
    Joints position{};
    Joints velocity{};  // joint units per second, where it is then; only an arm that can follow a moving goal uses it
};

// Written by the bus thread, read by any.
struct LinkStats {
    std::atomic<std::uint64_t> exchanges{0};  // cycles in which all joints answered
    std::atomic<std::uint64_t> replies{0};
    std::atomic<std::uint64_t> corrupt{0};
    std::atomic<std::uint64_t> stray{0};
    std::atomic<std::uint64_t> timeouts{0};
    std::atomic<std::uint64_t> implausible{0};
    std::array<std::atomic<std::uint8_t>, kJoints> errors{};   // as of the last reply; 0: none (describe_error)
    std::array<std::atomic<std::int64_t>, kJoints> seen_ns{};  // when it last gave a believable position
    std::atomic<std::uint32_t> controller{0};  // what a microcontroller before the motors says (describe_controller)
};

// An open link. Opening checks that the arm is the described one, moves nothing and leaves torque as it is.
class ArmLink {
public:
    virtual ~ArmLink() = default;

    virtual const std::string& path() const = 0;
    // The name to find the same adapter by, should it come back as another port.
    virtual const std::string& stable_path() const = 0;

    // Where every joint is, from two readings that agree. Throws Error.
    virtual Joints measure() = 0;
    // Sets every goal to where the joint is, then switches torque on. Returns that pose. Throws Error, and then torque
    // is off again where it was off: an arm that held itself up goes on doing so.
    virtual Joints engage() = 0;
    // Whether a motor was on before the last engage(), or whether nobody knows: then torque is not ours to switch off
    // when a start fails.
    virtual bool held_before() const = 0;
    // Torque off; true when every motor said so.
    virtual bool release() = 0;

    // One bus cycle: goals out when there are some, positions in. Io::gone when the line has to be opened again, else
    // the line works. `measured` is filled once every joint has given a believable position since it was filled last.
    virtual Io cycle(const Goals* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept = 0;
};

// Opens the port and checks the arm. Throws Error (link or arm). `arm` and `stats` must outlive the link.
std::unique_ptr<ArmLink> open_arm(const Arm& arm, const std::string& port, LinkStats& stats);

// The least time of one bus cycle, and what it is spent on.
struct CycleCost {
    std::int64_t ns;
    std::string spent_on;
    std::int64_t most_ns = 0;  // a longer cycle would leave the motors without a command for too long; 0: none would
};
CycleCost cycle_cost(const Arm& arm);

// LinkStats::errors in words, empty for none.
std::string describe_error(const Arm& arm, std::uint8_t error);

// LinkStats::controller in words, empty when there is nothing to tell, or no microcontroller.
std::string describe_controller(const Arm& arm, std::uint32_t word);

}  // namespace edgearm
