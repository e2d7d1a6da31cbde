#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include "control_loop.hpp"
#include "toy_arm.hpp"

namespace {

std::atomic<std::uint64_t> allocations{0};

}  // namespace

// Every allocation of this program is counted, to show that a step makes none.
void* operator new(std::size_t size) {
    allocations += 1;
    if (void* memory = std::malloc(size)) {
        return memory;
    }
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

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

}  // namespace

TEST_CASE("a step allocates nothing, whatever it does") {
    ControlLoop loop(test::toy_arm(), {});
    const Joints rest{};
    std::int64_t now = 0;
    loop.start();
    loop.step(now, &rest);
    REQUIRE(loop.offer(line(now, 0, 0.02)).verdict);
    const std::uint64_t before = allocations;
    for (int i = 0; i < 1500; ++i) {  // follows the chunk, runs out, loses feedback, faults
        now += kStep;
        loop.step(now, i < 1000 ? &rest : nullptr);
    }
    CHECK(allocations == before);
    CHECK(loop.published().state == State::fault);
    CHECK(loop.published().counters.holds_out_of_targets == 1);
}

TEST_CASE("offers, holds and snapshots race with the steps") {
    ControlLoop loop(test::toy_arm(), {});
    std::atomic<bool> done{false};
    std::thread stepper([&] {
        Joints measured{};
        for (std::int64_t now = 0; !done; now += kStep) {
            measured = loop.step(now, &measured).joints;
        }
    });
    loop.start();
    // Until enough of them met a step: on a busy machine the stepper may begin after the first 2000.
    for (int i = 0; i < 2000 || loop.published().counters.chunks_taken < 20; ++i) {
        const Published seen = loop.published();
        loop.offer(line(seen.now_ns, seen.commanded[0], 0.001));
        if (i % 100 == 0) {
            loop.hold();
        }
    }
    done = true;
    stepper.join();
    const Published seen = loop.published();
    CHECK(seen.counters.faults == 0);
    CHECK(seen.counters.chunks_taken >= 20);
    for (const limiter_limits& limits : loop.arm().limits()) {
        const std::size_t i = static_cast<std::size_t>(&limits - loop.arm().limits().data());
        const limiter_state joint{seen.commanded[i], seen.velocity[i]};
        CHECK(limiter_admissible(&limits, &joint));
    }
}

TEST_CASE("a loop belongs to one driver at a time") {
    ControlLoop loop(test::toy_arm(), {});
    loop.claim();
    CHECK_THROWS(loop.claim());
    CHECK_THROWS(loop.require_unclaimed());
    loop.release();
    CHECK_NOTHROW(loop.require_unclaimed());
}
