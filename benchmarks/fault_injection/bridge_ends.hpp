// The two ends of the bridge: the computer as docs/bridge-protocol.md asks, the microcontroller with the codec, the
// gate and the limiter that it runs. One tick is 1 ms.
#pragma once

#include <algorithm>
#include <array>

#include "servos.hpp"

extern "C" {
#include "bridge_gate.h"
#include "bridge_serial.h"
#include "limiter.h"
#include "units.h"
}

namespace edgearm::faults {

inline constexpr std::int64_t kTick = 1'000'000;
inline constexpr std::uint16_t kTickUs = 1000;
inline constexpr std::uint16_t kExpiryMs = 20;
inline constexpr std::uint32_t kConfig = 0xCAFE;
inline constexpr std::size_t kRemembered = 1024;

using States = std::array<safety_state, kJoints>;
using Limits = std::array<safety_limits, kJoints>;

inline Bytes framed(const bridge_message& message) {
    std::array<std::uint8_t, BRIDGE_MAX_LENGTH> bytes{};
    Bytes frame(BRIDGE_SERIAL_MAX_FRAME);
    frame.resize(bridge_serial_frame(bytes.data(), bridge_encode(&message, bytes.data()), frame.data()));
    return frame;
}

inline void send(Line& line, const bridge_message& message, std::int64_t now_ns) {
    const Bytes frame = framed(message);
    line.send(frame, now_ns, 1, frame.size() - 2);
}

// Orders as they were sent, so that what is believed can be compared.
class Sent {
public:
    void remember(const bridge_message& message, std::uint32_t sequence) {
        sent_[sequence % kRemembered] = framed(message);
    }
    bool holds(const bridge_message& message, std::uint32_t sequence) const {
        return sent_[sequence % kRemembered] == framed(message);
    }

private:
    std::array<Bytes, kRemembered> sent_{};
};

class Microcontroller {
public:
    Microcontroller(const Arm& arm, const Limits& limits, Row*& row)
        : row_(row), judge(arm, row), arm_(arm), limits_(limits) {
        bridge_gate_init(&gate, kJoints, kTickUs, kConfig);
        bridge_parser_init(&parser_);
        for (std::size_t i = 0; i < kJoints; ++i) {
            double middle = (arm.limits()[i].lower + arm.limits()[i].upper) / 2;
            std::int64_t units = 0;
            safety_position_from(middle, &units);
            joints[i] = safety_at_rest(units);
            servos.goal[i] = ticks(i);
        }
        judge.stands(servos.goal, 0);
    }

private:
    Row*& row_;

public:
    Judge judge;
    bridge_gate gate{};
    States joints{};
    Servos servos{judge};

    // A stop has been decided: once it is here, no order up to this one may count again.
    void expect_stop(std::uint32_t session, std::uint32_t sequence) {
        expected_session_ = session;
        expected_sequence_ = sequence;
    }

    void hear(const Bytes& bytes, std::int64_t now_ns, const Sent& sent, Line& out) {
        for (const std::uint8_t byte : bytes) {
            bridge_message message;
            if (bridge_parser_push(&parser_, byte, &message)) {
                take(message, now_ns, sent, out);
            }
        }
    }

