// What the servos are told when things fail, read from the bytes on the pty, under a clock that the test moves: four
// steps of the loop, then one bus cycle. The waits for replies are real but bound nothing that is asserted.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "control_loop.hpp"
#include "error.hpp"
#include "feetech_arm.hpp"
#include "servo_bus.hpp"
#include "toy_arm.hpp"

using namespace edgearm;
using test::Ticks;

namespace {

constexpr std::int64_t kStep = 1'000'000;
constexpr std::int64_t kPatient = 20'000'000'000;  // an answer that will come may take its time
constexpr std::int64_t kBrief = 20'000'000;        // for one that will not
constexpr double kTicksPerRadian = 4096 / (2 * 3.14159265358979323846);

struct Bench {
    test::ServoBus servos;
    LinkStats stats;
    const Arm arm = test::toy_arm();
    FeetechArm link{arm, servos.port(), stats};
    ControlLoop loop{arm, {}};
    std::int64_t now = 0;
    std::optional<Joints> feedback;

    Bench() {
        feedback = link.engage();
        loop.start();
        cycles(5);
        REQUIRE(loop.published().state == State::ready);
    }

    void cycles(int count, std::int64_t wait = kPatient) {
        for (int i = 0; i < count; ++i) {
            for (int k = 0; k < 4; ++k) {
                loop.step(now += kStep, feedback ? &*feedback : nullptr);
                feedback.reset();
            }
            const Goals goals{loop.published().commanded, loop.published().velocity};
            CHECK(link.cycle(&goals, monotonic_ns() + wait, feedback) == Io::ok);
        }
    }

    // Every joint leaves where it is by `step` a target of 50 ms.
    Offer move(double step, std::size_t horizon = 16) {
        const Chunk chunk = test::leaving(loop.published().commanded, now, step, horizon, 0.1);
        return loop.offer(chunk);
    }
};

bool at_rest(const std::vector<Ticks>& goals, std::size_t cycles) {
    return std::all_of(goals.end() - static_cast<std::ptrdiff_t>(cycles), goals.end(),
                       [&](const Ticks& goal) { return goal == goals.back(); });
}

// On the wire no joint is sent faster than its limit, and over ten cycles it changes speed no faster than its limit:
// from tick to tick the rounding would hide that. The toy arm: 3 rad/s, 20 rad/s^2.
void check_limits(const std::vector<Ticks>& goals, std::int64_t cycle_ns = 4 * kStep) {
    constexpr std::size_t kSpan = 10;
    const double cycle_s = static_cast<double>(cycle_ns) * 1e-9;
    const double reach = 3 * cycle_s * kTicksPerRadian + 1;
    const double bend = 20 * std::pow(kSpan * cycle_s, 2) * kTicksPerRadian + 2;
    double farthest = 0;
    double sharpest = 0;
    for (std::size_t i = kSpan; i + kSpan < goals.size(); ++i) {
        for (std::size_t joint = 0; joint < kJoints; ++joint) {
            farthest = std::max(farthest, std::abs(1.0 * goals[i][joint] - goals[i - 1][joint]));
            sharpest = std::max(
                sharpest, std::abs(1.0 * goals[i + kSpan][joint] - 2.0 * goals[i][joint] + goals[i - kSpan][joint]));
        }
    }
    CHECK(farthest <= reach);
    CHECK(sharpest <= bend);
}

// The way of a joint of the toy arm (20 rad/s², 2000 rad/s³) from `speed` to rest.
double stopping_ticks(double speed) {
    return speed * (speed / 20 + 20.0 / 2000) / 2 * kTicksPerRadian;
}

}  // namespace

TEST_CASE("wire: an engage that fails switches off what it switched on, and nothing that held itself up before") {
    test::ServoBus servos;
    LinkStats stats;
    const Arm arm = test::toy_arm();
    SUBCASE("all were off") {
        FeetechArm link(arm, servos.port(), stats);
        servos.no_torque_id = 4;
        CHECK_THROWS_AS(link.engage(), Error);
        CHECK(servos.torque() == Ticks{});
    }
    SUBCASE("all were on") {
        FeetechArm(arm, servos.port(), stats).engage();  // an earlier run that kept torque
        FeetechArm link(arm, servos.port(), stats);
        servos.no_torque_id = 4;
        CHECK_THROWS_AS(link.engage(), Error);
        CHECK(servos.torque() == Ticks{1, 1, 1, 1, 1, 1});
    }
}

TEST_CASE("wire: a policy that is late: the rest of its chunk is followed, then the arm comes to rest within limits") {
    Bench bench;
    REQUIRE(bench.move(0.06).verdict);  // 1.2 rad/s, and nothing after it
    bench.cycles(300);
    const auto goals = bench.servos.goals();
    check_limits(goals);
    CHECK(at_rest(goals, 50));
    CHECK(bench.loop.published().hold_cause == HoldCause::out_of_targets);
    const int last_target = 2048 + static_cast<int>(16 * 0.06 * kTicksPerRadian);
    CHECK(goals.back()[0] >= last_target - 1);
    CHECK(goals.back()[0] <= last_target + stopping_ticks(1.2) + 2);
    CHECK(bench.servos.torque() == Ticks{1, 1, 1, 1, 1, 1});
}

