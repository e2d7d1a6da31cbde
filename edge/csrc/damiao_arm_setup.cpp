// Set-up: everything that waits and may throw. What runs in a cycle is in damiao_arm.cpp.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "damiao_arm.hpp"
#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kReplyTimeout = 50'000'000;  // nobody waits for set-up in real time
constexpr int kTries = 3;
constexpr double kTimeoutUnit = 50e-6;

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

Joints DamiaoArm::measure() {
    const std::optional<Joints> pose = read_twice_alike([this] {
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
        return now;
    });
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
    if (!pose) {
        not_still(path());
    }
    gate_.reset(*pose, monotonic_ns());
    newest_ = *pose;
    fresh_.fill(false);
    return *pose;
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
    held_before_ = std::any_of(was_on.begin(), was_on.end(), [](bool on) { return on; });
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

}  // namespace edgearm
