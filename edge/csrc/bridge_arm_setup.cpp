// What a BridgeArm does while nobody waits for it in real time: sessions, arming, releasing.
#include <cmath>
#include <random>

#include "bridge_arm.hpp"
#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSilence = 1'000 * kMillisecond;
constexpr std::int64_t kReplyTimeout = 200 * kMillisecond;
constexpr std::int64_t kFirstGoals = 1'000 * kMillisecond;
constexpr int kTries = 5;
constexpr int kSteadyStates = 400;  // servos may take a second to appear after power-on
constexpr int kRestStates = 1000;   // from full speed an arm rests in far fewer
// A refusal that is older than an order may be that of an earlier one; the answer is there by then.
constexpr std::uint32_t kJudgedTicks = 10;

std::uint32_t new_session() {
    std::random_device chance;
    std::uint32_t session = 0;
    while (session == 0) {
        session = static_cast<std::uint32_t>(chance());
    }
    return session;
}

std::string advice(std::uint16_t faults) {
    if ((faults & BRIDGE_FAULT_STOP) != 0) {
        return "let go of the emergency stop, then start again";
    }
    if ((faults & BRIDGE_FAULT_FEEDBACK) != 0) {
        return "check power, the daisy chain and the servo ids, then start again";
    }
    if ((faults & (BRIDGE_FAULT_DRIVE | BRIDGE_FAULT_POWER)) != 0) {
        return "check the arm's supply and what blocks it, switch its power off and on, then start again";
    }
    return "remove the cause, then start again";
}

}  // namespace

void BridgeArm::line_gone() const {
    throw Error(Error::Kind::link, "port " + path() + " is gone", "a microcontroller that stays connected",
                "no such device", "check the cable and the microcontroller's power");
}

void BridgeArm::silent() const {
    throw Error(
        Error::Kind::arm, "the microcontroller on " + path() + " does not answer", "a state every tick",
        known_ ? "silence" : "silence, or nothing of the bridge protocol",
        "check its cable, power and firmware; servos without a microcontroller have a description of their own");
}

void BridgeArm::unwilling(const std::string& what, const std::string& expected, const std::string& got) const {
    throw Error(Error::Kind::arm, "the microcontroller on " + path() + " " + what, expected, got,
                advice(state_.faults));
}

void BridgeArm::refuse(const bridge_hello& reply) const {
    const std::string on = " on " + path();
    switch (reply.refusal) {
        case BRIDGE_WRONG_PROTOCOL:
            throw Error(Error::Kind::arm, "the microcontroller" + on + " speaks another protocol",
                        "protocol " + bridge_hash(BRIDGE_PROTOCOL), "protocol " + bridge_hash(reply.protocol),
                        "flash the firmware of this version (make firmware)");
        case BRIDGE_WRONG_JOINTS:
            throw Error(Error::Kind::arm, "the microcontroller" + on + " is not that of a " + arm_.spec().name,
                        std::to_string(kJoints) + " joints", std::to_string(reply.joints),
                        "name the port of the described arm, or another arm description");
        case BRIDGE_WRONG_TICK:
            throw Error(Error::Kind::arm, "the microcontroller" + on + " has another tick",
                        std::to_string(table_.tick_us) + " us", std::to_string(reply.tick_us) + " us",
                        "correct bridge.tick_us in the arm description, or flash another firmware");
        default:
            throw Error(Error::Kind::arm, "the microcontroller" + on + " was built for another arm or calibration",
                        "configuration " + bridge_hash(config_), "configuration " + bridge_hash(reply.config),
                        "name the description and the calibration that its table was written from, or write the table "
                        "anew (python -m firmware_bridge.arm_table), build the firmware and flash it");
    }
}

void BridgeArm::greet() {
    session_ = 0;
    for (int attempt = 0; attempt < kTries; ++attempt) {
        bridge_message hello{};
        hello.kind = BRIDGE_HELLO;
        const std::uint32_t session = new_session();
        hello.as.hello = {kJoints, table_.tick_us, BRIDGE_PROTOCOL, session, config_, BRIDGE_ACCEPTED};
        const std::int64_t deadline = monotonic_ns() + kReplyTimeout;
        Io result = line_.send(hello, deadline);
        replied_ = false;
        while (result == Io::ok && !replied_) {
            bridge_message message;
            result = line_.receive(message, deadline);
            if (result == Io::ok) {
                take(message);
            }
        }
        if (result == Io::gone) {
            line_gone();
        }
        if (replied_ && reply_.refusal != BRIDGE_ACCEPTED) {
            refuse(reply_);
        }
        if (replied_ && reply_.session == session) {
            session_ = session;
            sequence_ = 0;
            next_state();
            return;
        }
    }
    silent();
}

void BridgeArm::next_state() {
    const std::int64_t deadline = monotonic_ns() + kSilence;
    bridge_message message;
    for (;;) {
        const Io result = line_.receive(message, deadline);
        if (result == Io::gone) {
            line_gone();
        }
        if (result != Io::ok) {
            silent();
        }
        if (take(message)) {
            return;
        }
    }
}

bool BridgeArm::ticks_since(std::uint32_t begin_us, std::uint32_t ticks) const noexcept {
    return state_.time_us - begin_us >= ticks * table_.tick_us;
}

