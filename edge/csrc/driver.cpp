#include "driver.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <system_error>
#include <utility>

#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000 * kMillisecond;

void refuse_astray(const Arm& arm, const Joints& pose) {
    if (const std::optional<std::size_t> joint = Limiter::astray(pose)) {
        throw Error(Error::Kind::arm, "joint " + arm.spec().joints[*joint].name + " is where it cannot be held",
                    "a position of at most 256 either way (rad, or the gripper's way)", std::to_string(pose[*joint]),
                    "correct its calibration, or its entry in the arm description");
    }
}

[[noreturn]] void no_thread(const std::system_error& error) {
    throw Error(Error::Kind::config, "a thread for the arm cannot be made", "two threads, and their stacks",
                error.code().message(),
                "raise the limits on processes and memory (ulimit -u, -v; TasksMax, MemoryMax)");
}

}  // namespace

Driver::Driver(ControlLoop& loop, std::string port, DriverConfig config)
    : loop_(loop), port_(std::move(port)), config_(config) {
    const auto within = [](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
        if (value < least || value > most) {
            throw Error(Error::Kind::config, std::string("driver configuration: ") + name + " cannot be used",
                        std::to_string(least) + " to " + std::to_string(most), std::to_string(value),
                        "use the default or a number in this range");
        }
    };
    within("reply_timeout_ns", config.reply_timeout_ns, kMillisecond, kSecond);
    within("priority", config.priority, 1, 99);
    within("log_every", config.log_every, 1, std::numeric_limits<std::uint32_t>::max());
    within("cpu", config.cpu, -1, cpu_count() - 1);
    within("bus_period_ns", config.bus_period_ns, 1, kSecond);
    const CycleCost cost = cycle_cost(loop.arm());
    if (config.bus_period_ns < cost.ns) {
        throw Error(Error::Kind::config, "driver configuration: the link cannot carry this bus rate",
                    "bus_period_ns of at least " + std::to_string(cost.ns) + ": " + cost.spent_on,
                    "bus_period_ns " + std::to_string(config.bus_period_ns), "lower the bus rate (loop.bus_hz)");
    }
    if (cost.most_ns > 0 && config.bus_period_ns > cost.most_ns) {
        throw Error(Error::Kind::config, "driver configuration: the arm would stop between two bus cycles",
                    "bus_period_ns of at most " + std::to_string(cost.most_ns) + ": " + cost.spent_on,
                    "bus_period_ns " + std::to_string(config.bus_period_ns), "raise the bus rate (loop.bus_hz)");
    }
    if (config.keep_torque && loop.arm().spec().motor_timeout_s > 0) {
        throw Error(Error::Kind::config, "driver configuration: torque cannot be kept after the run",
                    "keep_torque with motors that stay on without commands (timeout_ms 0 in the arm description)",
                    "motors that switch themselves off after " +
                        std::to_string(std::lround(loop.arm().spec().motor_timeout_s * 1e3)) + " ms of silence",
                    "leave loop.keep_torque off");
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
            halt(config_.keep_torque || !engaged_ || held_before_);  // what was not engaged is as it was found
        }
        throw;
    }
}

void Driver::stop() {
    const std::lock_guard one_at_a_time(lifecycle_);
    halt(config_.keep_torque);
}

// A thread of its own tries the core, so that nobody else is moved; a closed core is known before the port is opened.
void Driver::check_cpu() const {
    if (config_.cpu < 0) {
        return;
    }
    std::string refusal;
    try {
        std::thread([&] { refusal = request_cpu(config_.cpu); }).join();
    } catch (const std::system_error& error) {
        no_thread(error);
    }
    if (!refusal.empty()) {
        throw Error(Error::Kind::config, "core " + std::to_string(config_.cpu) + " cannot be used for the loop",
                    "a core that this process may run on", refusal,
                    "choose another loop.cpu, or open this one to the process (cpuset, taskset)");
    }
}

void Driver::launch() {
    check_cpu();
    auto link = open_arm(loop_.arm(), port_, link_stats_);
    const Joints pose = link->measure();
    loop_.claim();
    reopen_as_ = link->stable_path();
    link_ = std::move(link);
    awake_ = std::make_unique<AwakeCores>();
    set_text(link_text_, "");
    connected_ = true;
    stopping_ = false;
    engaged_ = false;
    lost_ = false;
    feedback_.write(pose);  // the loop knows where the arm is at its first step
    begin_threads();
}