TEST_CASE("wire: chunks that are refused, and one corrupt packet, change no goal") {
    Bench undisturbed;
    Bench disturbed;
    REQUIRE(undisturbed.move(0.03).verdict);
    REQUIRE(disturbed.move(0.03).verdict);
    undisturbed.cycles(40);
    disturbed.cycles(40);
    SUBCASE("not a number, a wrong shape, a step, a jump") {
        Chunk chunk;
        chunk.horizon = 16;
        chunk.start_ns = disturbed.now;
        chunk.period_ns = 50 * kStep;
        chunk.joints.fill(disturbed.loop.published().commanded);
        Chunk bad = chunk;
        bad.joints[3][2] = std::nan("");
        CHECK(disturbed.loop.offer(bad).reason.find("not finite: joints[3, 2] (joint2)") == 0);
        bad = chunk;
        bad.horizon = 65;
        CHECK(disturbed.loop.offer(bad).verdict.refusal == Refusal::shape);
        bad = chunk;
        bad.joints[9][1] += 0.6;
        CHECK(disturbed.loop.offer(bad).verdict.refusal == Refusal::step);
        for (Joints& target : chunk.joints) {
            target[4] += 0.6;
        }
        CHECK(disturbed.loop.offer(chunk).verdict.refusal == Refusal::jump);
    }
    SUBCASE("one reply with a flipped bit") {
        disturbed.servos.flip_replies = 1;
        disturbed.cycles(1, 200 * kStep);  // the reply that was lost is waited for in vain
        undisturbed.cycles(1);
        CHECK(disturbed.servos.flip_replies == 0);
        disturbed.cycles(1);
        undisturbed.cycles(1);
        CHECK(disturbed.stats.corrupt == 1);
    }
    undisturbed.cycles(200);
    disturbed.cycles(200);
    CHECK(disturbed.servos.goals() == undisturbed.servos.goals());
    CHECK(disturbed.loop.published().counters.holds_feedback == 0);
}

TEST_CASE("wire: a silent servo: hold after three cycles, latched fault after the watchdog, both within limits") {
    Bench bench;
    REQUIRE(bench.move(0.04, 64).verdict);
    bench.cycles(60);
    bench.servos.silent_id = 4;
    bench.cycles(3, kBrief);
    CHECK(bench.loop.published().state == State::running);
    bench.cycles(1, kBrief);
    CHECK(bench.loop.published().hold_cause == HoldCause::feedback);
    bench.cycles(30, kBrief);
    CHECK(bench.loop.published().at_rest);
    CHECK(at_rest(bench.servos.goals(), 5));
    bench.cycles(18, kBrief);
    CHECK(bench.loop.published().fault_cause == FaultCause::watchdog);

    const std::size_t told = bench.servos.goals().size();
    bench.servos.silent_id = 0;
    bench.cycles(100);
    const auto goals = bench.servos.goals();
    CHECK(bench.loop.published().state == State::fault);
    CHECK(at_rest(goals, goals.size() - told + 20));  // back again: still the goal it rests at
    CHECK(bench.servos.torque() == Ticks{1, 1, 1, 1, 1, 1});
    check_limits(goals);
}

TEST_CASE("wire: a servo silent for five cycles: hold, then the same chunk is joined again without a jump") {
    Bench bench;
    REQUIRE(bench.move(0.04, 32).verdict);
    bench.cycles(60);
    bench.servos.silent_id = 2;
    bench.cycles(5, kBrief);
    CHECK(bench.loop.published().state == State::hold);
    bench.servos.silent_id = 0;
    bench.cycles(450);
    const auto goals = bench.servos.goals();
    check_limits(goals);
    CHECK(at_rest(goals, 20));
    CHECK(std::abs(goals.back()[0] - (2048 + 32 * 0.04 * kTicksPerRadian)) < stopping_ticks(0.8) + 2);
}

TEST_CASE("wire: a host that stands still: the arm comes to rest, and joins the chunk once steps come in time again") {
    Bench bench;
    REQUIRE(bench.move(0.04, 32).verdict);
    bench.cycles(60);

    SUBCASE("a few steps left out change nothing but the time they took") {
        bench.now += 10 * kStep;
        bench.cycles(20);
        CHECK(bench.loop.published().counters.holds_stalled == 0);
        CHECK(bench.loop.published().state == State::running);
    }
    SUBCASE("20 ms in one piece") {
        bench.now += 20 * kStep;
        bench.cycles(1);
        CHECK(bench.loop.published().hold_cause == HoldCause::stalled);
    }
    SUBCASE("20 ms in short pieces with no step in time between them") {
        Joints measured = bench.loop.published().commanded;
        for (int i = 0; i < 5; ++i) {
            CHECK(bench.loop.published().state == State::running);
            measured = bench.loop.step(bench.now += 5 * kStep, &measured).joints;
        }
        CHECK(bench.loop.published().hold_cause == HoldCause::stalled);
    }
    if (bench.loop.published().state == State::hold) {
        bench.cycles(4);
        CHECK(bench.loop.published().state == State::hold);
        bench.cycles(2);
        CHECK(bench.loop.published().state == State::running);
        CHECK(bench.loop.published().counters.holds_stalled == 1);
        const auto goals = bench.servos.goals();
        check_limits({goals.begin() + 70, goals.end()});
    }
    bench.cycles(450);
    const auto goals = bench.servos.goals();
    CHECK(at_rest(goals, 20));
    CHECK(std::abs(goals.back()[0] - (2048 + 32 * 0.04 * kTicksPerRadian)) < stopping_ticks(0.8) + 2);
}