Joints BridgeArm::measure() {
    Joints before{};
    int steady = 0;
    for (int i = 0; i < kSteadyStates && steady < 2; ++i) {
        next_state();
        Joints now{};
        bool agreed = steady > 0;
        for (std::size_t joint = 0; joint < kJoints; ++joint) {
            now[joint] = safety_position_to(state_.positions[joint]);
            agreed = agreed && std::abs(now[joint] - before[joint]) <= PlausibilityGate::kMargin;
        }
        steady = state_.stale != 0 ? 0 : agreed ? 2 : 1;
        before = now;
    }
    if (steady < 2) {
        std::string missing;
        for (std::size_t joint = 0; joint < kJoints; ++joint) {
            if ((state_.stale >> joint & 1) != 0) {
                missing += (missing.empty() ? "" : ", ") + arm_.spec().joints[joint].name;
            }
        }
        unwilling(
            "does not know where the arm is", "two states that agree, with every joint measured",
            missing.empty() ? "joints that move by more than 0.05 rad between states" : missing + " not measured");
    }
    newest_ = before;
    fresh_.fill(false);
    return before;
}

void BridgeArm::require_ours() const {
    if (!ours()) {
        unwilling("was reset", "the session that was opened", "another one, or none");
    }
}

void BridgeArm::come_to_rest() {
    for (int i = 0; i < kRestStates; ++i) {
        require_ours();
        if (state_.arm == BRIDGE_IDLE || state_.arm == BRIDGE_STOPPED) {
            return;
        }
        if (armed() && line_.send_stop(monotonic_ns() + kReplyTimeout) == Io::gone) {
            line_gone();
        }
        next_state();
    }
    unwilling("does not bring the arm to rest", "stopped", bridge_arm_name(state_.arm));
}

// A clear or a release of what `latch` names, again when it was lost or came too late.
void BridgeArm::order(bridge_kind kind, std::uint16_t latch, const char* what) {
    if (sequence_ > UINT32_MAX - kTries) {
        greet();  // for numbers to give; the arm stands, so this stops nothing and `latch` is still the newest
    }
    const std::uint32_t first = sequence_ + 1;
    std::uint8_t refusal = BRIDGE_ACCEPTED;
    for (int attempt = 0; attempt < kTries; ++attempt) {
        bridge_message message{};
        message.kind = static_cast<std::uint8_t>(kind);
        const std::uint32_t sent_us = state_.time_us;
        message.as.clear.order = next_order();
        message.as.clear.latch = latch;
        const Io result = line_.send(message, monotonic_ns() + kReplyTimeout);
        if (result == Io::gone) {
            line_gone();
        }
        if (result == Io::refused) {
            unwilling(what, "an order that the protocol has a message for", "one that it has none for");
        }
        while (!ticks_since(sent_us, kJudgedTicks)) {
            next_state();
            require_ours();
            if (state_.sequence >= first) {
                return;
            }
        }
        refusal = state_.refusal;
        if (refusal != BRIDGE_STALE && refusal != BRIDGE_ACCEPTED) {
            break;
        }
    }
    const std::string faults = bridge_fault_names(state_.faults);
    unwilling(what, "an order that counts",
              std::string(refusal == BRIDGE_ACCEPTED ? "no answer" : bridge_refusal_name(refusal)) +
                  (faults.empty() ? "" : ": " + faults));
}

void BridgeArm::require_armed() const {
    if (!armed()) {
        unwilling("did not switch the arm on", "an arm that holds its pose",
                  std::string(bridge_arm_name(state_.arm)) + ": " +
                      (ours() ? bridge_fault_names(state_.faults) : "it was reset"));
    }
}

// The firmware switches on by itself, goals first, and says nothing about it: when it is still armed after the time
// that it may take, it has. A command is due meanwhile as it is later.
void BridgeArm::hold_until_on() {
    aim_at_pose();
    const std::uint32_t begin_us = state_.time_us;
    while (!ticks_since(begin_us, kArmingTicks)) {
        require_armed();
        if (send_command(monotonic_ns() + kReplyTimeout) == Io::gone) {
            line_gone();
        }
        next_state();
    }
    require_armed();  // the clock of one that was reset says nothing about how long it took
}

Joints BridgeArm::engage() {
    engaged_ = false;
    greet();
    const std::uint16_t latch = state_.latch;  // whatever stops the arm from now on is not cleared
    come_to_rest();
    measure();
    order(BRIDGE_CLEAR, latch, "does not arm the arm");
    try {
        hold_until_on();
    } catch (const Error&) {
        line_.send_stop(monotonic_ns() + kReplyTimeout);
        throw;
    }
    Joints pose{};  // where it was armed: a loop that began from where it has sagged to would let it sag on
    for (std::size_t i = 0; i < kJoints; ++i) {
        pose[i] = safety_position_to(targets_[i].position);
    }
    newest_ = pose;
    fresh_.fill(false);
    engaged_ = heard_ = true;
    hold_until_ns_ = monotonic_ns() + kFirstGoals;
    return pose;
}

bool BridgeArm::release() {
    engaged_ = false;
    next_state();
    if (!ours()) {
        greet();
    }
    come_to_rest();
    const bool unclear = (state_.faults & BRIDGE_FAULT_DRIVE) != 0;
    order(BRIDGE_RELEASE, state_.latch, "does not switch torque off");
    const std::uint32_t begin_us = state_.time_us;
    while (!ticks_since(begin_us, kReleasingTicks)) {
        next_state();
        require_ours();  // a reset ends what it was doing
        if (!unclear && (state_.faults & BRIDGE_FAULT_DRIVE) != 0) {
            return false;
        }
    }
    if (unclear) {
        unwilling("was told to switch torque off and cannot say whether it did", "servos without a fault",
                  bridge_fault_names(state_.faults));
    }
    return true;
}

}  // namespace edgearm
