#include "driver.hpp"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <utility>

#include "error.hpp"
#include "realtime.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000 * kMillisecond;
constexpr std::int64_t kFirstRetry = 100 * kMillisecond;
constexpr std::int64_t kLongestRetry = 2 * kSecond;
// A command older than this comes from a loop that no longer steps: it is not sent again.
constexpr std::int64_t kStaleCommand = 20 * kMillisecond;

void sleep_until(std::int64_t deadline_ns) noexcept {
    const timespec deadline{deadline_ns / kSecond, deadline_ns % kSecond};
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
    }
}

}  // namespace

Driver::Driver(ControlLoop& loop, std::string port, DriverConfig config)
    : loop_(loop), port_(std::move(port)), config_(config) {
    if (config.bus_period_ns < kMillisecond || config.reply_timeout_ns < kMillisecond || config.log_every == 0 ||
        config.priority < 1 || config.priority > 99) {
        throw Error(Error::Kind::config, "driver configuration",
                    "bus_period_ns and reply_timeout_ns of at least 1 ms, priority 1 to 99, log_every at least 1",
                    "other numbers", "use the defaults");
    }
}

Driver::~Driver() {
    halt(true);
}

void Driver::start() {
    const std::lock_guard one_at_a_time(lifecycle_);
    const bool launched = !running();
    if (launched) {
        launch();
    }
    try {
        arm();
    } catch (...) {
        if (launched) {
            halt(config_.keep_torque);
        }
        throw;
    }
}

void Driver::stop() {
    const std::lock_guard one_at_a_time(lifecycle_);
    halt(config_.keep_torque);
}

void Driver::launch() {
    link_ = std::make_unique<ArmLink>(loop_.arm(), port_, link_stats_);
    loop_.claim();
    set_text(link_text_, "");
    connected_ = true;
    stopping_ = false;
    engaged_ = false;
    feedback_.write(link_->measure());  // the loop knows where the arm is at its first step
    bus_ = std::thread(&Driver::run_bus, this);
    rt_ = std::thread(&Driver::run_loop, this);
}

void Driver::arm() {
    if (!wait_for([](const Published& loop) { return loop.state == State::idle && loop.feedback_ns >= 0; }, kSecond)) {
        const State state = loop_.published().state;
        throw Error(Error::Kind::arm, "the arm on " + port_ + " cannot be started", "an idle loop with feedback",
                    std::string("state ") + name(state),
                    state == State::fault  ? "see fault_cause in the snapshot, then clear()"
                    : state == State::idle ? "check the arm's power and cables"
                                           : "it is started already");
    }
    order(Order::engage);
    loop_.start();
    if (!wait_for([](const Published& loop) { return loop.state != State::idle; }, kSecond)) {
        throw Error(Error::Kind::arm, "the arm on " + port_ + " did not become ready", "feedback after torque on",
                    "none", "check the arm's power and cables");
    }
}

void Driver::halt(bool keep_torque) {
    if (!running()) {
        return;
    }
    loop_.hold();
    // From its highest speed a joint rests within max_velocity / max_acceleration, well under a second.
    wait_for([](const Published& loop) { return loop.state != State::running && loop.at_rest(); }, 3 * kSecond);
    if (!keep_torque) {
        try {
            order(Order::release);
        } catch (const Error&) {
            // The line is gone or a servo is silent: nothing more can be done for it from here.
        }
    }
    loop_.clear();
    wait_for([](const Published& loop) { return loop.state == State::idle; }, kSecond);
    stopping_ = true;
    bus_.join();
    rt_.join();
    link_.reset();
    connected_ = false;
    loop_.release();
}

bool Driver::wait_for(const std::function<bool(const Published&)>& condition, std::int64_t timeout_ns) const {
    const std::int64_t deadline = monotonic_ns() + timeout_ns;
    while (!condition(loop_.published())) {
        if (monotonic_ns() > deadline) {
            return false;
        }
        sleep_until(monotonic_ns() + kMillisecond);
    }
    return true;
}

// --- real-time thread ------------------------------------------------------------------------------------------------

