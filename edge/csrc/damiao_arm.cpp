#include "damiao_arm.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kReplyTimeout = 50'000'000;  // for set-up transactions, which nobody waits for in real time
constexpr int kTries = 3;
constexpr double kTimeoutUnit = 50e-6;
// Beside a motor's own status, which has four bits.
constexpr std::uint8_t kWentOff = 0x10;

struct LimitRegister {
    damiao_register address;
    const char* name;
    const char* unit;
    float damiao_limits::* field;
};
constexpr std::array<LimitRegister, 3> kLimitRegisters{
    {{DAMIAO_MAX_POSITION, "PMAX", "rad", &damiao_limits::position},
     {DAMIAO_MAX_VELOCITY, "VMAX", "rad/s", &damiao_limits::velocity},
     {DAMIAO_MAX_TORQUE, "TMAX", "N m", &damiao_limits::torque}}};

std::string text(double value) {
    std::ostringstream out;
    out << value;
    return out.str();
}

bool agree(float ours, float motors) {
    const damiao_limits a{ours, 1, 1};
    const damiao_limits b{motors, 1, 1};
    return damiao_limits_agree(&a, &b);
}

void append(std::string& list, const std::string& entry, const char* separator = ", ") {
    list += (list.empty() ? "" : separator) + entry;
}

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

std::string DamiaoArm::who(std::size_t joint) const {
    return std::to_string(ids_[joint].id) + " (" + arm_.spec().joints[joint].name + ")";
}

void DamiaoArm::line_gone() const {
    throw Error(Error::Kind::link, "port " + path() + " is gone", "an adapter that stays connected", "no such device",
                "check the cable and the adapter's power");
}

void DamiaoArm::silent(std::size_t joint, const char* what) const {
    throw Error(Error::Kind::arm, "motor " + who(joint) + " stopped answering on " + path(), what, "silence",
                "check its cable and power");
}

void DamiaoArm::identify() {
    std::string missing;
    std::string mode;
    std::string wanted;
    std::string other;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const MotorSpec& motor = arm_.spec().motors[i];
        const damiao_limits described{static_cast<float>(motor.max_position), static_cast<float>(motor.max_velocity),
                                      static_cast<float>(motor.max_torque)};
        std::uint32_t bits = 0;
        Io result = bus_.read(ids_[i], DAMIAO_CONTROL_MODE, bits, kReplyTimeout, kTries);
        if (result == Io::ok && bits != DAMIAO_MODE_MIT) {
            append(mode, who(i) + " is in mode " + std::to_string(bits));
        }
        for (const LimitRegister& limit : kLimitRegisters) {
            if (result != Io::ok) {
                break;
            }
            result = bus_.read(ids_[i], limit.address, bits, kReplyTimeout, kTries);
            const float held = damiao_float_of(bits);
            if (result == Io::ok && !agree(described.*limit.field, held)) {
                const std::string where = "motor " + who(i) + ", " + motor.model + ", register " +
                                          std::to_string(limit.address) + " " + limit.name + " ";
                append(wanted, where + text(described.*limit.field) + " " + limit.unit, "; ");
                append(other, where + text(held) + " " + limit.unit, "; ");
            }
            limits_[i].*limit.field = held;
        }
        if (result == Io::gone) {
            line_gone();
        }
        if (result != Io::ok) {
            append(missing, who(i));
        }
    }
    if (!missing.empty()) {
        throw Error(Error::Kind::arm, "motors do not answer on " + path(),
                    std::to_string(kJoints) + " Damiao motors at 1 Mbps", "silence from " + missing,
                    "check power, the CAN cable and its two terminators, and the motors' ids and master ids");
    }
    if (!mode.empty()) {
        throw Error(Error::Kind::arm, "the motors on " + path() + " do not take MIT commands",
                    "register 10 (CTRL_MODE) 1 in every motor", mode, "set it with the maker's tool");
    }
    if (!other.empty()) {
        throw Error(Error::Kind::arm, "the motors on " + path() + " are not those of a " + arm_.spec().name, wanted,
                    other,
                    "a wrong limit scales every command: correct the arm description if the motor is the right one, "
                    "else set the register with the maker's tool");
    }
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