void Driver::begin_threads() {
    try {
        bus_ = std::thread(&Driver::run_bus, this);
        rt_ = std::thread(&Driver::run_loop, this);
        running_ = true;
    } catch (const std::system_error& error) {
        end_threads();
        no_thread(error);
    }
}

void Driver::end_threads() {
    stopping_ = true;
    for (std::thread* thread : {&bus_, &rt_}) {
        if (thread->joinable()) {
            thread->join();
        }
    }
    link_.reset();
    awake_.reset();
    connected_ = false;
    loop_.release();
    running_ = false;
}

void Driver::arm() {
    const std::uint64_t before = loop_.published().counters.steps;
    const auto idle = [&](const Published& loop) {  // as of now, not as an earlier run left it
        return loop.state == State::idle && loop.feedback_ns >= 0 && loop.counters.steps > before;
    };
    if (!wait_for(idle, kSecond)) {
        const State state = loop_.published().state;
        throw Error(Error::Kind::arm, "the arm on " + port_ + " cannot be started", "an idle loop with feedback",
                    std::string("state ") + name(state),
                    state == State::fault  ? "see fault_cause in the snapshot, then clear()"
                    : state == State::idle ? "check the arm's power and cables"
                                           : "it is started already");
    }
    const Published found = loop_.published();
    refuse_astray(loop_.arm(), found.measured);
    order(Order::engage);
    loop_.start();
    const auto answered = [&](const Published& loop) {
        return loop.state != State::idle || loop.counters.starts_refused > found.counters.starts_refused;
    };
    if (!wait_for(answered, kSecond) || loop_.published().state == State::idle) {
        loop_.clear();                                           // or it would be ready when nobody waits any more
        refuse_astray(loop_.arm(), loop_.published().measured);  // it was moved there meanwhile
        throw Error(Error::Kind::arm, "the arm on " + port_ + " did not become ready", "feedback after torque on",
                    "none", "check the arm's power and cables");
    }
}

void Driver::halt(bool keep_torque) {
    if (!running()) {
        return;
    }
    loop_.retire();  // a chunk that came now would move the arm while torque goes off
    // From its highest speed a joint rests within max_velocity / max_acceleration, well under a second.
    const bool rests =
        wait_for([](const Published& loop) { return loop.state != State::running && loop.at_rest; }, 3 * kSecond);
    // The motors have to hear where it rests; the cycle that is under way may have begun before it did.
    const std::uint64_t cycles = bus_cycles_;
    wait_for([&](const Published&) { return bus_cycles_ >= cycles + 2 || !connected_; }, kSecond);
    if (!rests) {
        set_text(torque_text_, "not off: the arm did not come to rest");
    } else if (!keep_torque) {
        set_text(torque_text_, switch_off());
    } else if (engaged_) {
        set_text(torque_text_, "kept on");
    }
    loop_.clear();
    wait_for([](const Published& loop) { return loop.state == State::idle; }, kSecond);
    end_threads();
}

std::string Driver::switch_off() {
    try {
        order(Order::release);
    } catch (const Error& error) {  // the line is gone or a motor is silent: nothing more can be done from here
        return std::string("not off: ") + error.what() + ", " + error.got;
    }
    return "off";
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
    stats.step_mean_ns = step_times_.mean_ns();
    stats.step_max_ns = step_times_.max_ns();
    stats.deadline_misses = deadline_misses_.load(std::memory_order_relaxed);
    stats.bus_cycles = bus_cycles_.load(std::memory_order_relaxed);
    stats.bus_overruns = bus_overruns_.load(std::memory_order_relaxed);
    stats.log_dropped = log_.dropped();
    stats.page_faults = page_faults_.load(std::memory_order_relaxed);
    stats.connected = connected_;
    const std::lock_guard guard(mutex_);
    stats.link = link_text_;
    stats.torque = torque_text_;
    stats.realtime = realtime_text_;
    return stats;
}

}  // namespace edgearm
