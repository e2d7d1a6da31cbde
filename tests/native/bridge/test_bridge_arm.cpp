// The loop through a microcontroller: motion, and everything that ends it.
#include "allocations.hpp"
#include "bridge_bench.hpp"

using namespace edgearm;
using namespace edgearm::test;

TEST_CASE("motion follows the loop within the limits") {
    Bench bench;
    CHECK(bench.machine.torque());
    for (std::size_t servo = 0; servo < kJoints; ++servo) {
        for (const int goal : bench.machine.goals(servo)) {
            CHECK(goal == 2048);
        }
    }
    REQUIRE(bench.move(0.05));
    bench.cycles(400);
    const Published seen = bench.loop.published();
    CHECK(seen.state == State::hold);
    CHECK(seen.commanded[0] > 0.7);
    for (std::size_t i = 0; i < kJoints; ++i) {
        CHECK(bench.machine.goals(i).back() == bench.arm.to_ticks(i, seen.commanded[i]));
        CHECK(seen.measured[i] == doctest::Approx(seen.commanded[i]).epsilon(0.01));
    }
    CHECK(seen.counters.holds_feedback == 0);
    CHECK(bench.stats.exchanges >= 400);
    CHECK(bench.controller().empty());
    check_limits(bench.machine);
}

TEST_CASE("a moving joint trails the loop by no more than two ticks") {
    Bench bench;
    bench.in_motion();
    for (int i = 0; i < 20; ++i) {
        bench.cycles(1);
        const Published seen = bench.loop.published();
        const double goal = bench.arm.from_ticks(0, bench.machine.goals(0).back());
        const double speed = seen.velocity[0];
        CHECK(std::abs(seen.commanded[0] - goal) <= std::abs(speed) * 2 * kTickUs * 1e-6 + 0.002);
    }
}

