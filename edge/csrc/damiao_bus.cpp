#include "damiao_bus.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "open_link.hpp"
#include "serial_port.hpp"
#include "slcan.hpp"
#include "socketcan.hpp"

namespace edgearm {

namespace {

using link::CanFrame;

CanFrame frame_of(std::uint32_t identifier, const std::uint8_t* data) {
    CanFrame frame;
    frame.id = identifier;
    frame.length = DAMIAO_FRAME;
    std::copy_n(data, DAMIAO_FRAME, frame.data.begin());
    return frame;
}

bool from(const CanFrame& frame, MotorId motor) {
    return frame.id == motor.master_id && !frame.extended && !frame.remote && !frame.fd && frame.length == DAMIAO_FRAME;
}

bool is_register(const CanFrame& frame, MotorId motor, std::uint8_t address) {
    std::uint32_t bits = 0;
    return from(frame, motor) && damiao_register_unpack(frame.data.data(), frame.length, motor.id, address, &bits);
}

bool is_feedback(const CanFrame& frame, MotorId motor, std::uint8_t) {
    return is_feedback_of(frame, motor);
}

}  // namespace

CanPort open_can(const std::string& port) {
    CanPort opened;
    if (port.find('/') == std::string::npos) {
        opened.bus = open_unique<link::SocketCanLink>(port);
        opened.stable_path = port;
    } else {
        auto line = open_unique<link::SerialPort>(port);
        opened.stable_path = line->stable_path();
        opened.bus = open_unique<link::SlcanLink>(*line);
        opened.line = std::move(line);
    }
    return opened;
}

bool is_feedback_of(const CanFrame& frame, MotorId motor) noexcept {
    return from(frame, motor) && (frame.data[0] & 0xF) == (motor.id & 0xF);
}

unsigned DamiaoBus::drain() noexcept {
    constexpr unsigned kMost = 512;  // a line that babbles keeps nobody
    unsigned count = 0;
    CanFrame frame;
    for (; count < kMost; ++count) {
        const Io result = link().receive(frame, link::kNoWait);
        if (result != Io::ok && result != Io::corrupt) {
            break;
        }
    }
    return count;
}

Io DamiaoBus::ask(std::uint32_t identifier, const std::uint8_t* data, std::int64_t timeout_ns, int tries, MotorId motor,
                  CanFrame& answer, bool (*fits)(const CanFrame&, MotorId, std::uint8_t), std::uint8_t detail) {
    for (int attempt = 0; attempt < tries; ++attempt) {
        drain();
        const std::int64_t deadline = monotonic_ns() + timeout_ns;
        Io result = link().send(frame_of(identifier, data), deadline);
        // A refusal may be about an earlier frame, and half a frame goes before the next one: the answer decides.
        while (result != Io::gone && result != Io::timeout) {
            result = link().receive(answer, deadline);
            if (result == Io::ok && fits(answer, motor, detail)) {
                return Io::ok;
            }
        }
        if (result == Io::gone) {
            return Io::gone;
        }
    }
    return Io::timeout;
}

Io DamiaoBus::read(MotorId motor, damiao_register address, std::uint32_t& bits, std::int64_t timeout_ns, int tries) {
    std::array<std::uint8_t, DAMIAO_FRAME> data{};
    damiao_register_read(motor.id, static_cast<std::uint8_t>(address), data.data());
    CanFrame answer;
    const Io result = ask(DAMIAO_REGISTER_ID, data.data(), timeout_ns, tries, motor, answer, is_register,
                          static_cast<std::uint8_t>(address));
    if (result == Io::ok) {
        damiao_register_unpack(answer.data.data(), answer.length, motor.id, static_cast<std::uint8_t>(address), &bits);
    }
    return result;
}

Io DamiaoBus::write(MotorId motor, damiao_register address, std::uint32_t bits, std::int64_t timeout_ns, int tries) {
    std::array<std::uint8_t, DAMIAO_FRAME> data{};
    damiao_register_write(motor.id, static_cast<std::uint8_t>(address), bits, data.data());
    CanFrame answer;
    const Io result = ask(DAMIAO_REGISTER_ID, data.data(), timeout_ns, tries, motor, answer, is_register,
                          static_cast<std::uint8_t>(address));
    if (result == Io::gone) {
        return result;
    }
    std::uint32_t stored = ~bits;
    const Io checked = read(motor, address, stored, timeout_ns, tries);
    return checked == Io::ok && stored != bits ? Io::refused : checked;
}

Io DamiaoBus::refresh(MotorId motor, const damiao_limits& limits, damiao_feedback& feedback, std::int64_t timeout_ns,
                      int tries) {
    std::array<std::uint8_t, DAMIAO_FRAME> data{};
    damiao_refresh(motor.id, data.data());
    CanFrame answer;
    const Io result = ask(DAMIAO_REGISTER_ID, data.data(), timeout_ns, tries, motor, answer, is_feedback, 0);
    if (result == Io::ok) {
        damiao_feedback_unpack(&limits, answer.data.data(), answer.length, &feedback);
    }
    return result;
}

Io DamiaoBus::order(MotorId motor, damiao_order what, const damiao_limits& limits, damiao_feedback& feedback,
                    std::int64_t timeout_ns, int tries) {
    std::array<std::uint8_t, DAMIAO_FRAME> data{};
    damiao_order_pack(what, data.data());
    CanFrame answer;
    const Io result = ask(motor.id, data.data(), timeout_ns, tries, motor, answer, is_feedback, 0);
    if (result == Io::ok) {
        damiao_feedback_unpack(&limits, answer.data.data(), answer.length, &feedback);
    }
    return result;
}

Io DamiaoBus::send_command(MotorId motor, const damiao_limits& limits, const damiao_command& command,
                           std::int64_t deadline_ns) noexcept {
    std::array<std::uint8_t, DAMIAO_FRAME> data{};
    if (!damiao_command_pack(&limits, &command, data.data())) {
        return Io::refused;
    }
    return link().send(frame_of(motor.id, data.data()), deadline_ns);
}

Io DamiaoBus::send_refresh(MotorId motor, std::int64_t deadline_ns) noexcept {
    std::array<std::uint8_t, DAMIAO_FRAME> data{};
    damiao_refresh(motor.id, data.data());
    return link().send(frame_of(DAMIAO_REGISTER_ID, data.data()), deadline_ns);
}

std::string describe_motor_status(std::uint8_t status) {
    constexpr std::array<std::pair<std::uint8_t, const char*>, 9> kNames{{
        {DAMIAO_SENSOR, "sensor fault"},
        {DAMIAO_PARAMETER, "parameters not readable"},
        {DAMIAO_OVERVOLTAGE, "overvoltage"},
        {DAMIAO_UNDERVOLTAGE, "undervoltage"},
        {DAMIAO_OVERCURRENT, "overcurrent"},
        {DAMIAO_HOT_MOSFET, "driver too hot"},
        {DAMIAO_HOT_COIL, "coil too hot"},
        {DAMIAO_LOST_COMMANDS, "no command in time, switched off"},
        {DAMIAO_OVERLOAD, "overload"},
    }};
    for (const auto& [value, label] : kNames) {
        if (value == status) {
            return label;
        }
    }
    return damiao_status_is_fault(status) ? "unknown status " + std::to_string(status) : "";
}

}  // namespace edgearm
