#include "bridge_words.hpp"

#include <array>
#include <cstdio>
#include <utility>

namespace edgearm {

const char* bridge_arm_name(std::uint8_t arm) {
    switch (arm) {
        case BRIDGE_IDLE:
            return "idle";
        case BRIDGE_READY:
            return "ready";
        case BRIDGE_RUNNING:
            return "running";
        case BRIDGE_BRAKING:
            return "braking";
        case BRIDGE_STOPPED:
            return "stopped";
        default:
            return "unknown";
    }
}

const char* bridge_refusal_name(std::uint8_t refusal) {
    switch (refusal) {
        case BRIDGE_ACCEPTED:
            return "accepted";
        case BRIDGE_WRONG_PROTOCOL:
            return "another protocol";
        case BRIDGE_WRONG_JOINTS:
            return "another number of joints";
        case BRIDGE_WRONG_TICK:
            return "another tick";
        case BRIDGE_WRONG_CONFIG:
            return "another configuration";
        case BRIDGE_NO_SESSION:
            return "not of the open session";
        case BRIDGE_OLD_SEQUENCE:
            return "an old sequence number";
        case BRIDGE_STALE:
            return "too late";
        case BRIDGE_NOT_ARMED:
            return "the arm is not armed";
        case BRIDGE_NOT_AT_REST:
            return "the arm is not at rest";
        case BRIDGE_WRONG_LATCH:
            return "it has been stopped again meanwhile";
        case BRIDGE_FAULT_PRESENT:
            return "the cause is still there";
        default:
            return "unknown";
    }
}

std::string bridge_fault_names(std::uint16_t faults) {
    constexpr std::array<std::pair<std::uint16_t, const char*>, 9> kNames{
        {{BRIDGE_FAULT_STOP, "emergency stop or a stop message"},
         {BRIDGE_FAULT_EXPIRED, "no command in time"},
         {BRIDGE_FAULT_SESSION, "another session began"},
         {BRIDGE_FAULT_FEEDBACK, "a joint is not measured"},
         {BRIDGE_FAULT_DRIVE, "a servo reports an error, or does not do as told"},
         {BRIDGE_FAULT_LIMITER, "a target that no limiter takes"},
         {BRIDGE_FAULT_TRACKING, "a joint is far from its goal"},
         {BRIDGE_FAULT_POWER, "supply voltage"},
         {BRIDGE_FAULT_RESET, "restarted by its own watchdog"}}};
    std::string text;
    for (const auto& [bit, name] : kNames) {
        if ((faults & bit) != 0) {
            text += (text.empty() ? "" : ", ") + std::string(name);
        }
    }
    return text;
}

std::string bridge_hash(std::uint32_t value) {
    std::array<char, 9> digits{};
    std::snprintf(digits.data(), digits.size(), "%08x", static_cast<unsigned>(value));
    return digits.data();
}

std::uint32_t BridgeReport::pack() const noexcept {
    return static_cast<std::uint32_t>(arm) | (forgotten ? 0x100u : 0u) | (silent ? 0x200u : 0u) |
           static_cast<std::uint32_t>(faults) << 16;
}

BridgeReport BridgeReport::unpack(std::uint32_t word) noexcept {
    return {static_cast<std::uint8_t>(word & 0xFF), (word & 0x100u) != 0, (word & 0x200u) != 0,
            static_cast<std::uint16_t>(word >> 16)};
}

std::string describe_controller(std::uint32_t word) {
    const BridgeReport report = BridgeReport::unpack(word);
    const std::string faults = bridge_fault_names(report.faults);
    std::string text;
    if (report.silent) {
        text = "the microcontroller is silent";
    } else if (report.forgotten) {
        text = "the microcontroller was reset: the session is gone";
    } else if (!faults.empty()) {
        text = std::string("the microcontroller has the arm ") + bridge_arm_name(report.arm);
    }
    return text.empty() || faults.empty() ? text : text + ": " + faults;
}

}  // namespace edgearm
