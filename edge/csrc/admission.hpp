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
    period,  // not positive
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

// Finite targets, no step between two of them above `max_jump`, a positive period and a start before `latest_ns`.
Verdict check_content(const Chunk& chunk, const Joints& max_jump, std::int64_t latest_ns);

// The first target ahead of `now` exists and is within `max_jump` of where the arm is commanded to be.
Verdict check_reach(const Chunk& chunk, const Joints& max_jump, std::int64_t now, const Joints& commanded);

std::string describe(const Verdict& verdict, const Arm& arm);

}  // namespace edgearm
