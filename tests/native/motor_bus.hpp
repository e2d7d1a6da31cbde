// Six Damiao motors behind a CAN link that is a function: what a motor answers can be received at once. Silence does
// not take time here: a receive with nothing to receive has waited until its deadline. A motor with torque stands where
// it is told to; one without stays where it is.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "arm.hpp"
#include "can_link.hpp"
#include "damiao_bus.hpp"

namespace edgearm::test {

struct Motor {
    damiao_limits limits{12.5f, 30, 10};
    float position = 0;
    std::uint8_t status = DAMIAO_OFF;
    std::uint32_t timeout = 7;
    std::uint32_t mode = DAMIAO_MODE_MIT;
    bool silent = false;
    bool deaf_to_enable = false;
    bool cause_stays = false;
    int drop_answers = 0;
    float wrong_by = 0;  // what it adds to every position that it tells
};

// Outlives the link, which a DamiaoArm owns.
struct MotorBus {
    static constexpr std::uint16_t kMaster = 16;  // and the motor's id

    std::array<Motor, kJoints> motors{};
    std::vector<link::CanFrame> sent;  // everything that was sent
    std::deque<link::CanFrame> answers;
    bool gone = false;
    bool unplugged = false;  // nobody hears anything, and the adapter takes frames all the same

    void hear(const link::CanFrame& frame) {
        sent.push_back(frame);
        if (unplugged) {
            return;
        }
        const bool asks = frame.id == DAMIAO_REGISTER_ID;
        const std::size_t index = (asks ? frame.data[0] : frame.id) - 1u;
        if (index >= kJoints) {
            return;
        }
        Motor& motor = motors[index];
        const auto id = static_cast<std::uint16_t>(index + 1);
        if (asks && frame.data[2] != 0xCC) {
            answer_register(motor, id, frame);
            return;
        }
        if (!asks) {
            obey(motor, frame);
        }
        const damiao_feedback row{
            static_cast<std::uint8_t>(id), motor.status, motor.position + motor.wrong_by, 0, 0, 30, 30};
        link::CanFrame out = answer_of(id);
        damiao_feedback_pack(&motor.limits, &row, out.data.data());
        say(motor, out);
    }

private:
    static link::CanFrame answer_of(std::uint16_t id) {
        link::CanFrame frame;
        frame.id = kMaster + id;
        frame.length = DAMIAO_FRAME;
        return frame;
    }

    void say(Motor& motor, const link::CanFrame& frame) {
        if (motor.drop_answers > 0) {
            motor.drop_answers -= 1;
        } else if (!motor.silent) {
            answers.push_back(frame);
        }
    }

    void answer_register(Motor& motor, std::uint16_t id, const link::CanFrame& question) {
        const std::uint8_t address = question.data[3];
        std::uint32_t asked = 0;
        damiao_register_unpack(question.data.data(), question.length, id, address, &asked);
        if (question.data[2] == 0x55 && address == DAMIAO_TIMEOUT) {
            motor.timeout = asked;
        }
        const std::uint32_t bits = address == DAMIAO_TIMEOUT        ? motor.timeout
                                   : address == DAMIAO_CONTROL_MODE ? motor.mode
                                   : address == DAMIAO_MAX_POSITION ? damiao_bits_of(motor.limits.position)
                                   : address == DAMIAO_MAX_VELOCITY ? damiao_bits_of(motor.limits.velocity)
                                                                    : damiao_bits_of(motor.limits.torque);
        link::CanFrame out = answer_of(id);
        damiao_register_write(id, address, bits, out.data.data());
        out.data[2] = question.data[2];
        say(motor, out);
    }

    static void obey(Motor& motor, const link::CanFrame& frame) {
        const bool order =
            std::all_of(frame.data.begin(), frame.data.begin() + 7, [](int byte) { return byte == 0xFF; });
        if (order && frame.data[7] == DAMIAO_ENABLE && motor.status == DAMIAO_OFF && !motor.deaf_to_enable) {
            motor.status = DAMIAO_ON;
        } else if (order && frame.data[7] == DAMIAO_DISABLE && motor.status == DAMIAO_ON) {
            motor.status = DAMIAO_OFF;
        } else if (order && frame.data[7] == DAMIAO_CLEAR && !motor.cause_stays) {
            motor.status = motor.status == DAMIAO_ON ? DAMIAO_ON : DAMIAO_OFF;
        } else if (!order && motor.status == DAMIAO_ON) {
            damiao_command command{};
            damiao_command_unpack(&motor.limits, frame.data.data(), frame.length, &command);
            motor.position = command.position;
        }
    }
};

class MotorLink final : public link::CanLink {
public:
    explicit MotorLink(MotorBus& bus) : bus_(bus) {}

    const std::string& path() const noexcept override { return path_; }
    link::Io send(const link::CanFrame& frame, std::int64_t) noexcept override {
        if (bus_.gone) {
            return link::Io::gone;
        }
        bus_.hear(frame);
        return link::Io::ok;
    }
    link::Io receive(link::CanFrame& frame, std::int64_t) noexcept override {
        if (bus_.gone) {
            return link::Io::gone;
        }
        if (bus_.answers.empty()) {
            return link::Io::timeout;
        }
        frame = bus_.answers.front();
        bus_.answers.pop_front();
        return link::Io::ok;
    }
    link::BusState state() const noexcept override { return link::BusState::active; }

private:
    MotorBus& bus_;
    std::string path_ = "a bus";
};

inline CanPort port_on(MotorBus& bus) {
    return {nullptr, std::make_unique<MotorLink>(bus), "a bus"};
}

}  // namespace edgearm::test
