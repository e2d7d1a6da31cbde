// Questions to Damiao motors on a CAN bus, each answered under the identifier that is set in the motor.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "can_link.hpp"

extern "C" {
#include "damiao.h"
}

namespace edgearm {

using link::Io;
using link::monotonic_ns;

// An open CAN bus, with whatever it stands on.
struct CanPort {
    std::unique_ptr<link::ByteLink> line;  // of an adapter that speaks slcan; outlives the bus
    std::unique_ptr<link::CanLink> bus;
    std::string stable_path;  // the name to open the same adapter by, should it come back as another port
};

// A path (/dev/ttyACM0) is an adapter that speaks slcan, any other text (can0) an interface of the kernel. Throws
// Error.
CanPort open_can(const std::string& port);

struct MotorId {
    std::uint8_t id = 0;
    std::uint16_t master_id = 0;
};

class DamiaoBus {
public:
    explicit DamiaoBus(CanPort port) : port_(std::move(port)) {}

    const CanPort& port() const { return port_; }
    link::CanLink& link() { return *port_.bus; }

    // Io::ok, timeout or gone. Tried `tries` times.
    Io read(MotorId motor, damiao_register address, std::uint32_t& bits, std::int64_t timeout_ns, int tries);
    // Ok when the motor confirmed these very bits.
    Io write(MotorId motor, damiao_register address, std::uint32_t bits, std::int64_t timeout_ns, int tries);
    Io refresh(MotorId motor, const damiao_limits& limits, damiao_feedback& feedback, std::int64_t timeout_ns,
               int tries);
    Io order(MotorId motor, damiao_order what, const damiao_limits& limits, damiao_feedback& feedback,
             std::int64_t timeout_ns, int tries);

    // Without waiting for the answer.
    Io send_command(MotorId motor, const damiao_limits& limits, const damiao_command& command,
                    std::int64_t deadline_ns) noexcept;
    Io send_refresh(MotorId motor, std::int64_t deadline_ns) noexcept;
    // Throws away what has come and answers no question any more; how many frames that was. Io::gone says so later.
    unsigned drain() noexcept;

private:
    Io ask(std::uint32_t identifier, const std::uint8_t* data, std::int64_t timeout_ns, int tries, MotorId motor,
           link::CanFrame& answer, bool (*fits)(const link::CanFrame&, MotorId, std::uint8_t), std::uint8_t detail);

    CanPort port_;
};

// Whether a frame can be this motor's feedback.
bool is_feedback_of(const link::CanFrame& frame, MotorId motor) noexcept;

// A status in words, empty for off and on.
std::string describe_motor_status(std::uint8_t status);

}  // namespace edgearm
