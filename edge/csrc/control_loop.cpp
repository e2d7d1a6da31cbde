#include "control_loop.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace edgearm {

namespace {

constexpr std::int64_t kBeforeAll = std::numeric_limits<std::int64_t>::min();

// In ticks: a stalled step may not make up for lost time in one leap.
constexpr std::int64_t kLongestStep = 10;

bool finite(const Joints& joints) noexcept {
    return std::all_of(joints.begin(), joints.end(), [](double value) { return std::isfinite(value); });
}

LoopConfig checked(const LoopConfig& config) {
    if (config.period_ns <= 0 || config.blend_ns < 0 || config.lookahead_ns < 0 ||
        config.feedback_timeout_ns < config.period_ns || config.watchdog_ns < config.feedback_timeout_ns ||
        config.stall_ns < config.period_ns) {
        throw std::invalid_argument(
            "loop configuration: expected 0 < period_ns <= feedback_timeout_ns <= watchdog_ns, stall_ns of at least "
            "period_ns, and blend_ns and lookahead_ns not negative");
    }
    for (const double bound : config.max_jump) {
        if (!(bound > 0)) {
            throw std::invalid_argument("loop configuration: every max_jump must be positive");
        }
    }
    return config;
}

}  // namespace

ControlLoop::ControlLoop(Arm arm, LoopConfig config)
    : arm_(std::move(arm)), config_(checked(config)), limiter_(arm_, config.period_ns), newest_start_ns_(kBeforeAll) {
    out_.measured.fill(std::numeric_limits<double>::quiet_NaN());
    out_.commanded = out_.measured;
    published_.write(out_);
}

Command ControlLoop::step(std::int64_t now, const Joints* feedback) noexcept {
    const std::int64_t elapsed = out_.counters.steps == 0 ? config_.period_ns : now - out_.now_ns;
    out_.now_ns = now;
    out_.flags = 0;
    out_.counters.steps += 1;

    measure_stall(elapsed);
    take_feedback(now, feedback);
    // Read before the requests: it then belongs to an epoch that is known, or is over.
    const Chunk* chunk = inbox_.read();
    take_requests(now);
    take_chunk(chunk, now);
    watch(now);
    move(now);

    record(now);
    published_.write(out_);
    return {out_.commanded, out_.state, out_.flags};
}

Joints ControlLoop::advance(std::int64_t start, std::int64_t count, const Joints& feedback) noexcept {
    for (std::int64_t i = 0; i < count; ++i) {
        step(start + i * config_.period_ns, &feedback);
    }
    return out_.commanded;
}

void ControlLoop::measure_stall(std::int64_t elapsed) noexcept {
    if (elapsed < 2 * config_.period_ns) {
        lost_ns_ = 0;
        in_time_ns_ += elapsed;
        stalled_ = stalled_ && in_time_ns_ < config_.stall_ns;
        return;
    }
    lost_ns_ += elapsed - config_.period_ns;
    in_time_ns_ = 0;
    stalled_ = stalled_ || lost_ns_ >= config_.stall_ns;
}

void ControlLoop::take_feedback(std::int64_t now, const Joints* feedback) noexcept {
    if (feedback == nullptr || !finite(*feedback)) {
        return;
    }
    out_.measured = *feedback;
    out_.feedback_ns = now;
    if (!armed()) {
        out_.commanded = out_.measured;
    }
}

void ControlLoop::take_requests(std::int64_t now) noexcept {
    const std::uint64_t requests = requests_.fetch_and(~std::uint64_t{kRequestBits}, std::memory_order_acq_rel);
    epoch_ = requests / kEpoch;
    // A start that came with a clear came after it.
    start_pending_ = (start_pending_ && (requests & kClear) == 0) || (requests & kStart) != 0;
    clear_pending_ |= (requests & kClear) != 0;
    if (clear_pending_ && out_.state == State::running) {
        enter_hold(HoldCause::requested);
    }
    if (clear_pending_ && (!armed() || out_.at_rest)) {
        clear_pending_ = false;
        enter_idle();
    }
    const auto fault = static_cast<FaultCause>(requested_fault_.exchange(0, std::memory_order_acq_rel));
    if (fault != FaultCause::none && armed()) {
        enter_fault(fault);
    }
    const bool fresh = out_.feedback_ns >= 0 && now - out_.feedback_ns <= config_.feedback_timeout_ns;
    if (start_pending_ && !armed() && fresh) {
        start_pending_ = false;
        if (limiter_.rest_at(out_.measured)) {
            out_.state = State::ready;
            stalled_ = false;  // what came before the start moved nothing
            fault_log_.resume();
            moved_ns_ = now;
        } else {  // armed, it would command a pose that the arm is not in
            out_.counters.starts_refused += 1;
        }
    }
    if ((requests & kHold) != 0 && (out_.state == State::running || out_.state == State::hold)) {
        enter_hold(HoldCause::requested);
    }
}

