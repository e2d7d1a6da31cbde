#include "admission.hpp"

#include <cmath>
#include <sstream>

namespace edgearm {

Verdict check_content(const Chunk& chunk, const Joints& max_jump, std::int64_t now, std::int64_t lookahead_ns) {
    if (chunk.horizon < 1 || chunk.horizon > kMaxHorizon) {
        return {Refusal::shape, 0, 0, static_cast<double>(chunk.horizon), static_cast<double>(kMaxHorizon)};
    }
    if (chunk.period_ns <= 0 || chunk.period_ns > kLongestPeriod) {
        return {Refusal::period, 0, 0, static_cast<double>(chunk.period_ns), static_cast<double>(kLongestPeriod)};
    }
    if (chunk.start_ns < now - kOldestStart) {  // of which every target is past
        const double length = static_cast<double>(chunk.horizon) * static_cast<double>(chunk.period_ns);
        const double past = static_cast<double>(now) - static_cast<double>(chunk.start_ns) - length;
        return {Refusal::expired, 0, 0, past * 1e-9, 0};
    }
    if (chunk.start_ns - now > lookahead_ns) {
        return {Refusal::future, 0, 0, static_cast<double>(chunk.start_ns - now - lookahead_ns) * 1e-9, 0};
    }
    for (std::size_t knot = 0; knot < chunk.horizon; ++knot) {
        for (std::size_t joint = 0; joint < kJoints; ++joint) {
            const double value = chunk.joints[knot][joint];
            const auto at = static_cast<std::uint16_t>(knot);
            const auto which = static_cast<std::uint8_t>(joint);
            if (!std::isfinite(value)) {
                return {Refusal::not_finite, which, at, value, 0};
            }
            if (knot > 0 && std::abs(value - chunk.joints[knot - 1][joint]) > max_jump[joint]) {
                return {Refusal::step, which, at, value - chunk.joints[knot - 1][joint], max_jump[joint]};
            }
        }
    }
    return {};
}

Verdict check_reach(const Chunk& chunk, const Joints& max_jump, std::int64_t now, const Joints& commanded) {
    if (now >= chunk.end_ns()) {
        return {Refusal::expired, 0, 0, static_cast<double>(now - chunk.end_ns()) * 1e-9, 0};
    }
    const std::size_t knot = chunk.first_ahead(now);
    for (std::size_t joint = 0; joint < kJoints; ++joint) {
        const double jump = chunk.joints[knot][joint] - commanded[joint];
        if (std::abs(jump) > max_jump[joint]) {
            return {Refusal::jump, static_cast<std::uint8_t>(joint), static_cast<std::uint16_t>(knot), jump,
                    max_jump[joint]};
        }
    }
    return {};
}

std::string describe(const Verdict& verdict, const Arm& arm) {
    std::ostringstream text;
    const std::string& joint = arm.spec().joints[verdict.joint].name;
    switch (verdict.refusal) {
        case Refusal::none:
            break;
        case Refusal::idle:
            text << "idle: the loop takes no chunk before start()";
            break;
        case Refusal::fault:
            text << "fault: the loop takes no chunk before clear() and start()";
            break;
        case Refusal::shape:
            text << "shape: expected (1 to " << kMaxHorizon << ", " << kJoints << ") targets, got " << verdict.value
                 << (verdict.bound > 0 ? " targets" : " numbers in another shape");
            break;
        case Refusal::period:
            text << "period: expected more than 0 and at most " << verdict.bound << " ns, got " << verdict.value;
            break;
        case Refusal::not_finite:
            text << "not finite: joints[" << verdict.knot << ", " << int{verdict.joint} << "] (" << joint << ") is "
                 << verdict.value;
            break;
        case Refusal::step:
            text << "step: joints[" << verdict.knot << ", " << int{verdict.joint} << "] (" << joint << ") is "
                 << verdict.value << " from the target before it, the bound is " << verdict.bound;
            break;
        case Refusal::jump:
            text << "jump: joints[" << verdict.knot << ", " << int{verdict.joint} << "] (" << joint << ") is "
                 << verdict.value << " from the commanded position, the bound is " << verdict.bound;
            break;
        case Refusal::stale:
            text << "stale: it starts " << verdict.value << " s before the newest one taken or the last hold";
            break;
        case Refusal::expired:
            text << "expired: its last target was due " << verdict.value << " s ago";
            break;
        case Refusal::future:
            text << "future: it starts " << verdict.value << " s later than the loop looks ahead";
            break;
    }
    return text.str();
}

}  // namespace edgearm