TEST_CASE("a computer that dies stops the arm within 20 ms, and it holds") {
    Bench bench;
    bench.in_motion();
    bench.machine.run(20'000);
    CHECK(bench.machine.gate().arm != BRIDGE_RUNNING);
    bench.machine.run(600'000);
    CHECK(bench.machine.gate().arm == BRIDGE_STOPPED);
    CHECK(bench.machine.gate().faults == BRIDGE_FAULT_EXPIRED);
    CHECK(bench.machine.torque());
    const std::size_t from = bench.written();
    bench.machine.run(400'000);
    CHECK(bench.machine.told(from) == 0);
    check_limits(bench.machine);
}

TEST_CASE("a computer that comes back finds the arm stopped and sends nothing until it is told to start") {
    Bench bench;
    bench.in_motion();
    bench.machine.run(600'000);
    const std::size_t from = bench.written();
    const std::size_t sent = bench.machine.sent;
    bench.cycles(kWatchdogCycles);
    CHECK(bench.machine.sent == sent);
    CHECK(bench.machine.told(from) == 0);
    CHECK(bench.loop.published().state == State::fault);
    CHECK(bench.controller() == "the microcontroller has the arm stopped: no command in time");
    CHECK(bench.machine.gate().arm == BRIDGE_STOPPED);

    bench.loop.clear();
    bench.cycles(5);
    CHECK(bench.loop.published().state == State::idle);
    CHECK(bench.machine.told(from) == 0);
    const std::size_t before = bench.written();
    bench.start();
    CHECK(bench.machine.gate().arm == BRIDGE_RUNNING);
    const int standing = bench.machine.line.servos[0].position;
    for (const int goal : bench.machine.goals(0, before)) {
        CHECK(std::abs(goal - standing) <= 1);
    }
    check_limits(bench.machine);
}

TEST_CASE("a reset in mid-run is a stop: nothing is armed by itself, and the words say so") {
    for (const bool by_watchdog : {false, true}) {
        Bench bench;
        bench.in_motion();
        bench.machine.reset(by_watchdog);
        const std::size_t from = bench.written();
        bench.cycles(kWatchdogCycles + 5);
        CHECK(bench.loop.published().state == State::fault);
        CHECK(bench.controller() == std::string("the microcontroller was reset: the session is gone") +
                                        (by_watchdog ? ": restarted by its own watchdog" : ""));
        CHECK(bench.machine.torque());
        CHECK(bench.machine.gate().session == 0);
        // It may tell a servo that was on its way to stay, and nothing else.
        for (std::size_t servo = 0; servo < kJoints; ++servo) {
            CHECK(bench.machine.goals(servo, from).size() <= 40);
        }
        bench.loop.clear();
        bench.cycles(2);
        bench.start();
        CHECK(bench.controller().empty());
    }
}

TEST_CASE("a second reset is heard at once, whatever the uptime before it, and torque can be switched off") {
    for (const std::uint32_t uptime_us : {150'000u, 3'000'000u}) {
        Bench bench;
        bench.in_motion();
        bench.machine.reset(false);
        bench.cycles(static_cast<int>(uptime_us / kTickUs));
        bench.machine.reset(false);
        bench.cycles(5);
        const std::uint64_t replies = bench.stats.replies;
        CHECK(bench.machine.now_us < 100'000);
        bench.cycles(5);
        CHECK(bench.stats.replies >= replies + 5);
        CHECK(bench.stats.stray == 0);
        CHECK(bench.link->release());
        CHECK(!bench.machine.any_torque());
    }
}

TEST_CASE("a silent microcontroller is named, and what is not heard is not commanded") {
    Bench bench;
    bench.in_motion();
    bench.machine.mute = bench.machine.deaf = true;  // an adapter whose cable is out takes everything
    const std::size_t sent = bench.machine.sent;
    bench.cycles(1);  // answers the last state
    const std::size_t once = bench.machine.sent;
    CHECK(once - sent < 2 * BRIDGE_SERIAL_MAX_FRAME);
    bench.cycles(kWatchdogCycles);
    CHECK(bench.machine.sent == once);
    CHECK(bench.loop.published().state == State::fault);
    CHECK(bench.controller() == "the microcontroller is silent");
    bench.machine.mute = bench.machine.deaf = false;
    bench.cycles(10);
    CHECK(bench.machine.sent == once);
    CHECK(bench.machine.gate().arm == BRIDGE_STOPPED);
    bench.machine.mute = true;
    const Error error = refusal_of([&] { bench.link->engage(); });
    CHECK(std::string(error.what()) == "the microcontroller on a line does not answer");
}

TEST_CASE("single damaged packets in either direction change nothing but a counter") {
    Bench bench;
    bench.in_motion();
    for (int i = 0; i < 10; ++i) {
        bench.machine.damage_down = 1;
        bench.cycles(5);
        bench.machine.damage_up = 1;
        bench.cycles(5);
    }
    CHECK(bench.stats.corrupt == 10);
    CHECK(bench.machine.damaged_up() == 10);
    CHECK(bench.loop.published().state == State::running);
    CHECK(bench.loop.published().counters.holds_feedback == 0);
    CHECK(bench.machine.gate().faults == 0);
    check_limits(bench.machine);
}

TEST_CASE("a silent servo holds the arm and is named") {
    Bench bench;
    bench.in_motion();
    bench.machine.line.servos[2].silent = true;
    bench.cycles(kWatchdogCycles + 5);
    CHECK(bench.loop.published().state == State::fault);
    CHECK(bench.controller() == "the microcontroller has the arm stopped: a joint is not measured");
    CHECK(describe_joint_error(bench.stats.errors[2]) == "does not give its position to the microcontroller");
    CHECK(describe_joint_error(bench.stats.errors[1]).empty());
    const Error error = refusal_of([&] { bench.link->engage(); });
    CHECK(error.got == "elbow_flex not measured");
    CHECK(error.fix.find("daisy chain") != std::string::npos);
}

TEST_CASE("a joint that misses an answer ages, and the others do not") {
    Bench bench;
    bench.cycles(3);
    bench.machine.line.servos[3].silent = true;
    const std::uint64_t whole = bench.stats.exchanges;
    bench.cycles(2);
    CHECK(bench.stats.exchanges <= whole + 1);  // the answer to the question before was on its way
    const std::int64_t seen = bench.stats.seen_ns[3];
    CHECK(seen < bench.stats.seen_ns[2]);
    bench.machine.line.servos[3].silent = false;
    bench.cycles(5);
    CHECK(bench.stats.seen_ns[3] > seen);
    CHECK(bench.stats.exchanges >= whole + 3);
    CHECK(bench.loop.published().counters.holds_feedback == 0);
}

TEST_CASE("a state that comes again is no news") {
    Bench bench;
    bench.in_motion();
    bench.machine.stuck = true;
    bench.cycles(1, 2 * kStep);
    const std::size_t sent = bench.machine.sent;
    bench.cycles(kWatchdogCycles, 2 * kStep);
    CHECK(bench.machine.sent <= sent + BRIDGE_SERIAL_MAX_FRAME);
    CHECK(bench.loop.published().state == State::fault);
    CHECK(bench.controller() == "the microcontroller is silent");
}

TEST_CASE("nor is one without a session") {
    Bench bench;
    bench.machine.reset(false);
    bench.cycles(50);
    bench.machine.stuck = true;
    bench.cycles(1, 2 * kStep);
    const std::uint64_t replies = bench.stats.replies;
    bench.cycles(10, 2 * kStep);
    CHECK(bench.stats.replies == replies);
    CHECK(bench.stats.stray >= 10);
}

TEST_CASE("a line that is gone is told as that") {
    Bench bench;
    bench.machine.gone = true;
    const Published seen = bench.loop.published();
    const Goals goals{seen.commanded, seen.velocity};
    CHECK(bench.link->cycle(&goals, monotonic_ns() + kPatient, bench.feedback) == Io::gone);
    CHECK(refusal_of([&] { bench.link->engage(); }).kind == Error::Kind::link);
}

TEST_CASE("goals that are no numbers are not sent") {
    Bench bench;
    Goals goals{bench.loop.published().commanded, {}};
    goals.position[2] = std::nan("");
    const std::size_t sent = bench.machine.sent;
    bench.machine.run(kTickUs);
    CHECK(bench.link->cycle(&goals, monotonic_ns() + kPatient, bench.feedback) == Io::ok);
    CHECK(bench.machine.sent == sent);
}

TEST_CASE("a bus cycle allocates nothing") {
    Bench bench;
    bench.in_motion();
    const std::uint64_t before = test::allocations_here();
    const Published seen = bench.loop.published();
    const Goals goals{seen.commanded, {}};
    for (int i = 0; i < 100; ++i) {
        bench.machine.run(kTickUs);
        bench.link->cycle(&goals, monotonic_ns() + kPatient, bench.feedback);
    }
    CHECK(test::allocations_here() == before);
}