void Driver::run_loop() noexcept {
    const std::string fifo = request_fifo(config_.priority);
    const std::string memory = config_.lock_memory ? request_locked_memory() : "memory not locked, as configured";
    set_text(realtime_text_, (fifo.empty() ? "SCHED_FIFO " + std::to_string(config_.priority) : fifo) + "; " +
                                 (memory.empty() ? "memory locked" : memory));
    prefault_stack();

    const std::int64_t period = loop_.config().period_ns;
    std::int64_t deadline = monotonic_ns() + period;
    std::uint32_t until_log = 0;
    while (!stopping_.load(std::memory_order_relaxed)) {
        sleep_until(deadline);
        const std::int64_t late = monotonic_ns() - deadline;
        lateness_.add(late);
        if (late > period) {
            // Steps that were missed are not made up for: the next one is the newest that is due.
            const std::int64_t missed = late / period;
            deadline_misses_.fetch_add(static_cast<std::uint64_t>(missed), std::memory_order_relaxed);
            deadline += missed * period;
        }
        loop_.step(deadline, feedback_.read());
        if (until_log-- == 0) {
            until_log = config_.log_every - 1;
            const Published seen = loop_.published();
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
    const Io result = link_->cycle(send ? &loop.commanded : nullptr, now + config_.reply_timeout_ns, measured);
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
    engaged_ = false;
    connected_ = false;
    loop_.fail(FaultCause::link);
    set_text(link_text_, reason);
    retry_pause_ns_ = kFirstRetry;
    retry_at_ns_ = monotonic_ns() + retry_pause_ns_;
}

void Driver::reconnect() noexcept {
    try {
        link_ = std::make_unique<ArmLink>(loop_.arm(), port_, link_stats_);
        connected_ = true;
        set_text(link_text_, "");
    } catch (const std::exception& error) {
        set_text(link_text_, error.what());
        retry_pause_ns_ = std::min(2 * retry_pause_ns_, kLongestRetry);
        retry_at_ns_ = monotonic_ns() + retry_pause_ns_;
    }
}

void Driver::obey() noexcept {
    std::unique_lock guard(mutex_);
    const Order what = order_;
    if (what == Order::none) {
        return;
    }
    guard.unlock();
    std::exception_ptr refusal;
    try {
        if (link_ == nullptr) {
            throw Error(Error::Kind::link, "port " + port_ + " is gone", "an open port", link_text_,
                        "plug the adapter in; it is opened again by itself");
        }
        if (what == Order::engage) {
            feedback_.write(link_->engage());
            engaged_ = true;
        } else {
            engaged_ = false;
            if (!link_->release()) {
                throw Error(Error::Kind::arm, "a servo did not switch torque off", "an acknowledged write", "silence",
                            "cut the arm's power");
            }
        }
    } catch (...) {
        refusal = std::current_exception();
    }
    guard.lock();
    order_ = Order::none;
    refusal_ = refusal;
    guard.unlock();
    answered_.notify_all();
}

void Driver::order(Order what) {
    std::unique_lock guard(mutex_);
    order_ = what;
    answered_.wait(guard, [this] { return order_ == Order::none; });
    if (refusal_) {
        std::rethrow_exception(std::exchange(refusal_, nullptr));
    }
}

// --- any thread ------------------------------------------------------------------------------------------------------

void Driver::set_text(std::string& text, const std::string& value) {
    const std::lock_guard guard(mutex_);
    text = value;
}

DriverStats Driver::stats() const {
    DriverStats stats;
    stats.lateness_p50_ns = lateness_.percentile_ns(0.50);
    stats.lateness_p99_ns = lateness_.percentile_ns(0.99);
    stats.lateness_max_ns = lateness_.max_ns();
    stats.deadline_misses = deadline_misses_.load(std::memory_order_relaxed);
    stats.bus_cycles = bus_cycles_.load(std::memory_order_relaxed);
    stats.bus_overruns = bus_overruns_.load(std::memory_order_relaxed);
    stats.log_dropped = log_.dropped();
    stats.connected = connected_;
    const std::lock_guard guard(mutex_);
    stats.link = link_text_;
    stats.realtime = realtime_text_;
    return stats;
}

}  // namespace edgearm
