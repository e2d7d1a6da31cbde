#include "damiao_arm.hpp"

#include <algorithm>
#include <utility>

namespace edgearm {

namespace {

// Beside a motor's own status, which has four bits.
constexpr std::uint8_t kWentOff = 0x10;

}  // namespace

DamiaoArm::DamiaoArm(const Arm& arm, const std::string& port, LinkStats& stats)
    : DamiaoArm(arm, open_can(port), stats) {}

DamiaoArm::DamiaoArm(const Arm& arm, CanPort port, LinkStats& stats)
    : arm_(arm), stats_(stats), bus_(std::move(port)), gate_(arm) {
    for (std::size_t i = 0; i < kJoints; ++i) {
        ids_[i] = {arm.spec().joints[i].servo_id, arm.spec().motors[i].master_id};
    }
    identify();
    measure();
}

damiao_command DamiaoArm::command(std::size_t joint, double goal) const noexcept {
    const MotorSpec& motor = arm_.spec().motors[joint];
    const auto position = static_cast<float>(arm_.to_motor(joint, goal));
    return {std::clamp(position, -limits_[joint].position, limits_[joint].position), 0, static_cast<float>(motor.kp),
            static_cast<float>(motor.kd), 0};
}

double DamiaoArm::position(std::size_t joint, const damiao_feedback& feedback) const noexcept {
    return arm_.from_motor(joint, static_cast<double>(feedback.position));
}

void DamiaoArm::note_status(std::size_t joint, std::uint8_t status) noexcept {
    status_[joint] = status;
    const bool fell = engaged_ && status == DAMIAO_OFF;
    const std::uint8_t error = fell ? kWentOff : damiao_status_is_fault(status) ? status : std::uint8_t{0};
    stats_.errors[joint].store(error, std::memory_order_relaxed);
}

void DamiaoArm::take(const link::CanFrame& frame, std::array<bool, kJoints>& awaited, std::size_t& missing) noexcept {
    std::size_t joint = 0;
    while (joint < kJoints && !(awaited[joint] && is_feedback_of(frame, ids_[joint]))) {
        ++joint;
    }
    damiao_feedback feedback{};
    if (joint == kJoints || !damiao_feedback_unpack(&limits_[joint], frame.data.data(), frame.length, &feedback)) {
        stats_.stray.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    awaited[joint] = false;
    missing -= 1;
    heard_ = true;
    stats_.replies.fetch_add(1, std::memory_order_relaxed);
    note_status(joint, feedback.status);
    const bool believed = engaged_
                              ? feedback.status == DAMIAO_ON
                              : !damiao_status_is_fault(feedback.status) || feedback.status == DAMIAO_LOST_COMMANDS;
    if (!believed) {
        return;
    }
    const std::int64_t now = monotonic_ns();
    const double value = position(joint, feedback);
    if (!gate_.admit(joint, value, now)) {
        stats_.implausible.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    newest_[joint] = value;
    fresh_[joint] = true;
    stats_.seen_ns[joint].store(now, std::memory_order_relaxed);
}

Io DamiaoArm::cycle(const Goals* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept {
    measured.reset();
    // An answer that is late is that of an earlier cycle: to take it for this one's would hide its age.
    stats_.stray.fetch_add(bus_.drain(), std::memory_order_relaxed);
    const bool commanding = goals != nullptr && heard_;
    heard_ = false;
    std::array<bool, kJoints> awaited{};
    std::size_t missing = kJoints;
    Io result = Io::ok;
    for (std::size_t i = 0; i < kJoints && result != Io::gone && result != Io::timeout; ++i) {
        awaited[i] = true;
        result = commanding ? bus_.send_command(ids_[i], limits_[i], command(i, goals->position[i]), deadline_ns)
                            : bus_.send_refresh(ids_[i], deadline_ns);
    }
    link::CanFrame frame;
    while (missing > 0 && result != Io::gone) {
        result = bus_.link().receive(frame, deadline_ns);
        if (result == Io::ok) {
            take(frame, awaited, missing);
        } else if (result == Io::corrupt) {
            stats_.corrupt.fetch_add(1, std::memory_order_relaxed);
        } else if (result == Io::timeout) {
            break;
        }
    }
    if (result == Io::gone) {
        return Io::gone;
    }
    stats_.timeouts.fetch_add(missing, std::memory_order_relaxed);
    if (std::all_of(fresh_.begin(), fresh_.end(), [](bool fresh) { return fresh; })) {
        measured = newest_;
        fresh_.fill(false);
        stats_.exchanges.fetch_add(1, std::memory_order_relaxed);
    }
    return Io::ok;
}

std::string describe_motor_error(std::uint8_t error) {
    return error == kWentOff ? "switched off by itself" : describe_motor_status(error);
}

}  // namespace edgearm
