// Which chunks the loop takes: every refusal has a code for the loop and a sentence for the person.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "arm.hpp"
#include "trajectory.hpp"

namespace edgearm {

enum class Refusal : std::uint8_t {
    none,
    idle,    // not started
    fault,   // latched
    shape,   // not (1..kMaxHorizon, kJoints)
    period,  // not positive, or too long
    not_finite,
    step,     // two targets in a row are too far apart
    jump,     // the first target still ahead is too far from the commanded position
    stale,    // not newer than the chunk being followed, or from before the last hold
    expired,  // every target is in the past
    future,   // starts too far ahead
};

// A refusal with what it needs to be told: which element, what it was and what the bound is.
struct Verdict {
    Refusal refusal = Refusal::none;
    std::uint8_t joint = 0;
    std::uint16_t knot = 0;
    double value = 0;
    double bound = 0;

    explicit operator bool() const { return refusal == Refusal::none; }
};

// Beyond these, times of a chunk could not be added up; nor is it one that an arm could follow.
inline constexpr std::int64_t kLongestPeriod = 10'000'000'000;
inline constexpr std::int64_t kOldestStart = 3'600'000'000'000;

// Finite targets, no step between two of them above `max_jump`, a period of at most kLongestPeriod, and a start between
// kOldestStart ago and `lookahead_ns` from `now`.
Verdict check_content(const Chunk& chunk, const Joints& max_jump, std::int64_t now, std::int64_t lookahead_ns);

// The first target ahead of `now` exists and is within `max_jump` of where the arm is commanded to be.
Verdict check_reach(const Chunk& chunk, const Joints& max_jump, std::int64_t now, const Joints& commanded);

std::string describe(const Verdict& verdict, const Arm& arm);

}  // namespace edgearm
