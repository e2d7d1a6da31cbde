// The driver's own threads on a pty. Under TSan this proves that they share nothing by accident; everywhere it proves
// what they send, and that they allocate nothing. It waits for what must happen, however long that takes.
#include <doctest/doctest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <thread>

#include "allocations.hpp"
#include "driver.hpp"
#include "emulated.hpp"
#include "error.hpp"
#include "feetech_arm.hpp"
#include "servo_bus.hpp"
#include "toy_arm.hpp"

using namespace edgearm;
using test::Ticks;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr Ticks kOn{1, 1, 1, 1, 1, 1};
constexpr Ticks kOff{};

// Patient with a busy machine.
LoopConfig patient() {
    LoopConfig config;
    config.feedback_timeout_ns = 5'000 * kMillisecond;
    config.watchdog_ns = 10'000 * kMillisecond;
    config.stall_ns = 5'000 * kMillisecond;
    return config;
}

void eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 60'000; ++i) {
        if (condition()) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL("it never came to that");
}

void offer_move(ControlLoop& loop, double step) {
    const Published seen = loop.published();
    Chunk chunk;
    chunk.horizon = 16;
    chunk.start_ns = seen.now_ns;
    chunk.period_ns = 50 * kMillisecond;
    for (std::size_t knot = 0; knot < chunk.horizon; ++knot) {
        chunk.joints[knot] = seen.commanded;
        chunk.joints[knot][0] += step * static_cast<double>(knot + 1);
    }
    loop.offer(chunk);
}

// A name that stays while ptys come and go, as udev gives to an adapter.
class StableName {
public:
    StableName() : path_(std::filesystem::temp_directory_path() / ("edgearm-" + std::to_string(::getpid()))) {}
    ~StableName() { std::filesystem::remove(path_); }

