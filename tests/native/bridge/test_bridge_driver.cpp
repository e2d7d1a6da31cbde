// The driver's two threads on an arm behind a microcontroller, with readers beside them: for the thread sanitizer, too.
// The firmware is served on a pty by a thread that gives it a millisecond of its clock for five of ours.
#include <doctest/doctest.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "driver.hpp"
#include "firmware_line.hpp"
#include "link/pty.hpp"

using namespace edgearm;
using test::Machine;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

class Served {
public:
    explicit Served(Machine& machine) : machine_(machine), slave_(::open(pty_.path().c_str(), O_RDWR | O_NOCTTY)) {
        termios settings{};
        ::tcgetattr(slave_, &settings);
        ::cfmakeraw(&settings);
        ::tcsetattr(slave_, TCSANOW, &settings);
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
        while (!ending_) {
            pollfd waiting{pty_.master(), POLLIN, 0};
            if (::poll(&waiting, 1, 5) > 0) {
                const ssize_t got = ::read(pty_.master(), bytes.data(), bytes.size());
                machine_.up.push(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
                machine_.run(200);
            } else {
                machine_.run(1000);
            }
            const std::size_t count = machine_.down.pull(bytes.data(), bytes.size());
            if (count > 0 && ::write(pty_.master(), bytes.data(), count) < 0) {
                return;
            }
        }
    }

    Machine& machine_;
    test::Pty pty_;
    int slave_;  // kept open, so that a client may come and go
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

    std::atomic<bool> looking{true};
    std::thread reader([&] {
        while (looking) {
            const LinkStats& stats = driver.link_stats();
            (void)describe_controller(arm, stats.controller);
            (void)describe_error(arm, stats.errors[0]);
            (void)driver.stats();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
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
    looking = false;
    reader.join();
    served.end();
    CHECK(!machine.any_torque());
    CHECK(machine.goals(0).back() == arm.to_ticks(0, goal));
    CHECK(goal > from[0] + 0.05);
}
