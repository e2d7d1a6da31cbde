// The last seconds of the loop before a fault, as its own steps saw them: allocated once, written by every step, frozen
// when the arm has come to rest after a fault, and kept until the arm is started again.
//
//   recording ──freeze()──► frozen ◄──► being read
//       ▲                      │
//       └──────resume()────────┘           neither side waits for the other
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arm.hpp"

namespace edgearm {

// One step: what the loop knew and what it commanded.
struct FaultSample {
    std::int64_t time_ns = 0;
    std::int64_t feedback_age_ns = -1;  // -1: none yet
    std::uint64_t chunk_id = 0;         // 0: none
    Joints measured{};
    Joints commanded{};
    Joints velocity{};
    std::uint32_t flags = 0;
    std::uint8_t state = 0;
    std::uint8_t hold_cause = 0;
    std::uint8_t fault_cause = 0;
    std::uint8_t padding = 0;
};

class FaultLog {
public:
    static constexpr std::size_t kSteps = 2048;             // two seconds at 1 kHz
    static constexpr std::size_t kAfterwards = kSteps / 4;  // of these at most so many after the fault

    // The stepping side. Nothing is taken while the log is frozen.
    void record(const FaultSample& sample) noexcept;
    void freeze() noexcept;
    // Starts again from nothing; what is being read meanwhile stays whole, and recording begins after that.
    void resume() noexcept { resuming_ = true; }

    // The other side, one thread at a time: oldest first, empty unless frozen.
    std::vector<FaultSample> read();

private:
    enum class Owner : std::uint8_t { stepping, nobody, reader };

    std::array<FaultSample, kSteps> samples_{};
    std::size_t count_ = 0;  // steps recorded since resume(); the newest is at (count_ - 1) % kSteps
    bool resuming_ = false;
    std::atomic<Owner> owner_{Owner::stepping};
};

}  // namespace edgearm
