// A microcontroller as the other end of a line: the firmware itself with emulated servos behind it, on a clock that
// goes on only while somebody waits for a byte, or when the test says so. There is one, as there is one HAL.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arm.hpp"
#include "bridge_line.hpp"

extern "C" {
#include "firmware_box.h"
#include "servos.h"
}

namespace edgearm::test {

// Bytes on their way, without allocation.
class Pipe {
public:
    void push(const std::uint8_t* bytes, std::size_t count);
    std::size_t pull(std::uint8_t* into, std::size_t most);
    bool empty() const { return begin_ == end_; }

private:
    std::array<std::uint8_t, 65'536> bytes_{};
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

struct Machine {
    explicit Machine(const arm_table& table = so101_table);
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    void run(std::uint32_t us);
    // As a reset does; the servos do not notice.
    void reset(bool by_watchdog);
    // A frame from the firmware with one bit flipped, so many times; and to it.
    int damage_down = 0;
    int damage_up = 0;
    bool mute = false;                       // nothing arrives at the computer
    bool stuck = false;                      // what arrives there is the same frame, again and again
    bool deaf = false;                       // nor at the firmware, and the line takes it all the same
    bool pressed = false;                    // the emergency stop
    std::optional<std::uint32_t> tap_at_us;  // pressed at this time, and let go of at once
    std::optional<std::uint32_t> reset_at_us;
    bool gone = false;
    // What the computer gets instead of an answer.
    std::optional<bridge_message> impostor;

    // Among what the servos were told since `from`.
    std::size_t told(std::size_t from = 0) const;
    std::vector<int> goals(std::size_t servo, std::size_t from = 0) const;
    bool torque() const;  // of every servo of the arm
    bool any_torque() const;

    const bridge_gate& gate() const { return *box_gate(); }
    std::uint32_t damaged_up() const { return box_parser()->corrupt; }  // frames that the firmware did not understand

    const arm_table& table;
    servo_line line{};
    std::uint32_t now_us = 0xFFFF0000u;  // wraps on the way
    bool watchdog_reset = false;
    bool tapped = false;
    std::array<std::uint8_t, BRIDGE_SERIAL_MAX_FRAME> last{};  // frame of the firmware
    std::size_t last_length = 0;
    Pipe down;  // to the computer
    Pipe up;
    std::size_t sent = 0;  // bytes that the computer wrote
};

// The computer's end.
BridgePort port_on(Machine& machine);

// The SO-101 of edge/robots, behind a microcontroller.
Arm so101();

}  // namespace edgearm::test
