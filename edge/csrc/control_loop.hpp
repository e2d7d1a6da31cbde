// The heart: a pure step from time and feedback to a joint command. No clock, no I/O, no allocation, no lock, no
// exception. The real-time driver and the lock-step simulation call the very same step.
//
//             start()          chunk taken         out of targets, hold(), feedback late, stalled
//   idle ───────────────► ready ──────────► running ─────────────────────────────► hold
//    ▲  from measured pose                     ▲              newer chunk            │
//    │ clear()                                 └──────────────────────────────────────┘
//    └──────────── fault (latched)  ◄──── any armed state: no feedback for the watchdog time, link lost, not finite
//
// In ready, hold and fault the command comes to rest within the limits and stays there.
//
// The command moves in ticks of one period: a step takes as many as have passed since the last one, none of them or
// several, each to where the trajectory is at its end.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "admission.hpp"
#include "arm.hpp"
#include "fault_log.hpp"
#include "limiter.hpp"
#include "mailbox.hpp"
#include "seq_latch.hpp"
#include "trajectory.hpp"

namespace edgearm {

enum class State : std::uint8_t { idle, ready, running, hold, fault };
enum class HoldCause : std::uint8_t { none, requested, out_of_targets, feedback, stalled };
enum class FaultCause : std::uint8_t { none, watchdog, not_finite, link };

const char* name(State state);
const char* name(HoldCause cause);
const char* name(FaultCause cause);

// Bits of Command::flags: a limit that is active is not a fault.
enum Flag : std::uint32_t {
    kLimitedPosition = SAFETY_POSITION,  // the limiter's bits as they are: 1, 2, 4, 8
    kLimitedVelocity = SAFETY_VELOCITY,
    kLimitedAcceleration = SAFETY_ACCELERATION,
    kLimitedJerk = SAFETY_JERK,
    kChunkTaken = 16,
    kChunkRefused = 32,
    kFeedbackLate = 64,
};

struct LoopConfig {
    std::int64_t period_ns = 1'000'000;
    std::int64_t feedback_timeout_ns = 12'000'000;  // three bus cycles of 4 ms: then hold
    std::int64_t watchdog_ns = 200'000'000;         // then fault
    // Steps left out in a row that add up to this hold the arm; steps in time for as long let it go on.
    std::int64_t stall_ns = 20'000'000;
    std::int64_t blend_ns = 50'000'000;             // least time a new chunk takes to join the running motion
    std::int64_t lookahead_ns = 1'000'000'000;      // a chunk may not start later than this from now
    Joints max_jump{0.5, 0.5, 0.5, 0.5, 0.5, 1.0};  // joint units, between targets and from the commanded position
};

struct Command {
    Joints joints{};  // not a number while no feedback has come
    State state = State::idle;
    std::uint32_t flags = 0;
};

struct Counters {
    std::uint64_t steps = 0;
    std::uint64_t chunks_taken = 0;
    std::uint64_t chunks_refused = 0;
    std::uint64_t holds_out_of_targets = 0;
    std::uint64_t holds_feedback = 0;
    std::uint64_t holds_stalled = 0;
    std::uint64_t faults = 0;
    std::uint64_t starts_refused = 0;  // a joint was astray (limiter.hpp)
};

// Everything the outside may see of the loop, as of its last step.
struct Published {
    std::int64_t now_ns = 0;
    Joints measured{};
    Joints commanded{};
    Joints velocity{};
    std::int64_t feedback_ns = -1;  // -1: none yet
    std::uint64_t chunk_id = 0;     // 0: none
    std::int64_t chunk_start_ns = 0;
    State state = State::idle;
    HoldCause hold_cause = HoldCause::none;
    FaultCause fault_cause = FaultCause::none;
    std::uint32_t flags = 0;
    bool at_rest = true;  // nothing moves, nor will without a chunk
    Verdict refused{};    // the last refusal inside a step
    Counters counters{};
};

struct Offer {
    std::uint64_t chunk_id = 0;  // 0 when refused
    Verdict verdict{};
    std::string reason;  // why it was refused, empty when it was not
};

class ControlLoop {
public:
    // Throws std::invalid_argument for a configuration that makes no sense, Error(arm) for limits that cannot be kept.
    ControlLoop(Arm arm, LoopConfig config);

