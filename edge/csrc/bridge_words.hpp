// What a microcontroller says in numbers (bridge_wire.h), for a person.
#pragma once

#include <cstdint>
#include <string>

extern "C" {
#include "bridge.h"
}

namespace edgearm {

const char* bridge_arm_name(std::uint8_t arm);
const char* bridge_refusal_name(std::uint8_t refusal);
// Bits of bridge_fault, in words; empty for none.
std::string bridge_fault_names(std::uint16_t faults);
// Eight hexadecimal digits, as a protocol or a configuration is written.
std::string bridge_hash(std::uint32_t value);

// What LinkStats::controller holds: a state in one word, and what the computer knows besides.
struct BridgeReport {
    std::uint8_t arm = 0;    // 0: no state came yet
    bool forgotten = false;  // the session is not the one that this link opened
    bool silent = false;     // no state in the last bus cycle
    std::uint16_t faults = 0;

    std::uint32_t pack() const noexcept;
    static BridgeReport unpack(std::uint32_t word) noexcept;
};
// Empty while there is nothing to tell.
std::string describe_controller(std::uint32_t word);

}  // namespace edgearm