Joints DamiaoArm::measure() {
    Joints before{};
    bool agreed = false;
    for (int attempt = 0; attempt <= kTries && !agreed; ++attempt) {
        Joints now{};
        for (std::size_t i = 0; i < kJoints; ++i) {
            damiao_feedback feedback{};
            const Io result = bus_.refresh(ids_[i], limits_[i], feedback, kReplyTimeout, kTries);
            if (result == Io::gone) {
                line_gone();
            }
            if (result != Io::ok) {
                silent(i, "its position");
            }
            note_status(i, feedback.status);
            now[i] = position(i, feedback);
        }
        agreed = attempt > 0;
        for (std::size_t i = 0; i < kJoints; ++i) {
            agreed = agreed && std::abs(now[i] - before[i]) <= PlausibilityGate::kMargin;
        }
        before = now;
    }
    std::string faults;
    for (std::size_t i = 0; i < kJoints; ++i) {
        if (damiao_status_is_fault(status_[i]) && status_[i] != DAMIAO_LOST_COMMANDS) {
            append(faults, "motor " + who(i) + " reports " + describe_motor_status(status_[i]));
        }
    }
    if (!faults.empty()) {
        throw Error(Error::Kind::arm, "the arm on " + path() + " has a fault", "motors without a fault", faults,
                    "remove the cause (supply, load, heat), then switch the motors' power off and on");
    }
    if (!agreed) {
        throw Error(Error::Kind::arm, "the arm on " + path() + " does not stand still", "two readings that agree",
                    "joints that move by more than 0.05 rad between readings", "hold the arm still and start again");
    }
    gate_.reset(before, monotonic_ns());
    newest_ = before;
    fresh_.fill(false);
    return before;
}

// A motor may go on, when it is enabled, with the command that it had before it was disabled: it is given one that is
// true now before and after.
void DamiaoArm::enable(std::size_t joint, const Joints& pose) {
    const damiao_command here = command(joint, pose[joint]);
    for (int attempt = 0; attempt < kTries; ++attempt) {
        for (std::size_t i = 0; i <= joint; ++i) {  // those before it wait, and must not wait too long
            bus_.send_command(ids_[i], limits_[i], command(i, pose[i]), monotonic_ns() + kReplyTimeout);
        }
        damiao_feedback feedback{};
        Io result = bus_.order(ids_[joint], DAMIAO_ENABLE, limits_[joint], feedback, kReplyTimeout, 1);
        if (result == Io::ok) {
            bus_.send_command(ids_[joint], limits_[joint], here, monotonic_ns() + kReplyTimeout);
            result = bus_.refresh(ids_[joint], limits_[joint], feedback, kReplyTimeout, 1);
        }
        if (result == Io::gone) {
            line_gone();
        }
        if (result != Io::ok) {
            continue;
        }
        note_status(joint, feedback.status);
        if (status_[joint] == DAMIAO_ON) {
            if (std::abs(position(joint, feedback) - pose[joint]) > PlausibilityGate::kMargin) {
                throw Error(Error::Kind::arm, "motor " + who(joint) + " is somewhere else once it is on",
                            text(pose[joint]) + ", where it said it was while off", text(position(joint, feedback)),
                            "hold the arm still and start again");
            }
            return;
        }
    }
    throw Error(Error::Kind::arm, "motor " + who(joint) + " on " + path() + " did not switch torque on", "status on",
                damiao_status_is_fault(status_[joint]) ? describe_motor_status(status_[joint]) : "off, or silence",
                "check its cable and power");
}

Joints DamiaoArm::engage() {
    engaged_ = false;
    const Joints pose = measure();
    std::array<bool, kJoints> was_on{};
    const auto silence = static_cast<std::uint32_t>(std::lround(arm_.spec().motor_timeout_s / kTimeoutUnit));
    for (std::size_t i = 0; i < kJoints; ++i) {
        was_on[i] = status_[i] == DAMIAO_ON;
        if (status_[i] == DAMIAO_LOST_COMMANDS) {
            damiao_feedback feedback{};
            bus_.order(ids_[i], DAMIAO_CLEAR, limits_[i], feedback, kReplyTimeout, kTries);
        }
        const Io result = bus_.write(ids_[i], DAMIAO_TIMEOUT, silence, kReplyTimeout, kTries);
        if (result == Io::gone) {
            line_gone();
        }
        if (result != Io::ok) {
            throw Error(Error::Kind::arm, "motor " + who(i) + " on " + path() + " did not take its timeout",
                        "register 9 (TIMEOUT) " + std::to_string(silence), "another value, or silence",
                        "check its cable and power");
        }
    }
    try {
        for (std::size_t i = 0; i < kJoints; ++i) {
            enable(i, pose);
        }
    } catch (const Error&) {
        for (std::size_t i = 0; i < kJoints; ++i) {
            if (!was_on[i]) {
                switch_off(i);
            }
        }
        throw;
    }
    bus_.drain();
    gate_.reset(pose, monotonic_ns());
    fresh_.fill(false);
    engaged_ = heard_ = true;
    return pose;
}

// A motor with a fault has no torque either.
bool DamiaoArm::switch_off(std::size_t joint) {
    for (int attempt = 0; attempt < kTries; ++attempt) {
        damiao_feedback feedback{};
        const Io result = bus_.order(ids_[joint], DAMIAO_DISABLE, limits_[joint], feedback, kReplyTimeout, 1);
        if (result == Io::gone) {
            return false;
        }
        if (result == Io::ok) {
            note_status(joint, feedback.status);
            if (feedback.status != DAMIAO_ON) {
                return true;
            }
        }
    }
    return false;
}

bool DamiaoArm::release() {
    engaged_ = false;
    bool all = true;
    for (std::size_t i = 0; i < kJoints; ++i) {
        all = switch_off(i) && all;
    }
    return all;
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
