// A chunk of joint targets as a smooth motion that joins whatever the arm is doing.
//
//   commanded ●╌╌╌╌join╌╌╌╌╮
//              │  x     x   ●─────●─────●─────●        x knots past, too near, or out of reach within the limits
//            now            first knot that is followed                    ● knots followed
//
// Each joint joins by itself, at the first knot that is at least `blend` ahead and that it can reach within its
// velocity and acceleration limits: a gripper that has to close far does not keep the arm from its path.
//
// Every segment is a quintic, so that position, velocity and acceleration are continuous, at the join as at every knot.
// Between two knots it never leaves the span of the two: a gripper told to stay does not twitch because it will move.
//
// What becomes of a chunk that does not come alone and in time (admission.hpp refuses, before anything moves):
//   late           its past knots are left out; joined at the first that can be reached
//   later still    refused as expired, when its last knot is past
//   overlapping    the newer one is joined from the running motion; nothing of the older one is followed any more
//   out of order   refused as stale, when one that starts later, or as late, was taken before
//   none           the last one is followed to its end, then the arm comes to rest: hold
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "arm.hpp"
#include "limiter.hpp"

namespace edgearm {

inline constexpr std::size_t kMaxHorizon = 64;

// Knot k is due at start_ns + (k + 1) * period_ns.
struct Chunk {
    std::uint64_t id = 0;
    std::uint64_t epoch = 0;  // which arming or hold it was offered under
    std::size_t horizon = 0;
    std::int64_t start_ns = 0;
    std::int64_t period_ns = 0;
    std::array<Joints, kMaxHorizon> joints{};

    std::int64_t due(std::size_t knot) const { return start_ns + static_cast<std::int64_t>(knot + 1) * period_ns; }
    std::int64_t end_ns() const { return start_ns + static_cast<std::int64_t>(horizon) * period_ns; }
    // Index of the first knot due at `now` or later; `horizon` when all are past.
    std::size_t first_ahead(std::int64_t now) const;
};

class Trajectory {
public:
    using Limits = std::array<safety_physical, kJoints>;

    explicit Trajectory(const Limits& limits) : limits_(limits) {}

    // Starts following `chunk` from `from` at `now`. False, and nothing changes, when all its knots are past.
    bool join(const Chunk& chunk, const Motion& from, std::int64_t now, std::int64_t blend_ns);
    // Joins the chunk followed before again, after the motion was interrupted.
    bool rejoin(const Motion& from, std::int64_t now, std::int64_t blend_ns);

    bool finished(std::int64_t now) const { return now > chunk_.end_ns(); }
    // Position at `now`, not before the join; after the last knot, that knot.
    Joints at(std::int64_t now) const;

private:
    bool reachable(std::size_t knot, std::size_t joint) const;

    const Limits limits_;
    Chunk chunk_{};
    Motion from_{};
    std::int64_t joined_ns_ = 0;
    std::array<std::size_t, kJoints> first_{};  // the knot each joint's joining segment leads to
};

}  // namespace edgearm
