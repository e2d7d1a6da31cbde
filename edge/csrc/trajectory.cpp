#include "trajectory.hpp"

#include <algorithm>
#include <cmath>

#include "quintic.hpp"

namespace edgearm {

namespace {

constexpr double kNano = 1e-9;
constexpr int kSamples = 8;
// A joint at its very limit would find nothing reachable for a last bit; the limiter has the last word anyway.
constexpr double kRounding = 1.001;

// Acceleration at a knot for which the control points of both segments stay between their knots: `rise` is the way to
// the other knot and back in time where that is the one before; so `velocity` is.
double held(double acceleration, double rise, double velocity, double period) {
    const double unit = 20 / (period * period);
    const double used = 0.4 * period * velocity;
    return std::clamp(acceleration, unit * (std::min(rise, 0.0) - used), unit * (std::max(rise, 0.0) - used));
}

// A knot of a chunk, with the velocity and the acceleration that it is passed with.
//
// The velocity is the mean of the two slopes, but at most twice the lesser, and zero where they differ in sign (van
// Leer's monotonised central slope, J. Comput. Phys. 23, 1977); the acceleration is the difference of the slopes. On a
// smooth motion both are right to second order, and the bounds bind nowhere but near a turn.
Knot passed(const Chunk& chunk, std::size_t knot, std::size_t joint) {
    const double period = static_cast<double>(chunk.period_ns) * kNano;
    const double here = chunk.joints[knot][joint];
    const bool first = knot == 0;
    const bool last = knot + 1 == chunk.horizon;
    if (first && last) {
        return {here, 0, 0};
    }
    const double came = first ? 0 : here - chunk.joints[knot - 1][joint];
    const double goes = last ? 0 : chunk.joints[knot + 1][joint] - here;
    if (first || last) {
        return {here, (came + goes) / period, 0};
    }
    double velocity = 0;
    if (came * goes > 0) {
        const double most = 2 * std::min(std::abs(came), std::abs(goes));
        velocity = std::clamp((came + goes) / 2, -most, most) / period;
    }
    const double bend = (goes - came) / (period * period);
    return {here, velocity, held(held(bend, goes, velocity, period), -came, -velocity, period)};
}

double seconds(std::int64_t from_ns, std::int64_t to_ns) {
    return static_cast<double>(to_ns - from_ns) * kNano;
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
    return true;
}

bool Trajectory::reachable(std::size_t knot, std::size_t joint) const {
    const Knot from{from_.position[joint], from_.velocity[joint], from_.acceleration[joint]};
    const Quintic segment(from, passed(chunk_, knot, joint), seconds(joined_ns_, chunk_.due(knot)));
    for (int i = 0; i <= kSamples; ++i) {
        const double u = static_cast<double>(i) / kSamples;
        if (std::abs(segment.velocity(u)) > kRounding * limits_[joint].max_velocity ||
            std::abs(segment.acceleration(u)) > kRounding * limits_[joint].max_acceleration) {
            return false;
        }
    }
    return true;
}

Joints Trajectory::at(std::int64_t now) const {
    if (finished(now)) {
        return chunk_.joints[chunk_.horizon - 1];
    }
    const std::size_t ahead = chunk_.first_ahead(now);
    Joints position;
    for (std::size_t joint = 0; joint < kJoints; ++joint) {
        const std::size_t next = std::max(first_[joint], ahead);
        const bool joining = next == first_[joint];
        const std::int64_t since = joining ? joined_ns_ : chunk_.due(next - 1);
        const Knot from = joining ? Knot{from_.position[joint], from_.velocity[joint], from_.acceleration[joint]}
                                  : passed(chunk_, next - 1, joint);
        const double length = seconds(since, chunk_.due(next));
        position[joint] = Quintic(from, passed(chunk_, next, joint), length).position(seconds(since, now) / length);
    }
    return position;
}

}  // namespace edgearm