void ControlLoop::take_chunk(const Chunk* chunk, std::int64_t now) noexcept {
    if (chunk == nullptr || chunk->epoch != epoch_) {
        return;  // nothing new, or offered before the last hold or arming
    }
    Verdict verdict;
    if (out_.state == State::idle) {
        verdict.refusal = Refusal::idle;
    } else if (out_.state == State::fault) {
        verdict.refusal = Refusal::fault;
    } else {
        verdict = check_reach(*chunk, config_.max_jump, now, out_.commanded);
    }
    if (!verdict) {
        out_.refused = verdict;
        out_.flags |= kChunkRefused;
        out_.counters.chunks_refused += 1;
        return;
    }
    trajectory_.join(*chunk, limiter_.motion(), moved_ns_, config_.blend_ns);
    out_.chunk_id = chunk->id;
    out_.chunk_start_ns = chunk->start_ns;
    out_.flags |= kChunkTaken;
    out_.counters.chunks_taken += 1;
    if (!waiting()) {  // otherwise watch() takes it up
        out_.state = State::running;
        out_.hold_cause = HoldCause::none;
    }
}

void ControlLoop::watch(std::int64_t now) noexcept {
    if (out_.state == State::idle || out_.state == State::fault) {
        return;
    }
    const std::int64_t age = now - out_.feedback_ns;
    const bool late = age > config_.feedback_timeout_ns;
    if (late) {
        out_.flags |= kFeedbackLate;
    }
    if (age > config_.watchdog_ns) {
        enter_fault(FaultCause::watchdog);
    } else if (out_.state == State::running && late) {
        out_.counters.holds_feedback += 1;
        enter_hold(HoldCause::feedback);
    } else if (out_.state == State::running && stalled_) {
        out_.counters.holds_stalled += 1;
        enter_hold(HoldCause::stalled);
    } else if (out_.state == State::running && trajectory_.finished(now)) {
        out_.counters.holds_out_of_targets += 1;
        enter_hold(HoldCause::out_of_targets);
    } else if (waiting() && !late && !stalled_) {
        if (trajectory_.rejoin(limiter_.motion(), moved_ns_, config_.blend_ns)) {
            out_.state = State::running;
            out_.hold_cause = HoldCause::none;
        } else {
            enter_hold(HoldCause::out_of_targets);
        }
    }
}

void ControlLoop::move(std::int64_t now) noexcept {
    if (!armed()) {
        return;
    }
    const std::int64_t longest = kLongestStep * config_.period_ns;
    if (now - moved_ns_ > longest) {
        moved_ns_ = now - longest;
        if (out_.state == State::running) {
            trajectory_.rejoin(limiter_.motion(), moved_ns_, config_.blend_ns);
        }
    }
    while (now - moved_ns_ >= config_.period_ns) {
        tick();
    }
    const Motion motion = limiter_.motion();
    out_.commanded = motion.position;
    out_.velocity = motion.velocity;
    out_.at_rest = limiter_.at_rest();
}

void ControlLoop::tick() noexcept {
    const std::int64_t from = moved_ns_;
    moved_ns_ += config_.period_ns;
    // Integers from here on, so the command is finite; a target that is not is rejected, and the arm brakes.
    const unsigned flags = out_.state == State::running
                               ? limiter_.follow(trajectory_.at(from), trajectory_.at(moved_ns_))
                               : limiter_.brake();
    out_.flags |= flags & (kLimitedPosition | kLimitedVelocity | kLimitedAcceleration | kLimitedJerk);
    if ((flags & Limiter::kRejected) != 0) {
        enter_fault(FaultCause::not_finite);
    }
}

void ControlLoop::enter_hold(HoldCause cause) noexcept {
    out_.state = State::hold;
    out_.hold_cause = cause;
}

void ControlLoop::enter_fault(FaultCause cause) noexcept {
    if (out_.state == State::fault) {
        return;  // the first cause stays
    }
    out_.state = State::fault;
    out_.hold_cause = HoldCause::none;
    out_.fault_cause = cause;
    out_.counters.faults += 1;
    steps_in_fault_ = 0;
}

void ControlLoop::enter_idle() noexcept {
    out_.state = State::idle;
    out_.hold_cause = HoldCause::none;
    out_.fault_cause = FaultCause::none;
    out_.velocity = Joints{};
    out_.at_rest = true;
    out_.commanded = out_.measured;
    out_.chunk_id = 0;
}

void ControlLoop::record(std::int64_t now) noexcept {
    fault_log_.record({now, out_.feedback_ns < 0 ? -1 : now - out_.feedback_ns, out_.chunk_id, out_.measured,
                       out_.commanded, out_.velocity, out_.flags, static_cast<std::uint8_t>(out_.state),
                       static_cast<std::uint8_t>(out_.hold_cause), static_cast<std::uint8_t>(out_.fault_cause), 0});
    if (out_.state == State::fault) {
        steps_in_fault_ += 1;
        if (out_.at_rest || steps_in_fault_ >= FaultLog::kAfterwards) {
            fault_log_.freeze();
        }
    }
}

}  // namespace edgearm