    void tick(std::int64_t now_ns, Line& out) {
        const auto now_us = static_cast<std::uint32_t>(now_ns / 1000);
        bridge_gate_tick(&gate, now_us, 0);
        bool rest = true;
        for (std::size_t i = 0; i < kJoints; ++i) {
            if (gate.arm == BRIDGE_RUNNING) {
                safety_step(&limits_[i], &joints[i], &targets_[i]);
                constexpr std::int64_t kFar = INT64_C(1) << 40;
                targets_[i].position = std::clamp(targets_[i].position + targets_[i].velocity, -kFar, kFar);
            } else {
                safety_brake(&limits_[i], &joints[i]);
            }
            rest = rest && joints[i].velocity == 0 && joints[i].acceleration == 0;
            row_->outside += !safety_admissible(&limits_[i], &joints[i]);
        }
        if (rest && gate.arm == BRIDGE_BRAKING) {
            bridge_gate_at_rest(&gate);
            Ticks now{};
            for (std::size_t i = 0; i < kJoints; ++i) {
                now[i] = ticks(i);
            }
            judge.rests(now);
        }
        if (now_ns / kTick % 4 == 0) {
            command_servos(now_ns);
        }
        if (now_ns / kTick % 5 == 0) {
            report(now_ns, now_us, out);
        }
    }

private:
    void take(const bridge_message& message, std::int64_t now_ns, const Sent& sent, Line& out) {
        bridge_message reply;
        const bridge_order& order = message.kind == BRIDGE_COMMAND ? message.as.command.order : message.as.clear.order;
        const bool is_order =
            message.kind == BRIDGE_COMMAND || message.kind == BRIDGE_CLEAR || message.kind == BRIDGE_RELEASE;
        row_->undetected += is_order && !sent.holds(message, order.sequence);
        const auto action = bridge_gate_receive(&gate, static_cast<std::uint32_t>(now_ns / 1000), &message, &reply);
        switch (action) {
            case BRIDGE_ANSWER:
                send(out, reply, now_ns);
                break;
            case BRIDGE_ARM:
                count_stale(order);
                judge.moves();
                for (safety_state& joint : joints) {
                    joint = safety_at_rest(joint.position);
                }
                break;
            case BRIDGE_FOLLOW:
                count_stale(order);
                for (std::size_t i = 0; i < kJoints; ++i) {
                    targets_[i] = {gate.targets[i].position, gate.targets[i].velocity};
                }
                break;
            case BRIDGE_BRAKE:
                stopped_session_ = expected_session_;
                stopped_sequence_ = expected_sequence_;
                break;
            case BRIDGE_DROP:  // nobody sends a release here: one that comes is counted above
            case BRIDGE_NOTHING:
                break;
        }
    }

    void count_stale(const bridge_order& order) {
        row_->stale += order.session == stopped_session_ && order.sequence <= stopped_sequence_;
    }

    int ticks(std::size_t joint) const { return arm_.to_ticks(joint, safety_position_to(joints[joint].position)); }

    void command_servos(std::int64_t now_ns) {
        std::array<std::uint8_t, kJoints> ids{};
        std::array<std::uint8_t, 2 * kJoints> data{};
        for (std::size_t i = 0; i < kJoints; ++i) {
            const std::uint16_t word = feetech_to_sign_magnitude(ticks(i), FEETECH_SIGN_POSITION);
            ids[i] = static_cast<std::uint8_t>(i + 1);
            data[2 * i] = static_cast<std::uint8_t>(word & 0xFF);
            data[2 * i + 1] = static_cast<std::uint8_t>(word >> 8);
        }
        Bytes frame(FEETECH_MAX_FRAME);
        frame.resize(
            feetech_sync_write(FEETECH_GOAL_POSITION, 2, ids.data(), data.data(), kJoints, frame.data(), frame.size()));
        servos.hear(frame, now_ns);
    }

    void report(std::int64_t now_ns, std::uint32_t now_us, Line& out) {
        bridge_message message{};
        message.kind = BRIDGE_STATE;
        bridge_gate_report(&gate, now_us, &message.as.state);
        for (std::size_t i = 0; i < kJoints; ++i) {
            message.as.state.positions[i] = joints[i].position;
        }
        send(out, message, now_ns);
    }

    const Arm& arm_;
    const Limits& limits_;
    bridge_parser parser_{};
    std::array<safety_target, kJoints> targets_{};
    std::uint32_t expected_session_ = 0;
    std::uint32_t expected_sequence_ = 0;
    std::uint32_t stopped_session_ = 0;
    std::uint32_t stopped_sequence_ = 0;
};

class Computer {
public:
    Computer(const Limits& limits, Random& random) : limits_(limits), random_(random) {
        bridge_parser_init(&parser_);
        session = static_cast<std::uint32_t>(random.next()) | 1U;
    }

