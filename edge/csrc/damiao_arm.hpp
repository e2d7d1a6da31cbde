// An arm of Damiao motors in MIT mode on a CAN bus.
//
// Every frame to a motor is answered with where it is; a motor that is asked nothing says nothing. The loop's goal goes
// out as a position with the description's kp and kd and a target velocity of zero: a link that is lost in full motion
// leaves the arm at its last goal. The price is that a moving joint trails its goal by kd / kp times its speed.
#pragma once

#include "arm_link.hpp"
#include "damiao_bus.hpp"

namespace edgearm {

class DamiaoArm final : public ArmLink {
public:
    static constexpr std::int64_t kCycleFrames = 2 * kJoints;
    // A frame of 8 bytes at 1 Mbps with the most stuff bits, and the pause behind it.
    static constexpr std::int64_t kFrameNs = 135'000;
    static constexpr std::int64_t kCycleNs = kCycleFrames * kFrameNs;

    // Every motor of the description answers, is in MIT mode and holds the described limits: they are what gives a
    // command its meaning.
    DamiaoArm(const Arm& arm, const std::string& port, LinkStats& stats);
    DamiaoArm(const Arm& arm, CanPort port, LinkStats& stats);

    const std::string& path() const override { return bus_.port().bus->path(); }
    const std::string& stable_path() const override { return bus_.port().stable_path; }

    Joints measure() override;
    // Also tells every motor after how much silence it is to switch itself off. A motor that did so before is cleared,
    // because this call is the explicit act; any other fault is refused.
    Joints engage() override;
    bool held_before() const override { return held_before_; }
    bool release() override;
    // A motor is believed while it is on, or was never switched on; one with a fault, or that went off by itself, is
    // not: its position ages. After a cycle in which no motor answered, none is commanded until one does: an adapter
    // whose cable is out would keep the frames and send them, stale, once it is in again.
    Io cycle(const Goals* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept override;

private:
    // Set-up: waits, and throws Error (damiao_arm_setup.cpp).
    void identify();
    void enable(std::size_t joint, const Joints& pose);
    bool switch_off(std::size_t joint);
    std::string who(std::size_t joint) const;
    [[noreturn]] void line_gone() const;
    [[noreturn]] void silent(std::size_t joint, const char* what) const;

    damiao_command command(std::size_t joint, double goal) const noexcept;
    double position(std::size_t joint, const damiao_feedback& feedback) const noexcept;
    void note_status(std::size_t joint, std::uint8_t status) noexcept;
    void take(const link::CanFrame& frame, std::array<bool, kJoints>& awaited, std::size_t& missing) noexcept;

    const Arm& arm_;
    LinkStats& stats_;
    DamiaoBus bus_;
    PlausibilityGate gate_;
    std::array<MotorId, kJoints> ids_{};
    std::array<damiao_limits, kJoints> limits_{};  // the motors' own words
    std::array<std::uint8_t, kJoints> status_{};
    Joints newest_{};
    std::array<bool, kJoints> fresh_{};
    bool engaged_ = false;
    bool held_before_ = false;
    bool heard_ = true;  // in the last cycle, of any motor
};

// LinkStats::errors of this arm: a motor's status, or kWentOff.
std::string describe_motor_error(std::uint8_t error);

}  // namespace edgearm
