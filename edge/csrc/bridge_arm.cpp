#include "bridge_arm.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::uint8_t kNotMeasured = 1;
constexpr std::uint8_t kMissed = 3;  // states: one answer that was damaged is nothing to tell
constexpr int kMostMessages = 256;   // in one go; more than a bus cycle brings, however late it is
constexpr double kUnit = 4294967296.0;
constexpr std::int64_t kFastest = std::int64_t{1} << BRIDGE_MAX_VELOCITY_LOG2;
constexpr std::int64_t kStopTimeout = 5'000'000;
constexpr std::int32_t kResetUs = 100'000;  // an adapter brings nothing that is so much older than what it brought last

}  // namespace

BridgeArm::BridgeArm(const Arm& arm, const std::string& port, LinkStats& stats)
    : BridgeArm(arm, open_bridge(port), stats) {}

BridgeArm::BridgeArm(const Arm& arm, BridgePort port, LinkStats& stats)
    : arm_(arm), stats_(stats), table_(bridge_table(arm)), config_(arm_config(&table_)), line_(std::move(port)) {
    stats.controller.store(0, std::memory_order_relaxed);
    line_.discard_input();
    greet();
    noise_ = line_.corrupt();  // half a frame, where the line was opened
    measure();
}

BridgeArm::~BridgeArm() {
    if (engaged_) {
        line_.send_stop(monotonic_ns() + kStopTimeout);  // silence would stop it as well, and look like an accident
    }
}

CycleCost BridgeArm::cost(const Arm& arm) {
    const std::uint16_t tick_us = arm.spec().bridge_tick_us;
    return {tick_us * std::int64_t{1'000},
            "the microcontroller takes a command a tick of " + std::to_string(tick_us) +
                " us, and stops 15 ms after the last one",
            std::max(kLongestCycleNs, tick_us * std::int64_t{1'000})};
}

// A reset ends every session: a step back within one is a state that came again. Without one only its size tells.
bool BridgeArm::repeated(const bridge_state& state) const noexcept {
    const auto step_us = static_cast<std::int32_t>(state.time_us - state_.time_us);
    const bool reset = state.session == 0 && step_us < -kResetUs;
    return known_ && state.session == state_.session && step_us <= 0 && !reset;
}

bool BridgeArm::take(const bridge_message& message) noexcept {
    if (message.kind == BRIDGE_HELLO_REPLY) {
        reply_ = message.as.hello;
        replied_ = true;
        return false;
    }
    const bridge_state& state = message.as.state;
    if (message.kind != BRIDGE_STATE || state.joints != kJoints || repeated(state)) {
        stats_.stray.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    state_ = state;
    known_ = true;
    stats_.replies.fetch_add(1, std::memory_order_relaxed);
    note_positions();
    publish(false);
    return true;
}

void BridgeArm::note_positions() noexcept {
    const std::int64_t now = monotonic_ns();
    const bool believed = !engaged_ || armed();
    for (std::size_t i = 0; i < kJoints; ++i) {
        const bool stale = (state_.stale >> i & 1) != 0;
        missed_[i] = stale ? static_cast<std::uint8_t>(std::min(missed_[i] + 1, 255)) : std::uint8_t{0};
        stats_.errors[i].store(missed_[i] < kMissed ? std::uint8_t{0} : kNotMeasured, std::memory_order_relaxed);
        if (believed && !stale) {
            newest_[i] = safety_position_to(state_.positions[i]);
            fresh_[i] = true;
            stats_.seen_ns[i].store(now, std::memory_order_relaxed);
        }
    }
}

void BridgeArm::publish(bool silent) noexcept {
    const BridgeReport report{state_.arm, session_ != 0 && !ours(), silent, state_.faults};
    stats_.controller.store(report.pack(), std::memory_order_relaxed);
    stats_.corrupt.store(line_.corrupt() - noise_, std::memory_order_relaxed);
}

Io BridgeArm::listen(std::int64_t deadline_ns, bool& newer) noexcept {
    bridge_message message;
    newer = false;
    for (int messages = 0; messages < kMostMessages; ++messages) {
        const Io result = line_.receive(message, newer ? link::kNoWait : deadline_ns);
        if (result != Io::ok) {
            return result == Io::gone ? Io::gone : Io::ok;
        }
        newer = take(message) || newer;
    }
    return Io::ok;
}

bridge_order BridgeArm::next_order() noexcept {
    sequence_ += 1;
    return {kExpiryMs, session_, sequence_, state_.time_us};
}

bool BridgeArm::aim(const Goals& goals) noexcept {
    Targets targets{};
    const double tick_s = table_.tick_us * 1e-6;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const double moved = goals.velocity[i] * tick_s * kUnit;  // a tick
        if (!safety_position_from(goals.position[i], &targets[i].position) || !std::isfinite(moved)) {
            return false;
        }
        const double fastest = kFastest;
        targets[i].velocity = static_cast<std::int32_t>(std::lround(std::clamp(moved, -fastest, fastest)));
    }
    targets_ = targets;
    return true;
}

void BridgeArm::aim_at_pose() noexcept {
    for (std::size_t i = 0; i < kJoints; ++i) {
        targets_[i] = {state_.positions[i], 0};
    }
}

Io BridgeArm::send_command(std::int64_t deadline_ns) noexcept {
    if (sequence_ == UINT32_MAX) {
        return Io::ok;  // no number is above it: the arm stops, and the next session begins anew
    }
    bridge_message message{};
    message.kind = BRIDGE_COMMAND;
    message.as.command.order = next_order();
    message.as.command.joints = kJoints;
    std::copy(targets_.begin(), targets_.end(), message.as.command.targets);
    return line_.send(message, deadline_ns);
}

Io BridgeArm::cycle(const Goals* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept {
    measured.reset();
    bool newer = false;
    Io result = listen(link::kNoWait, newer);
    if (goals != nullptr) {
        hold_until_ns_ = 0;
    }
    const bool aimed = goals != nullptr ? aim(*goals) : monotonic_ns() < hold_until_ns_;
    if (result != Io::gone && engaged_ && aimed && armed() && (newer || heard_)) {
        result = send_command(deadline_ns);
    }
    if (result != Io::gone && !newer) {
        result = listen(deadline_ns, newer);
    }
    if (result == Io::gone) {
        return Io::gone;
    }
    heard_ = newer;
    if (!newer) {
        stats_.timeouts.fetch_add(1, std::memory_order_relaxed);
        publish(true);
    }
    if (std::all_of(fresh_.begin(), fresh_.end(), [](bool fresh) { return fresh; })) {
        measured = newest_;
        fresh_.fill(false);
        stats_.exchanges.fetch_add(1, std::memory_order_relaxed);
    }
    return Io::ok;
}

std::string describe_joint_error(std::uint8_t error) {
    return error == kNotMeasured ? "does not give its position to the microcontroller" : "";
}

}  // namespace edgearm
