#include "trajectory.hpp"

#include <algorithm>
#include <cmath>

namespace edgearm {

namespace {

constexpr double kNano = 1e-9;

struct Knot {
    double position;
    double velocity;
};

// Cubic Hermite between two knots `length` seconds apart, at fraction `u`.
Knot hermite(const Knot& a, const Knot& b, double length, double u) {
    const double w = 1 - u;
    const double position = a.position * w * w * (1 + 2 * u) + b.position * u * u * (3 - 2 * u) +
                            length * u * w * (a.velocity * w - b.velocity * u);
    const double velocity =
        6 * u * w * (b.position - a.position) / length + a.velocity * w * (1 - 3 * u) + b.velocity * u * (3 * u - 2);
    return {position, velocity};
}

}  // namespace

std::size_t Chunk::first_ahead(std::int64_t now) const {
    const std::int64_t past = now - start_ns;
    if (past <= period_ns) {
        return 0;
    }
    const std::int64_t knot = (past + period_ns - 1) / period_ns - 1;
    return static_cast<std::size_t>(std::min<std::int64_t>(knot, horizon));
}

bool Trajectory::join(const Chunk& chunk, const Motion& from, std::int64_t now, std::int64_t blend_ns) {
    if (now >= chunk.end_ns()) {
        return false;
    }
    chunk_ = chunk;
    return rejoin(from, now, blend_ns);
}

bool Trajectory::rejoin(const Motion& from, std::int64_t now, std::int64_t blend_ns) {
    if (now >= chunk_.end_ns()) {
        return false;
    }
    from_ = from;
    joined_ns_ = now;
    // At least a nanosecond ahead: the joining segment must have a length.
    const std::int64_t ahead = std::max<std::int64_t>(blend_ns, 1);
    const std::size_t nearest = std::min<std::size_t>(chunk_.first_ahead(now + ahead), chunk_.horizon - 1);
    for (std::size_t joint = 0; joint < kJoints; ++joint) {
        std::size_t knot = nearest;
        while (knot < chunk_.horizon && !reachable(knot, joint)) {
            ++knot;
        }
        // Targets that are too fast for the joint altogether are left to the limiter.
        first_[joint] = knot < chunk_.horizon ? knot : nearest;
    }
    active_ = true;
    return true;
}

bool Trajectory::reachable(std::size_t knot, std::size_t joint) const {
    const double length = static_cast<double>(chunk_.due(knot) - joined_ns_) * kNano;
    const double mean = (chunk_.joints[knot][joint] - from_.position[joint]) / length;
    const double v0 = from_.velocity[joint];
    const double v1 = tangent(knot, joint);
    // The acceleration of a cubic is linear, so greatest at an end; its velocity is greatest about half-way.
    const double start = std::abs(6 * mean - 4 * v0 - 2 * v1) / length;
    const double end = std::abs(6 * mean - 2 * v0 - 4 * v1) / length;
    const double middle = std::abs(1.5 * mean - 0.25 * (v0 + v1));
    const limiter_limits& limits = limits_[joint];
    return std::max(start, end) <= limits.max_acceleration && std::max(middle, std::abs(v1)) <= limits.max_velocity;
}

double Trajectory::tangent(std::size_t knot, std::size_t joint) const {
    const double period = static_cast<double>(chunk_.period_ns) * kNano;
    const auto slope = [&](std::size_t from) {
        return (chunk_.joints[from + 1][joint] - chunk_.joints[from][joint]) / period;
    };
    if (chunk_.horizon == 1) {
        return 0;
    }
    if (knot == 0) {
        return slope(0);
    }
    if (knot + 1 == chunk_.horizon) {
        return slope(knot - 1);
    }
    const double before = slope(knot - 1);
    const double after = slope(knot);
    return before * after > 0 ? 2 * before * after / (before + after) : 0;
}

Motion Trajectory::at(std::int64_t now) const {
    Motion motion;
    if (finished(now)) {
        motion.position = chunk_.joints[chunk_.horizon - 1];
        return motion;
    }
    const std::size_t ahead = chunk_.first_ahead(now);
    for (std::size_t joint = 0; joint < kJoints; ++joint) {
        const std::size_t next = std::max(first_[joint], ahead);
        const bool joining = next == first_[joint];
        const std::int64_t since = joining ? joined_ns_ : chunk_.due(next - 1);
        const double length = static_cast<double>(chunk_.due(next) - since) * kNano;
        const double u = static_cast<double>(now - since) * kNano / length;
        const Knot a = joining ? Knot{from_.position[joint], from_.velocity[joint]}
                               : Knot{chunk_.joints[next - 1][joint], tangent(next - 1, joint)};
        const Knot b{chunk_.joints[next][joint], tangent(next, joint)};
        const Knot knot = hermite(a, b, length, u);
        motion.position[joint] = knot.position;
        motion.velocity[joint] = knot.velocity;
    }
    return motion;
}

}  // namespace edgearm
