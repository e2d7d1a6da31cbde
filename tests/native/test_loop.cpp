#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "allocations.hpp"
#include "control_loop.hpp"
#include "emulated.hpp"
#include "realtime.hpp"
#include "toy_arm.hpp"

using namespace edgearm;

namespace {

constexpr std::int64_t kStep = 1'000'000;

Chunk line(std::int64_t start_ns, double from, double step) {
    Chunk chunk;
    chunk.horizon = 16;
    chunk.start_ns = start_ns;
    chunk.period_ns = 50 * kStep;
    for (std::size_t knot = 0; knot < chunk.horizon; ++knot) {
        chunk.joints[knot].fill(from + step * static_cast<double>(knot + 1));
    }
    return chunk;
}

// Steps a loop without pause, on a thread of its own, with an arm that is where it was commanded to be.
class Stepper {
public:
    explicit Stepper(ControlLoop& loop)
        : thread_([this, &loop] {
              Joints measured{};
              for (std::int64_t now = 0; !done_; now += kStep) {
                  measured = loop.step(now, &measured).joints;
              }
          }) {}

    void end() {
        done_ = true;
        thread_.join();
    }

private:
    std::atomic<bool> done_{false};
    std::thread thread_;
};

}  // namespace

TEST_CASE("a hundred thousand steps, whatever they do, allocate nothing and touch no new page") {
    ControlLoop loop(test::toy_arm(), {});
    std::uint64_t allocated = 0;
    std::uint64_t page_faults = 0;
    Joints measured{};
    std::int64_t now = 0;
    const auto step = [&](const Joints* feedback) {
        const std::uint64_t before = test::allocations_here();
        measured = loop.step(now += kStep, feedback).joints;
        allocated += test::allocations_here() - before;
    };
    // Chunks arrive, one in five is refused, targets run out, feedback goes and comes back, steps are left out, the
    // watchdog bites, and the arm is started again.
    const auto live = [&](int steps) {
        const std::uint64_t before = thread_page_faults();
        for (int i = 0; i < steps; ++i) {
            if (i % 10'000 == 0) {
                loop.clear();
                loop.start();
            }
            if (i % 50 == 0 && i % 10'000 < 6'000) {
                const double wave = 0.02 * std::sin(i * 1e-3);
                loop.offer(line(now, measured[0], i % 250 == 0 ? 9.0 : wave));
            }
            const bool silent = (i % 1'000 > 950 && i % 1'000 < 980) || i % 10'000 > 9'000;
            now += i % 3'000 == 0 ? 30 * kStep : 0;
            step(silent ? nullptr : &measured);
        }
        page_faults += thread_page_faults() - before;
    };
    step(&measured);
    live(20'000);  // everything has happened once
    page_faults = 0;
    live(100'000);
    CHECK(allocated == 0);
    CHECK((test::kSanitized || test::emulated() || page_faults == 0));
    const Counters counters = loop.published().counters;
    CHECK(counters.chunks_taken > 500);
    CHECK(counters.holds_feedback > 10);
    CHECK(counters.holds_out_of_targets > 5);
    CHECK(counters.holds_stalled > 5);
    CHECK(counters.faults > 5);
}

TEST_CASE("offers, holds and snapshots race with the steps") {
    ControlLoop loop(test::toy_arm(), {});
    Stepper stepper(loop);
    loop.start();
    // Until enough of them met a step: on a busy machine the stepper may begin after the first 2000.
    for (int i = 0; i < 2000 || loop.published().counters.chunks_taken < 20; ++i) {
        const Published seen = loop.published();
        loop.offer(line(seen.now_ns, seen.commanded[0], 0.001));
        if (i % 100 == 0) {
            loop.hold();
        }
    }
    stepper.end();
    const Published seen = loop.published();
    CHECK(seen.counters.faults == 0);
    CHECK(seen.counters.chunks_taken >= 20);
    for (std::size_t i = 0; i < kJoints; ++i) {
        const safety_physical& limits = loop.arm().limits()[i];
        CHECK(std::abs(seen.velocity[i]) <= limits.max_velocity);
        CHECK(seen.commanded[i] >= limits.lower);
        CHECK(seen.commanded[i] <= limits.upper);
    }
}

TEST_CASE("an arm that stands where nothing can be counted is not armed, and may be once it is back") {
    ControlLoop loop(test::toy_arm(), {});
    Joints measured{};
    measured[5] = 314;  // a gripper whose calibrated range is too small
    loop.start();
    const Command command = loop.step(kStep, &measured);
    CHECK(command.state == State::idle);
    CHECK(command.joints == measured);
    CHECK(loop.published().counters.starts_refused == 1);
    CHECK(loop.published().counters.faults == 0);
    measured[5] = 1;
    CHECK(loop.step(2 * kStep, &measured).state == State::idle);  // the start is over
    loop.start();
    CHECK(loop.step(3 * kStep, &measured).state == State::ready);
    CHECK(loop.published().commanded == measured);
}

TEST_CASE("a loop that retires holds and takes no chunk before it is started anew") {
    ControlLoop loop(test::toy_arm(), {});
    Joints measured{};
    std::int64_t now = 0;
    const auto steps = [&](int count) {
        for (int i = 0; i < count; ++i) {
            measured = loop.step(now += kStep, &measured).joints;
        }
    };
    const auto offered = [&] { return loop.offer(line(now, measured[0], 0.02)); };
    loop.start();
    steps(1);
    REQUIRE(offered().chunk_id != 0);
    steps(200);
    REQUIRE(loop.published().state == State::running);
    loop.retire();
    CHECK(offered().verdict.refusal == Refusal::idle);
    steps(500);
    CHECK(loop.published().state == State::hold);
    CHECK(loop.published().at_rest);
    CHECK(offered().verdict.refusal == Refusal::idle);
    loop.clear();
    loop.start();
    steps(1);
    CHECK(offered().chunk_id != 0);
}

TEST_CASE("clear takes back a start that still waits for feedback, and not one that comes after it") {
    const Joints measured{};
    for (const int steps_between : {0, 1}) {
        CAPTURE(steps_between);
        ControlLoop loop(test::toy_arm(), {});
        std::int64_t now = 0;
        const auto pause = [&] {
            for (int i = 0; i < steps_between; ++i) {
                loop.step(now += kStep, nullptr);
            }
        };
        loop.start();
        pause();
        loop.clear();
        pause();
        CHECK(loop.step(now += kStep, &measured).state == State::idle);
        CHECK(loop.step(now += kStep, &measured).state == State::idle);
        loop.start();
        loop.clear();
        loop.start();
        CHECK(loop.step(now += kStep, &measured).state == State::ready);
    }
}

TEST_CASE("no accepted chunk is lost when it comes right after a hold, wherever the step is") {
    ControlLoop loop(test::toy_arm(), {});
    Stepper stepper(loop);
    loop.start();
    const auto seen = [&] {
        const Counters counters = loop.published().counters;
        return counters.chunks_taken + counters.chunks_refused;
    };
    int lost = 0;
    for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t before = seen();
        loop.hold();
        const Published now = loop.published();
        if (loop.offer(line(now.now_ns, now.commanded[0], 0.001)).chunk_id == 0) {
            continue;
        }
        const std::uint64_t last = loop.published().counters.steps + 3;
        while (seen() == before && loop.published().counters.steps <= last) {
        }
        lost += seen() == before ? 1 : 0;
    }
    stepper.end();
    CHECK(loop.published().counters.chunks_taken > 0);
    CHECK(lost == 0);
}

TEST_CASE("chunks whose times cannot be added up are refused, and so is everything near them") {
    constexpr std::int64_t kSecond = 1'000'000'000;
    constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    ControlLoop loop(test::toy_arm(), {});
    const Joints measured{};
    loop.start();
    const std::int64_t now = 7'200 * kSecond;
    loop.step(now, &measured);
    const auto refusal = [&](std::int64_t start_ns, std::int64_t period_ns) {
        Chunk chunk = line(start_ns, 0, 0.01);
        chunk.period_ns = period_ns;
        return loop.offer(chunk).verdict.refusal;
    };
    CHECK(refusal(now, std::int64_t{1} << 59) == Refusal::period);
    CHECK(refusal(now, kMost) == Refusal::period);
    CHECK(refusal(now, 10 * kSecond + 1) == Refusal::period);
    CHECK(refusal(now, kLeast) == Refusal::period);
    CHECK(refusal(kLeast, 50 * kStep) == Refusal::expired);
    CHECK(refusal(now - 3'600 * kSecond - 1, 50 * kStep) == Refusal::expired);
    CHECK(refusal(now - 3'600 * kSecond, 50 * kStep) == Refusal::expired);
    CHECK(refusal(kMost, 50 * kStep) == Refusal::future);
    CHECK(refusal(now, 10 * kSecond) == Refusal::none);
}

TEST_CASE("a loop belongs to one driver at a time") {
    ControlLoop loop(test::toy_arm(), {});
    loop.claim();
    CHECK_THROWS(loop.claim());
    CHECK_THROWS(loop.require_unclaimed());
    loop.release();
    CHECK_NOTHROW(loop.require_unclaimed());
}
