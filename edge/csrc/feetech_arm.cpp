#include "feetech_arm.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "open_link.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kReplyTimeout = 50'000'000;  // for set-up transactions, which nobody waits for in real time
constexpr int kTries = 3;

std::uint16_t word(std::span<const std::uint8_t> bytes) {
    return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
}

double position(const Arm& arm, std::size_t joint, std::uint16_t value) {
    return arm.from_ticks(joint, feetech_from_sign_magnitude(value, FEETECH_SIGN_POSITION));
}

std::uint16_t goal_word(const Arm& arm, std::size_t joint, double value) {
    return feetech_to_sign_magnitude(arm.to_ticks(joint, value), FEETECH_SIGN_POSITION);
}

}  // namespace

FeetechArm::FeetechArm(const Arm& arm, const std::string& port, LinkStats& stats)
    : arm_(arm), stats_(stats), port_(open_link<link::SerialPort>(port)), bus_(port_), gate_(arm) {
    for (std::size_t i = 0; i < kJoints; ++i) {
        ids_[i] = arm.spec().joints[i].servo_id;
    }
    identify();
    compare_calibration();
    for (std::size_t i = 0; i < kJoints; ++i) {
        const std::uint8_t none = 0;
        write(i, FEETECH_RETURN_DELAY, {&none, 1}, "take a return delay");
    }
    measure();
}

void FeetechArm::line_gone() const {
    throw Error(Error::Kind::link, "port " + path() + " is gone", "an adapter that stays connected", "no such device",
                "check the cable and the adapter's power");
}

void FeetechArm::identify() {
    std::string silent;
    std::string other;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const JointSpec& joint = arm_.spec().joints[i];
        const std::string who = std::to_string(joint.servo_id) + " (" + joint.name + ")";
        const Reply model = bus_.ping(joint.servo_id, kReplyTimeout, kTries).io == Io::ok
                                ? bus_.read(joint.servo_id, FEETECH_MODEL_NUMBER, 2, kReplyTimeout, kTries)
                                : Reply{};
        if (model.io == Io::gone) {
            line_gone();
        }
        if (model.io != Io::ok) {
            silent += (silent.empty() ? "" : ", ") + who;
            continue;
        }
        stats_.errors[i].store(model.error, std::memory_order_relaxed);
        if (word(model.params) != arm_.spec().model_number) {
            other += (other.empty() ? "" : ", ") + who + " is model " + std::to_string(word(model.params));
        }
    }
    publish_counters();
    if (!silent.empty()) {
        throw Error(Error::Kind::arm, "servos do not answer on " + path(),
                    std::to_string(kJoints) + " servos at 1 Mbps", "silence from " + silent,
                    "check power, the daisy chain and the servo ids");
    }
    if (!other.empty()) {
        throw Error(Error::Kind::arm, "the arm on " + path() + " is not a " + arm_.spec().name,
                    "servos of model " + std::to_string(arm_.spec().model_number), other,
                    "name the port of the described arm, or another arm description");
    }
}

// One register of a servo that is known to be there.
std::uint16_t FeetechArm::ask(std::size_t joint, std::uint8_t address, std::uint8_t length, const char* what) {
    const Reply reply = bus_.read(ids_[joint], address, length, kReplyTimeout, kTries);
    if (reply.io == Io::gone) {
        line_gone();
    }
    if (reply.io != Io::ok) {
        throw Error(Error::Kind::arm, "servo " + std::to_string(ids_[joint]) + " stopped answering on " + path(), what,
                    "silence", "check its cable and power");
    }
    stats_.errors[joint].store(reply.error, std::memory_order_relaxed);
    return length == 1 ? reply.params[0] : word(reply.params);
}

