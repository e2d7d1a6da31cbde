// Runs a control loop on an arm, with two threads:
//
//   real-time thread, every 1 ms      feedback box → ControlLoop::step → published state, log ring.
//                                     After start: no lock, no allocation, no I/O, no exception, no GIL.
//   bus thread, every 4 ms (250 Hz)   published command → ArmLink → feedback box. It alone owns the port, may wait for
//                                     it, and never makes the real-time thread wait.
//
// Steps that the machine left out are counted (deadline_misses) and not made up for; when they add up to
// LoopConfig::stall_ns in a row the loop holds (holds_stalled). Meanwhile no goal older than 20 ms is sent.
//
// A slow line therefore slows the bus, not the motion: the loop sees feedback age and acts on it (hold, then fault).
// When the port goes, the loop faults, and the bus thread tries to open it again with growing pauses; a port that came
// back is only listened to. No goal is sent before clear() and start(), which begins from the measured pose.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "arm_link.hpp"
#include "control_loop.hpp"
#include "duration_histogram.hpp"
#include "mailbox.hpp"
#include "realtime.hpp"

namespace edgearm {

struct DriverConfig {
    std::int64_t bus_period_ns = 4'000'000;     // not shorter than cycle_cost()
    std::int64_t reply_timeout_ns = 8'000'000;  // how long one bus cycle may wait for replies
    int priority = 80;                          // SCHED_FIFO of the loop; the bus thread has one less
    int cpu = -1;                               // the loop's core, -1: any
    bool lock_memory = true;
    bool keep_torque = false;      // after stop()
    std::uint32_t log_every = 10;  // one log sample every so many steps
};

struct LogSample {
    std::int64_t time_ns = 0;
    Joints measured{};
    Joints commanded{};
    std::uint64_t chunk_id = 0;
    std::uint8_t state = 0;
    std::array<std::uint8_t, 7> padding{};
};

struct DriverStats {
    std::uint64_t lateness_p50_ns = 0;
    std::uint64_t lateness_p99_ns = 0;
    std::uint64_t lateness_max_ns = 0;
    std::uint64_t step_mean_ns = 0;  // from waking to the published command
    std::uint64_t step_max_ns = 0;
    std::uint64_t deadline_misses = 0;
    std::uint64_t bus_cycles = 0;
    std::uint64_t bus_overruns = 0;
    std::uint64_t log_dropped = 0;
    std::uint64_t page_faults = 0;  // of the loop's thread since its first step
    bool connected = false;
    std::string link;      // why the port is not usable, empty while it is
    std::string torque;    // what was last done about it, see Driver
    std::string realtime;  // what was granted, or what to grant
};

// Torque, on every way out: the arm comes to rest first, and is never switched off while it moves.
//
//   stop()                      rest, then off; on, if keep_torque, or if it did not come to rest within 3 s
//   dropped without stop()      rest, then on: a program that failed must not drop what the arm holds up
//   start() that fails          motors that were off are off again, motors that were on stay on (once all are on: all,
//                               if one was); what a microcontroller has switched on by then stays on
//   fault, hold                 rest; on until stop()
//   link lost                   on at the last goal, after stop() too: nobody can be told, and a port that came back is
//                               only listened to until the next start()
//   the process dies            nothing is sent any more: the motors hold their last goal (Feetech), do whatever
//                               motor_timeout_s makes them do (Damiao), or are brought to rest by the microcontroller
//
// DriverStats::torque says which it was: "as found", "on", "off", "kept on", or "not off: " and the reason, after a
// lost link at once.
class Driver {
public:
    // `loop` must outlive the driver. Throws Error(config) for numbers that make no sense or that the link cannot
    // carry.
    Driver(ControlLoop& loop, std::string port, DriverConfig config);
    // Brings the arm to rest and leaves torque on.
    ~Driver();
    Driver(const Driver&) = delete;
    Driver& operator=(const Driver&) = delete;

    // Opens the port (unless it is open), switches torque on with the measured pose as goal, and waits until the loop
    // is ready. Throws Error: link, arm, a core that is closed to us, or the loop is in fault or already started.
    void start();
    // Comes to rest, switches torque off unless keep_torque, ends the threads and closes the port. Nothing when
    // stopped. Throws nothing: stats().torque says whether the motors confirmed it.
    void stop();

    bool running() const { return running_; }
    DriverStats stats() const;
    const LinkStats& link_stats() const { return link_stats_; }
    const DurationHistogram& lateness() const { return lateness_; }
    const DurationHistogram& step_times() const { return step_times_; }
    const ControlLoop& loop() const { return loop_; }
    const DriverConfig& config() const { return config_; }
    const std::string& port() const { return port_; }
    bool pop(LogSample& sample) noexcept { return log_.pop(sample); }

private:
    enum class Order { none, engage, release };

    void check_cpu() const;
    void launch();
    void begin_threads();
    void end_threads();
    void arm();
    void halt(bool keep_torque);
    std::string switch_off();
    std::string acquire_rights();
    void run_loop() noexcept;
    void run_bus() noexcept;
    void bus_cycle(std::int64_t now) noexcept;
    void obey() noexcept;
    void order(Order what);
    void lose_link(const std::string& reason) noexcept;
    void reconnect() noexcept;
    void set_text(std::string& text, const std::string& value);
    bool wait_for(const std::function<bool(const Published&)>& condition, std::int64_t timeout_ns) const;

    ControlLoop& loop_;
    const std::string port_;
    const DriverConfig config_;

    // Bus thread, once it runs.
    std::unique_ptr<ArmLink> link_;
    std::string reopen_as_;  // the adapter's lasting name
    std::int64_t retry_at_ns_ = 0;
    std::int64_t retry_pause_ns_ = 0;

    // Between the threads.
    TripleBuffer<Joints> feedback_;
    SpscRing<LogSample, 8192> log_;
    LinkStats link_stats_;
    DurationHistogram lateness_;
    DurationHistogram step_times_;
    std::atomic<std::uint64_t> deadline_misses_{0};
    std::atomic<std::uint64_t> page_faults_{0};
    std::atomic<std::uint64_t> bus_cycles_{0};
    std::atomic<std::uint64_t> bus_overruns_{0};
    std::atomic<bool> running_{false};
    std::atomic<bool> connected_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<bool> engaged_{false};      // written by the bus thread
    std::atomic<bool> held_before_{false};  // ArmLink::held_before(), of that engage()
    std::atomic<bool> lost_{false};         // the link went while engaged; until the next engage()

    // Between the bus thread, which takes it only when it has something to tell, and callers; the real-time thread
    // never does.
    mutable std::mutex mutex_;
    std::condition_variable answered_;
    std::atomic<Order> order_{Order::none};  // written under it, so that an answer is not missed
    std::exception_ptr refusal_;
    std::string link_text_;
    std::string torque_text_ = "as found";
    std::string realtime_text_ = "not started";

    std::mutex lifecycle_;  // start and stop, one at a time
    std::unique_ptr<AwakeCores> awake_;
    std::thread rt_;
    std::thread bus_;
};

}  // namespace edgearm