    // --- the stepping side: one thread -------------------------------------------------------------------------
    // `feedback` is a measurement taken since the last step, or null.
    Command step(std::int64_t now_ns, const Joints* feedback) noexcept;

    // `count` steps one period apart, the first at `start_ns`, with `feedback` measured afresh at each: for a
    // simulation in lock-step. Returns the last command.
    Joints advance(std::int64_t start_ns, std::int64_t count, const Joints& feedback) noexcept;

    // --- the other side: any thread, takes effect at the next step -----------------------------------------------
    Offer offer(Chunk chunk);
    Offer refuse(const Verdict& verdict) const { return {0, verdict, describe(verdict, arm_)}; }
    // idle -> ready, from the measured pose, as soon as there is feedback. Where a joint is astray it stays idle.
    void start();
    void hold();                  // stop following; chunks from before this are refused
    void retire();                // hold(), and no chunk is accepted before the next start()
    void clear();                 // come to rest, then idle; the only way out of fault. Takes back a start() before it
    void fail(FaultCause cause);  // into fault, for what only the driver can see
    Published published() const {
        Published seen;
        published_.read(seen);
        return seen;
    }
    // The steps before the last fault and how the arm came to rest after it, oldest first. Empty without a fault, until
    // the arm rests, and again after the next start(). Survives clear(). Allocates.
    std::vector<FaultSample> fault_log();
    // A driver claims the loop while its thread steps it. Throws Error when it is claimed already.
    void claim();
    void release() { claimed_ = false; }
    void require_unclaimed() const;  // throws Error while a driver steps this loop

    const Arm& arm() const { return arm_; }
    const LoopConfig& config() const { return config_; }

private:
    // Requests and the epoch change in one word: no chunk can be taken for one offered before or after them.
    enum Request : std::uint64_t { kStart = 1, kHold = 2, kClear = 4, kRequestBits = 0xFF, kEpoch = 0x100 };

    void request(Request bit);
    void request_hold();
    void measure_stall(std::int64_t elapsed) noexcept;
    void take_feedback(std::int64_t now, const Joints* feedback) noexcept;
    void take_requests(std::int64_t now) noexcept;
    void take_chunk(const Chunk* chunk, std::int64_t now) noexcept;
    void watch(std::int64_t now) noexcept;
    void move(std::int64_t now) noexcept;
    void tick() noexcept;
    void enter_hold(HoldCause cause) noexcept;
    void enter_fault(FaultCause cause) noexcept;
    void enter_idle() noexcept;
    void record(std::int64_t now) noexcept;
    // A hold that ends by itself: the chunk waits in the trajectory.
    bool waiting() const noexcept {
        return out_.state == State::hold &&
               (out_.hold_cause == HoldCause::feedback || out_.hold_cause == HoldCause::stalled);
    }
    bool armed() const noexcept { return out_.state != State::idle; }

    const Arm arm_;
    const LoopConfig config_;

    // Owned by the stepping side.
    Published out_{};
    Trajectory trajectory_{arm_.limits()};
    Limiter limiter_;
    std::int64_t moved_ns_ = 0;  // the end of the last tick
    std::uint64_t epoch_ = 0;
    bool start_pending_ = false;
    bool clear_pending_ = false;
    std::int64_t lost_ns_ = 0;     // by steps left out in a row
    std::int64_t in_time_ns_ = 0;  // since the last step that was left out
    bool stalled_ = false;
    std::size_t steps_in_fault_ = 0;

    // The border.
    TripleBuffer<Chunk> inbox_;
    SeqLatch<Published> published_;
    FaultLog fault_log_;
    std::atomic<std::uint64_t> requests_{0};  // Request bits, and above them the epoch they belong to
    std::atomic<std::uint8_t> requested_fault_{0};
    std::atomic<bool> claimed_{false};

    // Owned by the other side, among its threads; the stepping side never takes this lock.
    std::mutex offering_;
    std::uint64_t next_id_ = 1;
    std::int64_t newest_start_ns_;
    bool started_ = false;
};

}  // namespace edgearm