void FeetechArm::compare_calibration() {
    std::string wanted;
    std::string other;
    for (std::size_t i = 0; i < arm_.spec().calibration.size(); ++i) {
        const auto stored = [&](std::uint8_t address, unsigned sign_bit) {
            return feetech_from_sign_magnitude(ask(i, address, 2, "its calibration"), sign_bit);
        };
        const auto text = [&](std::int32_t offset, std::int32_t least, std::int32_t most) {
            return arm_.spec().joints[i].name + " offset " + std::to_string(offset) + ", " + std::to_string(least) +
                   " to " + std::to_string(most);
        };
        const ServoCalibration& servo = arm_.spec().calibration[i];
        const std::string in_file = text(servo.homing_offset, servo.range_min, servo.range_max);
        const std::string in_servo = text(stored(FEETECH_HOMING_OFFSET, FEETECH_SIGN_HOMING_OFFSET),
                                          stored(FEETECH_MIN_POSITION_LIMIT, FEETECH_SIGN_POSITION),
                                          stored(FEETECH_MAX_POSITION_LIMIT, FEETECH_SIGN_POSITION));
        if (in_file != in_servo) {
            wanted += (wanted.empty() ? "" : "; ") + in_file;
            other += (other.empty() ? "" : "; ") + in_servo;
        }
    }
    if (!other.empty()) {
        throw Error(Error::Kind::arm, "the arm on " + path() + " does not hold the calibration in the file", wanted,
                    other, "name this arm's calibration file, or store it in the servos with LeRobot");
    }
}

Joints FeetechArm::measure() {
    const std::optional<Joints> pose = read_twice_alike([this] {
        Joints now{};
        for (std::size_t i = 0; i < kJoints; ++i) {
            now[i] = position(arm_, i, ask(i, FEETECH_PRESENT_POSITION, 2, "its position"));
        }
        return now;
    });
    publish_counters();
    if (!pose) {
        not_still(path());
    }
    gate_.reset(*pose, monotonic_ns());
    newest_ = *pose;
    fresh_.fill(false);
    return *pose;
}

void FeetechArm::write(std::size_t joint, std::uint8_t address, std::span<const std::uint8_t> data, const char* doing) {
    const Reply reply = bus_.write(ids_[joint], address, data, kReplyTimeout, kTries);
    if (reply.io == Io::gone) {
        line_gone();
    }
    if (reply.io != Io::ok) {
        throw Error(Error::Kind::arm, "servo " + std::to_string(ids_[joint]) + " on " + path() + " did not " + doing,
                    "an acknowledged write", "silence", "check its cable and power");
    }
    stats_.errors[joint].store(reply.error, std::memory_order_relaxed);
}

void FeetechArm::require_inside(const Joints& pose) const {
    std::string ranges;
    std::string outside;
    for (std::size_t i = 0; i < kJoints; ++i) {
        if (std::abs(arm_.from_ticks(i, arm_.to_ticks(i, pose[i])) - pose[i]) <= PlausibilityGate::kMargin) {
            continue;
        }
        const std::string& joint = arm_.spec().joints[i].name;
        const TickRange range = arm_.tick_range(i);
        ranges += (ranges.empty() ? "" : ", ") + joint + " at " + std::to_string(range.least) + " to " +
                  std::to_string(range.most) + " ticks";
        outside += (outside.empty() ? "" : ", ") + joint + " at " + std::to_string(arm_.ticks_at(i, pose[i]));
    }
    if (!outside.empty()) {
        throw Error(Error::Kind::arm, "the arm on " + path() + " stands outside its range", ranges, outside,
                    "move it inside by hand, then start again");
    }
}

Joints FeetechArm::engage() {
    const Joints pose = measure();
    require_inside(pose);
    std::array<bool, kJoints> was_on{};
    for (std::size_t i = 0; i < kJoints; ++i) {
        was_on[i] = ask(i, FEETECH_TORQUE_ENABLE, 1, "whether its torque is on") != 0;
    }
    held_before_ = std::any_of(was_on.begin(), was_on.end(), [](bool on) { return on; });
    try {
        for (std::size_t i = 0; i < kJoints; ++i) {
            const std::uint16_t goal = goal_word(arm_, i, pose[i]);
            // Acceleration, Goal_Position, Goal_Time and Goal_Velocity lie side by side.
            const std::array<std::uint8_t, 7> registers{
                0, static_cast<std::uint8_t>(goal & 0xFF), static_cast<std::uint8_t>(goal >> 8), 0, 0, 0, 0};
            write(i, FEETECH_ACCELERATION, registers, "take a goal");
        }
        for (std::size_t i = 0; i < kJoints; ++i) {
            const std::uint8_t on = 1;
            write(i, FEETECH_TORQUE_ENABLE, {&on, 1}, "switch torque on");
        }
    } catch (const Error&) {
        for (std::size_t i = 0; i < kJoints; ++i) {
            if (!was_on[i]) {
                switch_off(i);
            }
        }
        publish_counters();
        throw;
    }
    gate_.reset(pose, monotonic_ns());
    publish_counters();
    return pose;
}

