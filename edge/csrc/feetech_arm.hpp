// An arm of Feetech servos on a direct bus: a SO-101 behind a serial adapter.
#pragma once

#include "arm_link.hpp"
#include "feetech_bus.hpp"
#include "serial_port.hpp"

namespace edgearm {

class FeetechArm final : public ArmLink {
public:
    // What one bus cycle puts on the line: goals out, the question for positions, one answer a joint. Eight data bits
    // take ten on the wire.
    static constexpr std::int64_t kCycleBytes =
        (FEETECH_OVERHEAD + 2 + 3 * kJoints) + (FEETECH_OVERHEAD + 2 + kJoints) + kJoints * (FEETECH_OVERHEAD + 2);
    static constexpr std::int64_t kCycleNs = kCycleBytes * 10 * 1'000;  // at 1 Mbps: 880 us

    // Every servo of the description answers, is of the described model and, where the arm has a calibration, holds the
    // same one. Takes the servos' return delay away until they are next switched off: at its factory value of 0.5 ms a
    // servo, six replies alone take longer than a bus cycle.
    FeetechArm(const Arm& arm, const std::string& port, LinkStats& stats);

    const std::string& path() const override { return port_.path(); }
    const std::string& stable_path() const override { return port_.stable_path(); }

    Joints measure() override;
    // Sets no speed or acceleration limit of the servos' own (the loop has them). Every servo has to acknowledge. A
    // joint outside its range is refused: it would go to the nearest goal inside at the servo's full speed.
    Joints engage() override;
    bool held_before() const override { return held_before_; }
    bool release() override;
    Io cycle(const Goals* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept override;

private:
    void identify();
    void compare_calibration();
    void require_inside(const Joints& pose) const;
    std::uint16_t ask(std::size_t joint, std::uint8_t address, std::uint8_t length, const char* what);
    void write(std::size_t joint, std::uint8_t address, std::span<const std::uint8_t> data, const char* doing);
    bool switch_off(std::size_t joint);
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
    bool held_before_ = false;
};

// The names of a status frame's error bits, for a person.
std::string describe_servo_error(std::uint8_t bits);

}  // namespace edgearm