    Sent sent;
    std::uint32_t session;
    std::uint32_t sequence = 0;
    bool stopping = false;
    bool wild = false;  // the next command has targets that make no sense

    void hear(const Bytes& bytes) {
        for (const std::uint8_t byte : bytes) {
            bridge_message message;
            if (!bridge_parser_push(&parser_, byte, &message) || message.kind != BRIDGE_STATE) {
                continue;
            }
            const bridge_state& state = message.as.state;
            // Old ones are not believed: its clock has to move on.
            if (!known_ || static_cast<std::int32_t>(state.time_us - state_.time_us) > 0) {
                known_ = true;
                state_ = state;
            }
        }
    }

    void tick(std::int64_t now_ns, Line& out) {
        if (now_ns / kTick % 4 != 0 || !known_) {
            return;
        }
        bridge_message message{};
        if (stopping) {
            message.kind = BRIDGE_STOP;
            following_ = false;
            stopping = (state_.faults & BRIDGE_FAULT_STOP) == 0 || state_.arm != BRIDGE_STOPPED;
            send(out, message, now_ns);
            return;
        }
        if (state_.session != session) {
            message.kind = BRIDGE_HELLO;
            message.as.hello = {kJoints, kTickUs, BRIDGE_PROTOCOL, session, kConfig, BRIDGE_ACCEPTED};
            send(out, message, now_ns);
            return;
        }
        const bridge_order order{kExpiryMs, session, sequence + 1, state_.time_us};
        if (state_.arm == BRIDGE_IDLE || state_.arm == BRIDGE_STOPPED) {
            message.kind = BRIDGE_CLEAR;
            message.as.clear = {order, state_.latch};
            following_ = false;
        } else if (state_.arm == BRIDGE_READY || state_.arm == BRIDGE_RUNNING) {
            message.kind = BRIDGE_COMMAND;
            message.as.command.order = order;
            message.as.command.joints = kJoints;
            aim(message.as.command);
        } else {
            return;
        }
        sequence += 1;
        sent.remember(message, sequence);
        send(out, message, now_ns);
    }

private:
    // A motion within the limits to somewhere else, made by the same limiter, four ticks a command.
    void aim(bridge_command& command) {
        if (!following_) {
            following_ = true;
            for (std::size_t i = 0; i < kJoints; ++i) {
                mine_[i] = safety_at_rest(state_.positions[i]);
                goals_[i] = {state_.positions[i], 0};
            }
        }
        if (random_.chance(0.02)) {
            const std::size_t i = random_.below(kJoints);
            const std::int64_t span = limits_[i].upper - limits_[i].lower;
            goals_[i].position = limits_[i].lower + static_cast<std::int64_t>(random_.below(1024)) * (span / 1024);
        }
        for (std::size_t i = 0; i < kJoints; ++i) {
            safety_advance(&limits_[i], &mine_[i], &goals_[i], 4);
            command.targets[i] = {mine_[i].position, mine_[i].velocity};
            if (wild) {
                const auto far = static_cast<std::int64_t>(random_.next() % (UINT64_C(1) << 41));
                const auto fast = static_cast<std::int64_t>(random_.next() % (UINT64_C(1) << 28));
                command.targets[i] = {far - (INT64_C(1) << 40), static_cast<std::int32_t>(fast - (INT64_C(1) << 27))};
            }
        }
        wild = false;
    }

    const Limits& limits_;
    Random& random_;
    bridge_parser parser_{};
    bool known_ = false;
    bool following_ = false;
    bridge_state state_{};
    States mine_{};
    std::array<safety_target, kJoints> goals_{};
};

}  // namespace edgearm::faults