bool FeetechArm::switch_off(std::size_t joint) {
    const std::uint8_t off = 0;
    return bus_.write(ids_[joint], FEETECH_TORQUE_ENABLE, {&off, 1}, kReplyTimeout, kTries).io == Io::ok;
}

bool FeetechArm::release() {
    bool all = true;
    for (std::size_t i = 0; i < kJoints; ++i) {
        all = switch_off(i) && all;
    }
    publish_counters();
    return all;
}

Io FeetechArm::send_goals(const Joints& goals, std::int64_t deadline_ns) noexcept {
    std::array<std::uint16_t, kJoints> words{};
    for (std::size_t i = 0; i < kJoints; ++i) {
        words[i] = goal_word(arm_, i, goals[i]);
    }
    return bus_.sync_write(FEETECH_GOAL_POSITION, ids_, words, deadline_ns);
}

Io FeetechArm::cycle(const Goals* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept {
    measured.reset();
    if (goals != nullptr && send_goals(goals->position, deadline_ns) == Io::gone) {
        return Io::gone;
    }
    std::array<WordReply, kJoints> replies{};
    const Io result = bus_.sync_read(FEETECH_PRESENT_POSITION, ids_, replies, deadline_ns);
    const std::int64_t now = monotonic_ns();
    for (std::size_t i = 0; i < kJoints; ++i) {
        if (!replies[i].came) {
            continue;
        }
        stats_.errors[i].store(replies[i].error, std::memory_order_relaxed);
        const double value = position(arm_, i, replies[i].word);
        if (gate_.admit(i, value, now)) {
            newest_[i] = value;
            fresh_[i] = true;
            stats_.seen_ns[i].store(now, std::memory_order_relaxed);
        } else {
            stats_.implausible.fetch_add(1, std::memory_order_relaxed);
        }
    }
    if (std::all_of(fresh_.begin(), fresh_.end(), [](bool fresh) { return fresh; })) {
        measured = newest_;
        fresh_.fill(false);
        stats_.exchanges.fetch_add(1, std::memory_order_relaxed);
    }
    publish_counters();
    return result;
}

void FeetechArm::publish_counters() noexcept {
    stats_.replies.store(bus_.counters().replies, std::memory_order_relaxed);
    stats_.corrupt.store(bus_.counters().corrupt, std::memory_order_relaxed);
    stats_.stray.store(bus_.counters().stray, std::memory_order_relaxed);
    stats_.timeouts.store(bus_.counters().timeouts, std::memory_order_relaxed);
}

std::string describe_servo_error(std::uint8_t bits) {
    constexpr std::array<std::pair<std::uint8_t, const char*>, 5> kNames{{{FEETECH_ERROR_VOLTAGE, "voltage"},
                                                                          {FEETECH_ERROR_ANGLE, "angle"},
                                                                          {FEETECH_ERROR_OVERHEAT, "overheat"},
                                                                          {FEETECH_ERROR_OVERCURRENT, "overcurrent"},
                                                                          {FEETECH_ERROR_OVERLOAD, "overload"}}};
    std::string text;
    for (const auto& [bit, label] : kNames) {
        if ((bits & bit) != 0) {
            text += (text.empty() ? "" : ", ") + std::string(label);
            bits = static_cast<std::uint8_t>(bits & ~bit);
        }
    }
    if (bits != 0) {
        text += (text.empty() ? "bits " : ", bits ") + std::to_string(bits);
    }
    return text;
}

}  // namespace edgearm
