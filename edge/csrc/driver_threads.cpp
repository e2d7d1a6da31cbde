// What the driver's two threads do.
#include <algorithm>

#include "driver.hpp"
#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kFirstRetry = 100 * kMillisecond;
constexpr std::int64_t kLongestRetry = 2'000 * kMillisecond;
// A command older than this comes from a loop that no longer steps: it is not sent again.
constexpr std::int64_t kStaleCommand = 20 * kMillisecond;

}  // namespace

// --- real-time thread ------------------------------------------------------------------------------------------------

// What was granted, or what to grant.
std::string Driver::acquire_rights() {
    const std::string fifo = request_fifo(config_.priority);
    const std::string memory = config_.lock_memory ? request_locked_memory() : "memory not locked, as configured";
    std::string text = fifo.empty() ? "SCHED_FIFO " + std::to_string(config_.priority) : fifo;
    if (config_.cpu >= 0) {
        const std::string core = request_cpu(config_.cpu);
        text += (core.empty() ? " on core " : "; not on core ") + std::to_string(config_.cpu);
    }
    text += "; " + (memory.empty() ? "memory locked" : memory);
    return text + "; " + (awake_->refusal().empty() ? "cores kept awake" : awake_->refusal());
}

void Driver::run_loop() noexcept {
    set_text(realtime_text_, acquire_rights());
    prefault_stack();
    prefault_code();

    const std::int64_t period = loop_.config().period_ns;
    std::int64_t deadline = monotonic_ns() + period;
    std::uint32_t until_log = 0;
    std::uint64_t faults_before = 0;
    while (!stopping_.load(std::memory_order_relaxed)) {
        sleep_until(deadline);
        const std::int64_t woke = monotonic_ns();
        const std::int64_t late = woke - deadline;
        lateness_.add(late);
        if (late > period) {
            // Steps that were missed are not made up for: the next one is the newest that is due.
            const std::int64_t missed = late / period;
            deadline_misses_.fetch_add(static_cast<std::uint64_t>(missed), std::memory_order_relaxed);
            deadline += missed * period;
        }
        loop_.step(deadline, feedback_.read());
        step_times_.add(monotonic_ns() - woke);
        if (until_log-- == 0) {
            until_log = config_.log_every - 1;
            const Published seen = loop_.published();
            const std::uint64_t faults = thread_page_faults();
            faults_before = faults_before == 0 ? faults : faults_before;  // the first step is not counted
            page_faults_.store(faults - faults_before, std::memory_order_relaxed);
            log_.push(
                {seen.now_ns, seen.measured, seen.commanded, seen.chunk_id, static_cast<std::uint8_t>(seen.state), {}});
        }
        deadline += period;
    }
}

// --- bus thread ------------------------------------------------------------------------------------------------------

void Driver::run_bus() noexcept {
    request_fifo(std::max(1, config_.priority - 1));  // the loop's thread reports what is missing
    std::int64_t deadline = monotonic_ns();
    while (!stopping_.load(std::memory_order_relaxed)) {
        sleep_until(deadline);
        obey();
        const std::int64_t now = monotonic_ns();
        if (link_ != nullptr) {
            bus_cycle(now);
        } else if (now >= retry_at_ns_) {
            reconnect();
        }
        deadline += config_.bus_period_ns;
        if (const std::int64_t over = monotonic_ns() - deadline; over > 0) {
            const std::int64_t missed = over / config_.bus_period_ns + 1;
            bus_overruns_.fetch_add(static_cast<std::uint64_t>(missed), std::memory_order_relaxed);
            deadline += missed * config_.bus_period_ns;
        }
    }
}

void Driver::bus_cycle(std::int64_t now) noexcept {
    const Published loop = loop_.published();
    const bool send = engaged_ && loop.state != State::idle && now - loop.now_ns < kStaleCommand;
    std::optional<Joints> measured;
    const Goals goals{loop.commanded, loop.velocity};
    const Io result = link_->cycle(send ? &goals : nullptr, now + config_.reply_timeout_ns, measured);
    bus_cycles_.fetch_add(1, std::memory_order_relaxed);
    if (measured) {
        feedback_.write(*measured);
    }
    if (result == Io::gone) {
        lose_link("port " + port_ + " is gone");
    }
}

void Driver::lose_link(const std::string& reason) noexcept {
    link_.reset();
    if (engaged_) {
        lost_ = true;
        set_text(torque_text_, "not off: the link was lost");
    }
    engaged_ = false;
    connected_ = false;
    loop_.fail(FaultCause::link);
    set_text(link_text_, reason);
    retry_pause_ns_ = kFirstRetry;
    retry_at_ns_ = monotonic_ns() + retry_pause_ns_;
}

void Driver::reconnect() noexcept {
    try {
        link_ = open_arm(loop_.arm(), reopen_as_, link_stats_);
        connected_ = true;
        set_text(link_text_, "");
    } catch (const std::exception& error) {
        set_text(link_text_, error.what());
        retry_pause_ns_ = std::min(2 * retry_pause_ns_, kLongestRetry);
        retry_at_ns_ = monotonic_ns() + retry_pause_ns_;
    }
}

void Driver::obey() noexcept {
    const Order what = order_;
    if (what == Order::none) {
        return;
    }
    std::exception_ptr refusal;
    try {
        if (link_ == nullptr) {
            throw Error(Error::Kind::link, "port " + port_ + " is gone", "an open port", link_text_,
                        "plug the adapter in; it is opened again by itself");
        }
        if (what == Order::engage) {
            feedback_.write(link_->engage());
            held_before_ = link_->held_before();
            engaged_ = true;
            lost_ = false;
            set_text(torque_text_, "on");
        } else if (lost_) {
            throw Error(Error::Kind::link, "the link was lost", "a link that held since start()",
                        "a port that came back and is only listened to", "start() takes the arm over again");
        } else {
            engaged_ = false;
            if (!link_->release()) {
                throw Error(Error::Kind::arm, "a motor did not switch torque off", "an answer of each", "silence",
                            "cut the arm's power");
            }
        }
    } catch (...) {
        refusal = std::current_exception();
    }
    {
        const std::lock_guard guard(mutex_);
        refusal_ = refusal;
        order_ = Order::none;
    }
    answered_.notify_all();
}

}  // namespace edgearm
