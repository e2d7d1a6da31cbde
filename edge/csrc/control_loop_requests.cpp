// The side of the loop that any thread may call: what is asked of it, and what it is called.
#include <algorithm>
#include <array>
#include <utility>

#include "control_loop.hpp"
#include "error.hpp"

namespace edgearm {

const char* name(State state) {
    constexpr std::array names{"idle", "ready", "running", "hold", "fault"};
    return names[static_cast<std::size_t>(state)];
}

const char* name(HoldCause cause) {
    constexpr std::array names{"", "requested", "out of targets", "feedback late", "steps left out"};
    return names[static_cast<std::size_t>(cause)];
}

const char* name(FaultCause cause) {
    constexpr std::array names{"", "no feedback within the watchdog time", "a command was not finite", "link lost"};
    return names[static_cast<std::size_t>(cause)];
}

Offer ControlLoop::offer(Chunk chunk) {
    const std::lock_guard guard(offering_);
    const Published seen = published();
    Verdict verdict = check_content(chunk, config_.max_jump, seen.now_ns, config_.lookahead_ns);
    if (verdict && !started_) {
        verdict.refusal = Refusal::idle;
    }
    if (verdict && seen.state == State::fault) {
        verdict.refusal = Refusal::fault;
    }
    if (verdict && chunk.start_ns <= newest_start_ns_) {
        verdict = {Refusal::stale, 0, 0, static_cast<double>(newest_start_ns_ - chunk.start_ns) * 1e-9, 0};
    }
    if (verdict && seen.state != State::idle) {
        verdict = check_reach(chunk, config_.max_jump, seen.now_ns, seen.commanded);
    }
    if (!verdict) {
        return refuse(verdict);
    }
    newest_start_ns_ = chunk.start_ns;
    chunk.id = next_id_++;
    chunk.epoch = requests_.load(std::memory_order_relaxed) / kEpoch;
    inbox_.write(chunk);
    return {chunk.id, verdict, ""};
}

void ControlLoop::request(Request bit) {
    const std::uint64_t taken_back = bit == kClear ? std::uint64_t{kStart} : 0;
    std::uint64_t word = requests_.load(std::memory_order_relaxed);
    while (!requests_.compare_exchange_weak(word, ((word & ~taken_back) + kEpoch) | bit, std::memory_order_acq_rel)) {
    }
}

void ControlLoop::start() {
    const std::lock_guard guard(offering_);
    started_ = true;
    request(kStart);
}

void ControlLoop::request_hold() {
    // An observation from the last step on is one of the arm that was told to hold: only older ones are refused.
    newest_start_ns_ = std::max(newest_start_ns_, published().now_ns - 1);
    request(kHold);
}

void ControlLoop::hold() {
    const std::lock_guard guard(offering_);
    request_hold();
}

void ControlLoop::retire() {
    const std::lock_guard guard(offering_);
    started_ = false;
    request_hold();
}

void ControlLoop::clear() {
    const std::lock_guard guard(offering_);
    started_ = false;
    request(kClear);
}

std::vector<FaultSample> ControlLoop::fault_log() {
    const std::lock_guard guard(offering_);
    return fault_log_.read();
}

void ControlLoop::fail(FaultCause cause) {
    requested_fault_.store(static_cast<std::uint8_t>(cause), std::memory_order_release);
}

namespace {

[[noreturn]] void in_use() {
    throw Error(Error::Kind::arm, "the control loop is in use", "one driver, or one caller in lock-step",
                "a driver that steps it", "stop that driver first");
}

}  // namespace

void ControlLoop::claim() {
    if (claimed_.exchange(true)) {
        in_use();
    }
}

void ControlLoop::require_unclaimed() const {
    if (claimed_) {
        in_use();
    }
}

}  // namespace edgearm