    void point_at(const std::string& port) {
        std::filesystem::remove(path_);
        std::filesystem::create_symlink(port, path_);
    }
    std::string path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace

TEST_CASE("driver: once it runs, neither thread allocates and the loop's thread touches no new page") {
    test::excuse_this_thread();
    test::ServoBus servos;
    ControlLoop loop(test::toy_arm(), patient());
    Driver driver(loop, servos.port(), {});
    driver.start();
    const std::uint64_t first = loop.published().counters.steps;
    const std::uint64_t allocated = test::allocations();
    double step = 0.004;
    std::uint64_t next = first;
    eventually([&] {
        const std::uint64_t steps = loop.published().counters.steps;
        if (steps >= next) {
            offer_move(loop, step);
            step = -step;
            next += 200;
        }
        return steps >= first + 3'000 && servos.goals().size() > 200;
    });
    CHECK(test::allocations() == allocated);
    CHECK((test::kSanitized || test::emulated() || driver.stats().page_faults == 0));
    CHECK(loop.published().counters.chunks_taken >= 5);
    driver.stop();
    CHECK(servos.torque() == kOff);
}

TEST_CASE("driver: a port that goes and comes back, with readers at every border all the while") {
    StableName name;
    auto servos = std::make_unique<test::ServoBus>();
    name.point_at(servos->port());
    ControlLoop loop(test::toy_arm(), patient());
    Driver driver(loop, name.path(), {});
    driver.start();
    CHECK(servos->torque() == kOn);

    std::atomic<bool> done{false};
    std::thread reader([&] {
        LogSample sample;
        while (!done) {
            driver.stats();
            driver.running();
            loop.published();
            loop.fault_log();
            while (driver.pop(sample)) {
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    offer_move(loop, 0.02);
    eventually([&] { return servos->goals().size() > 10 && servos->goals().back()[0] > 2048 + 20; });
    servos.reset();
    eventually([&] { return loop.published().state == State::fault && loop.published().at_rest; });
    CHECK(loop.published().fault_cause == FaultCause::link);
    CHECK(driver.stats().link.find("is gone") != std::string::npos);

    const Ticks elsewhere{1900, 1900, 1900, 1900, 1900, 1900};
    servos = std::make_unique<test::ServoBus>(elsewhere);
    name.point_at(servos->port());
    eventually([&] { return driver.stats().connected; });
    const std::uint64_t cycles = driver.stats().bus_cycles;
    eventually([&] { return driver.stats().bus_cycles > cycles + 20; });
    CHECK(servos->goals().empty());  // old commands are never replayed
    CHECK(servos->torque() == kOff);
    CHECK(loop.fault_log().size() > 10);

    loop.clear();
    driver.start();
    CHECK(servos->torque() == kOn);
    eventually([&] { return servos->goals().size() > 10; });
    for (const Ticks& goals : servos->goals()) {
        CHECK(goals == elsewhere);
    }
    driver.stop();
    done = true;
    reader.join();
}

TEST_CASE("driver: from the beginning of stop() no chunk is accepted, however long it takes") {
    test::ServoBus servos;
    ControlLoop loop(test::toy_arm(), patient());
    Driver driver(loop, servos.port(), {});
    driver.start();
    offer_move(loop, 0.02);
    eventually([&] { return std::abs(loop.published().velocity[0]) > 0.1; });
    std::atomic<bool> done{false};
    std::atomic<int> accepted{0};
    std::thread policy([&] {
        while (!done) {
            const bool holds = loop.published().hold_cause == HoldCause::requested;
            Chunk chunk = test::leaving(loop.published().commanded, loop.published().now_ns, 0.02, 16, 0.1);
            accepted += loop.offer(chunk).chunk_id != 0 && holds ? 1 : 0;
        }
    });
    driver.stop();
    done = true;
    policy.join();
    CHECK(accepted == 0);
    CHECK(servos.torque() == kOff);
}

TEST_CASE("driver: a start that fails with torque on leaves on what was on, and off what was off") {
    for (const bool held : {true, false}) {
        CAPTURE(held);
        test::ServoBus servos;
        if (held) {
            servos.hold();
        }
        ControlLoop loop(test::toy_arm(), patient());
        DriverConfig config;
        std::atomic<bool> done{false};
        std::thread canceller([&] {  // nearly every start of the loop is taken back before the next step
            while (!done) {
                loop.clear();
            }
        });
        bool failed = false;
        for (int i = 0; i < 100 && !failed; ++i) {
            Driver driver(loop, servos.port(), config);
            try {
                driver.start();
                if (!held) {
                    driver.stop();
                }
            } catch (const Error& error) {
                failed = std::string(error.what()).find("did not become ready") != std::string::npos;
                CHECK(driver.stats().torque == (held ? "kept on" : "off"));
            }
        }
        done = true;
        canceller.join();
        CHECK(failed);
        CHECK(servos.torque() == (held ? kOn : kOff));
    }
}

// Stacks of this size fit into the process so many times.
class FewThreads {
public:
    explicit FewThreads(std::uint64_t count) {
        ::pthread_getattr_default_np(&attributes_);
        pthread_attr_t large{};
        ::pthread_attr_init(&large);
        ::pthread_attr_setstacksize(&large, kStack);
        ::pthread_setattr_default_np(&large);
        std::uint64_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        ::getrlimit(RLIMIT_AS, &memory_);
        const rlimit few{pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + count * kStack + kStack / 2,
                         memory_.rlim_max};
        ::setrlimit(RLIMIT_AS, &few);
    }
    ~FewThreads() {
        ::setrlimit(RLIMIT_AS, &memory_);
        ::pthread_setattr_default_np(&attributes_);
    }
    FewThreads(const FewThreads&) = delete;
    FewThreads& operator=(const FewThreads&) = delete;

private:
    static constexpr std::uint64_t kStack = std::uint64_t{1} << 30;  // more than what is kept of ended threads
    pthread_attr_t attributes_{};
    rlimit memory_{};
};

TEST_CASE("driver: a thread that cannot be made leaves the port closed and the loop free") {
    if (test::kSanitized || test::emulated()) {
        return;  // their own threads and memory come under the same limit
    }
    for (const std::uint64_t count : {0u, 1u}) {
        CAPTURE(count);
        test::ServoBus servos;
        ControlLoop loop(test::toy_arm(), patient());
        Driver driver(loop, servos.port(), {});
        {
            const FewThreads few(count);
            CHECK_THROWS_WITH_AS(driver.start(), "a thread for the arm cannot be made", Error);
        }
        CHECK(!driver.running());
        CHECK(!driver.stats().connected);
        CHECK_NOTHROW(loop.require_unclaimed());
        driver.start();
        CHECK(servos.torque() == kOn);
        driver.stop();
    }
}

TEST_CASE("driver: a joint that stands where it cannot be held is named before anything is switched on") {
    test::ServoBus servos({2048, 2048, 2048, 2048, 2048, 3000});
    ArmSpec spec = test::toy_arm().spec();
    spec.joints[5].lower = -0.002;  // 952 ticks away are 1.46 rad: 365 times its way
    spec.joints[5].upper = 0.002;
    spec.joints[5].max_velocity = 0.01;
    spec.joints[5].max_acceleration = 0.1;
    spec.joints[5].max_jerk = 10;
    ControlLoop loop(Arm(spec), patient());
    Driver driver(loop, servos.port(), {});
    try {
        driver.start();
        FAIL("it started");
    } catch (const Error& error) {
        CHECK(error.kind == Error::Kind::arm);
        CHECK(std::string(error.what()) == "joint joint5 is where it cannot be held");
        CHECK(error.got.substr(0, 3) == "365");
    }
    CHECK(!driver.running());
    CHECK(loop.published().state == State::idle);
    CHECK(servos.goals().empty());
    CHECK(servos.torque() == kOff);
    servos.place(5, 2048);
    driver.start();
    CHECK(servos.torque() == kOn);
    driver.stop();
}

TEST_CASE("driver: what a machine or a link cannot do is refused before anything is opened") {
    ControlLoop loop(test::toy_arm(), {});
    const auto refusal = [&](DriverConfig config) -> std::string {
        try {
            Driver(loop, "/dev/null", config);
        } catch (const Error& error) {
            CHECK(error.kind == Error::Kind::config);
            return error.what() + (": " + error.expected) + ": " + error.got;
        }
        return "";
    };
    DriverConfig config;
    CHECK(refusal(config).empty());
    config.bus_period_ns = FeetechArm::kCycleNs;
    CHECK(refusal(config).empty());
    config.bus_period_ns -= 1;
    CHECK(refusal(config) ==
          "driver configuration: the link cannot carry this bus rate: bus_period_ns of at least 880000: goals and "
          "positions are 88 bytes a cycle at 1 Mbps: bus_period_ns 879999");
    config = {};
    config.cpu = cpu_count();
    CHECK(refusal(config).find("cpu cannot be used") != std::string::npos);
    config.cpu = cpu_count() - 1;
    CHECK(refusal(config).empty());
}
