#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "control_loop.hpp"
#include "toy_arm.hpp"

using namespace edgearm;

namespace {

FaultSample at(std::int64_t time_ns) {
    FaultSample sample;
    sample.time_ns = time_ns;
    return sample;
}

}  // namespace

TEST_CASE("a fault log keeps the last steps in order, and nothing after it was frozen") {
    FaultLog log;
    CHECK(log.read().empty());
    const auto steps = static_cast<std::int64_t>(FaultLog::kSteps);
    for (std::int64_t i = 0; i < steps + 100; ++i) {
        log.record(at(i));
    }
    CHECK(log.read().empty());  // still being written
    log.freeze();
    log.record(at(-1));
    for (int again = 0; again < 2; ++again) {
        const auto samples = log.read();
        REQUIRE(samples.size() == FaultLog::kSteps);
        for (std::size_t i = 0; i < samples.size(); ++i) {
            REQUIRE(samples[i].time_ns == static_cast<std::int64_t>(i) + 100);
        }
    }
    log.resume();
    log.record(at(7));
    CHECK(log.read().empty());
    log.freeze();
    CHECK(log.read().size() == 1);
}

TEST_CASE("reading a frozen log races with its resumption and stays whole") {
    FaultLog log;
    std::atomic<bool> done{false};
    std::thread stepping([&] {
        for (std::int64_t round = 0; !done; ++round) {
            log.resume();
            for (int i = 0; i < 50; ++i) {
                log.record(at(round));
            }
            log.freeze();
            std::this_thread::yield();
        }
    });
    int read = 0;
    bool whole = true;
    while (read < 200) {
        const auto samples = log.read();
        read += samples.empty() ? 0 : 1;
        for (const FaultSample& sample : samples) {
            whole = whole && sample.time_ns == samples[0].time_ns;
        }
        if (samples.empty()) {
            std::this_thread::yield();
        }
    }
    done = true;
    stepping.join();
    CHECK(whole);
}

TEST_CASE("a fault is told from the last seconds before it until the arm rests") {
    constexpr std::int64_t kStep = 1'000'000;
    ControlLoop loop(test::toy_arm(), {});
    Joints measured{};
    std::int64_t now = 0;
    const auto steps = [&](int count, bool feedback) {
        for (int i = 0; i < count; ++i) {
            measured = loop.step(now += kStep, feedback ? &measured : nullptr).joints;
        }
    };
    const auto move = [&] {
        Chunk chunk;
        chunk.horizon = 64;
        chunk.start_ns = now;
        chunk.period_ns = 50 * kStep;
        for (std::size_t knot = 0; knot < chunk.horizon; ++knot) {
            chunk.joints[knot].fill(measured[0] + 0.01 * static_cast<double>(knot + 1));
        }
        REQUIRE(loop.offer(chunk).verdict);
    };
    loop.start();
    steps(3'000, true);
    move();
    steps(500, true);
    CHECK(loop.fault_log().empty());
    loop.fail(FaultCause::link);
    steps(300, true);

    const auto log = loop.fault_log();
    REQUIRE(log.size() == FaultLog::kSteps);
    std::size_t first = 0;
    for (std::size_t i = 0; i < log.size(); ++i) {
        if (i > 0) {
            REQUIRE(log[i].time_ns == log[i - 1].time_ns + kStep);
        }
        if (first == 0 && log[i].state == static_cast<std::uint8_t>(State::fault)) {
            first = i;
        }
    }
    REQUIRE(first > 1'500);
    CHECK(log[first - 1].state == static_cast<std::uint8_t>(State::running));
    CHECK(log[first - 1].velocity[0] > 0.1);
    CHECK(log[first - 1].chunk_id == 1);
    CHECK(log[first].fault_cause == static_cast<std::uint8_t>(FaultCause::link));
    CHECK(log.back().velocity == Joints{});
    CHECK(log.back().commanded == loop.published().commanded);

    SUBCASE("clear keeps it, start begins a new one") {
        loop.clear();
        steps(10, true);
        CHECK(loop.fault_log().size() == log.size());
        loop.start();
        steps(10, true);
        CHECK(loop.fault_log().empty());
        move();
        steps(300, true);
        loop.fail(FaultCause::link);
        steps(300, true);
        const auto second = loop.fault_log();
        CHECK(second.size() < 400);
        CHECK(second.front().time_ns > log.back().time_ns);
    }
    SUBCASE("a second cause changes nothing") {
        loop.fail(FaultCause::watchdog);
        steps(300, true);
        CHECK(loop.fault_log().size() == log.size());
        CHECK(loop.published().fault_cause == FaultCause::link);
    }
}
