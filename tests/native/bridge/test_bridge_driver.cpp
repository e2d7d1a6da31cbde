// The driver's two threads on an arm behind a microcontroller, with readers beside them: for the thread sanitizer, too.
// The firmware is served on a pty by a thread whose clock waits for a driver that a busy machine keeps from its turn.
#include <doctest/doctest.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "driver.hpp"
#include "firmware_line.hpp"
#include "link/pty.hpp"

using namespace edgearm;
using test::Machine;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::uint32_t kSliceUs = 1'000;
constexpr std::uint32_t kPatienceUs = 8'000;  // two states, which the driver will answer

class Served {
public:
    explicit Served(Machine& machine) : machine_(machine), slave_(::open(pty_.path().c_str(), O_RDWR | O_NOCTTY)) {
        termios settings{};
        ::tcgetattr(slave_, &settings);
        ::cfmakeraw(&settings);
        ::tcsetattr(slave_, TCSANOW, &settings);
        ::fcntl(pty_.master(), F_SETFL, O_NONBLOCK);
        thread_ = std::thread(&Served::serve, this);
    }
    ~Served() { end(); }
    Served(const Served&) = delete;
    Served& operator=(const Served&) = delete;

    const std::string& port() const { return pty_.path(); }
    // The machine is the test's again.
    void end() {
        ending_ = true;
        if (thread_.joinable()) {
            thread_.join();
            ::close(slave_);
        }
    }

private:
    void serve() {
        std::array<std::uint8_t, 512> bytes{};
        std::uint32_t unheard_us = 0;
        while (!ending_) {
            pollfd waiting{pty_.master(), POLLIN, 0};
            if (::poll(&waiting, 1, 2) > 0) {
                const ssize_t got = ::read(pty_.master(), bytes.data(), bytes.size());
                machine_.up.push(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
                unheard_us = 0;
            }
            const bool armed = machine_.gate().arm == BRIDGE_READY || machine_.gate().arm == BRIDGE_RUNNING;
            if (armed && unheard_us >= kPatienceUs) {
                continue;
            }
            machine_.run(kSliceUs);
            unheard_us += kSliceUs;
            const std::size_t count = machine_.down.pull(bytes.data(), bytes.size());
            (void)!::write(pty_.master(), bytes.data(), count);  // when nobody reads, it is lost, as on any line
        }
    }

    Machine& machine_;
    test::Pty pty_;
    int slave_;  // kept open, so that a client may come and go
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

// Reads, as long as it is there, what any thread may read.
class Onlooker {
public:
    Onlooker(const Driver& driver, const Arm& arm)
        : thread_([this, &driver, &arm] {
              while (!ending_) {
                  (void)describe_controller(arm, driver.link_stats().controller);
                  (void)describe_error(arm, driver.link_stats().errors[0]);
                  (void)driver.stats();
                  std::this_thread::sleep_for(std::chrono::milliseconds(1));
              }
          }) {}
    ~Onlooker() {
        ending_ = true;
        thread_.join();
    }
    Onlooker(const Onlooker&) = delete;
    Onlooker& operator=(const Onlooker&) = delete;

private:
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

}  // namespace

TEST_CASE("the driver moves an arm behind a microcontroller and releases it at rest, whoever looks on") {
    Machine machine;
    Served served(machine);
    const Arm arm = test::so101();
    LoopConfig patient;
    patient.feedback_timeout_ns = 2'000 * kMillisecond;
    patient.watchdog_ns = 4'000 * kMillisecond;
    patient.stall_ns = 5'000 * kMillisecond;
    ControlLoop loop(arm, patient);
    DriverConfig config;
    config.reply_timeout_ns = 1'000 * kMillisecond;
    Driver driver(loop, served.port(), config);

    const Onlooker onlooker(driver, arm);
    driver.start();
    CHECK(driver.stats().torque == "on");
    const Joints from = loop.published().commanded;
    Chunk chunk;
    chunk.horizon = 6;
    chunk.start_ns = monotonic_ns();
    chunk.period_ns = 50 * kMillisecond;
    for (std::size_t knot = 0; knot < chunk.horizon; ++knot) {
        chunk.joints[knot] = from;
        chunk.joints[knot][0] += 0.02 * static_cast<double>(knot + 1);
    }
    REQUIRE(loop.offer(chunk).chunk_id != 0);
    // The firmware's clock is behind ours, so it arrives later than the loop, and from a target that stops too
    // suddenly.
    const auto arrived = [&] {
        const Published seen = loop.published();
        return seen.state == State::hold && seen.at_rest && std::abs(seen.measured[0] - seen.commanded[0]) < 0.001;
    };
    int settled = 0;
    for (int i = 0; i < 2000 && settled < 20; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        settled = arrived() ? settled + 1 : 0;
    }
    CHECK(settled == 20);
    const double goal = loop.published().commanded[0];
    driver.stop();
    CHECK(driver.stats().torque == "off");
    served.end();
    CHECK(!machine.any_torque());
    CHECK(machine.goals(0).back() == arm.to_ticks(0, goal));
    CHECK(goal > from[0] + 0.05);
}
