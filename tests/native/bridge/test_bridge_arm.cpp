// The loop through a microcontroller, judged by what the servos behind the firmware decode, under a clock that the test
// moves: four steps of the loop, a tick of the firmware, then one bus cycle.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "allocations.hpp"
#include "bridge_arm.hpp"
#include "control_loop.hpp"
#include "error.hpp"
#include "firmware_line.hpp"

using namespace edgearm;
using test::Machine;

namespace {

constexpr std::int64_t kStep = 1'000'000;
constexpr std::int64_t kPatient = 20'000'000'000;
constexpr std::uint32_t kTickUs = 4'000;
constexpr int kWatchdogCycles = 55;  // 220 ms

struct Bench {
    Machine machine;
    LinkStats stats;
    const Arm arm = test::so101();
    std::unique_ptr<BridgeArm> link = std::make_unique<BridgeArm>(arm, test::port_on(machine), stats);
    ControlLoop loop{arm, {}};
    std::int64_t now = 0;
    std::optional<Joints> feedback;

    Bench() { start(); }

    void start() {
        feedback = link->engage();
        loop.start();
        cycles(5);
        REQUIRE(loop.published().state == State::ready);
    }

    void cycles(int count, std::int64_t wait_ns = kPatient) {
        for (int i = 0; i < count; ++i) {
            for (int k = 0; k < 4; ++k) {
                loop.step(now += kStep, feedback ? &*feedback : nullptr);
                feedback.reset();
            }
            machine.run(kTickUs);
            const Published seen = loop.published();
            const Goals goals{seen.commanded, seen.velocity};
            const bool send = seen.state != State::idle;
            CHECK(link->cycle(send ? &goals : nullptr, monotonic_ns() + wait_ns, feedback) == Io::ok);
        }
    }

    // Every joint leaves where it is by `step` a target of 50 ms.
    bool move(double step, std::size_t horizon = 16) {
        const Joints from = loop.published().commanded;
        Chunk chunk;
        chunk.horizon = horizon;
        chunk.start_ns = now;
        chunk.period_ns = 50 * kStep;
        for (std::size_t knot = 0; knot < horizon; ++knot) {
            for (std::size_t i = 0; i < kJoints; ++i) {
                chunk.joints[knot][i] = from[i] + step * (i + 1 == kJoints ? 0.3 : 1) * static_cast<double>(knot + 1);
            }
        }
        return loop.offer(chunk).chunk_id != 0;
    }

    void in_motion() {
        REQUIRE(move(0.05, 64));
        cycles(30);
        REQUIRE(loop.published().state == State::running);
        REQUIRE(std::abs(loop.published().velocity[0]) > 0.5);
        REQUIRE(machine.gate().arm == BRIDGE_RUNNING);
    }

    std::string controller() const { return describe_controller(stats.controller.load()); }
    std::size_t written() const { return machine.line.written; }
};

// On the servos' wire no joint is sent faster than its limit.
void check_limits(const Machine& machine) {
    for (std::size_t servo = 0; servo < kJoints; ++servo) {
        const arm_joint& joint = machine.table.joints[servo];
        const std::vector<int> goals = machine.goals(servo);
        for (std::size_t i = 1; i < goals.size(); ++i) {
            CHECK(std::abs(goals[i] - goals[i - 1]) <= joint.travel / 2 + 1);
        }
        for (const int goal : goals) {
            CHECK(goal >= arm_encoder(&joint, joint.limits.lower));
            CHECK(goal <= arm_encoder(&joint, joint.limits.upper));
        }
    }
}

template <class Act>
Error refusal_of(Act act) {
    try {
        act();
    } catch (const Error& error) {
        return error;
    }
    throw std::logic_error("nothing was refused");
}

}  // namespace

TEST_CASE("the core makes the very table that the firmware was built with") {
    const arm_table made = bridge_table(test::so101());
    CHECK(made.count == so101_table.count);
    CHECK(made.tick_us == so101_table.tick_us);
    for (std::size_t i = 0; i < kJoints; ++i) {
        CHECK(made.joints[i].origin == so101_table.joints[i].origin);
        CHECK(made.joints[i].scale == so101_table.joints[i].scale);
        CHECK(made.joints[i].limits.max_jerk == so101_table.joints[i].limits.max_jerk);
        CHECK(made.joints[i].travel == so101_table.joints[i].travel);
    }
    CHECK(arm_config(&made) == arm_config(&so101_table));
}

TEST_CASE("opening moves nothing, engaging holds the measured pose, and motion follows the loop") {
    Machine machine;
    LinkStats stats;
    const Arm arm = test::so101();
    {
        BridgeArm link(arm, test::port_on(machine), stats);
        machine.run(100'000);
        CHECK(machine.told() == 0);
        CHECK(machine.gate().arm == BRIDGE_IDLE);
    }
    CHECK(machine.gate().arm == BRIDGE_IDLE);
}

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

TEST_CASE("an emergency stop holds, faults, names itself, and stands in the way as long as it is pressed") {
    Bench bench;
    bench.in_motion();
    bench.machine.pressed = true;
    bench.cycles(5);
    CHECK(bench.loop.published().state == State::hold);
    bench.cycles(kWatchdogCycles);
    CHECK(bench.loop.published().state == State::fault);
    CHECK(bench.controller() == "the microcontroller has the arm stopped: emergency stop or a stop message");
    CHECK(bench.machine.torque());
    const Error error = refusal_of([&] { bench.link->engage(); });
    CHECK(std::string(error.what()) == "the microcontroller on a line does not arm the arm");
    CHECK(error.got == "the cause is still there: emergency stop or a stop message");
    CHECK(error.fix.find("emergency stop") != std::string::npos);
    CHECK(bench.machine.gate().arm == BRIDGE_STOPPED);
    bench.machine.pressed = false;
    bench.cycles(20);
    CHECK(bench.machine.gate().arm == BRIDGE_STOPPED);
    bench.loop.clear();
    bench.cycles(2);
    bench.start();
    check_limits(bench.machine);
}

TEST_CASE("a stop that comes while the arm is being armed is not cleared by that") {
    Bench bench;
    for (std::uint32_t after_us = 5'000; after_us < 320'000; after_us += after_us < 20'000 ? 600 : 6'100) {
        bench.machine.run(100'000);
        REQUIRE(bench.machine.gate().arm == BRIDGE_STOPPED);
        bench.machine.tap_at_us = bench.machine.now_us + after_us;
        CHECK_THROWS_AS(bench.link->engage(), Error);
        CHECK(bench.machine.gate().arm != BRIDGE_RUNNING);
        CHECK((bench.machine.gate().faults & BRIDGE_FAULT_STOP) != 0);
    }
    bench.machine.run(100'000);
    bench.link->engage();
    CHECK(bench.machine.gate().arm == BRIDGE_RUNNING);
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

TEST_CASE("an arm that has been switched on is held until the loop gives goals, and then only as long as it does") {
    Bench bench;
    bench.link->engage();
    const auto idle_cycles = [&](int count) {
        for (int i = 0; i < count; ++i) {
            bench.machine.run(kTickUs);
            CHECK(bench.link->cycle(nullptr, monotonic_ns() + kPatient, bench.feedback) == Io::ok);
        }
    };
    idle_cycles(20);
    CHECK(bench.machine.gate().arm == BRIDGE_RUNNING);
    bench.cycles(3);
    CHECK(bench.machine.gate().arm == BRIDGE_RUNNING);
    idle_cycles(6);
    CHECK(bench.machine.gate().faults == BRIDGE_FAULT_EXPIRED);
}

TEST_CASE("another table, tick or protocol is refused with both before anything is armed") {
    arm_table other = so101_table;
    other.joints[3].limits.max_velocity -= 1;
    {
        Machine machine(other);
        LinkStats stats;
        const Arm arm = test::so101();
        const Error error = refusal_of([&] { BridgeArm(arm, test::port_on(machine), stats); });
        CHECK(error.expected == "configuration " + bridge_hash(arm_config(&so101_table)));
        CHECK(error.got == "configuration " + bridge_hash(arm_config(&other)));
        CHECK(error.fix.find("arm_table") != std::string::npos);
        CHECK(machine.gate().session == 0);
        CHECK(machine.told() == 0);
    }
    other = so101_table;
    other.tick_us = 5000;
    {
        Machine machine(other);
        LinkStats stats;
        const Arm arm = test::so101();
        const Error error = refusal_of([&] { BridgeArm(arm, test::port_on(machine), stats); });
        CHECK(error.expected == "4000 us");
        CHECK(error.got == "5000 us");
    }
    Machine machine;
    LinkStats stats;
    const Arm arm = test::so101();
    machine.impostor.emplace();
    machine.impostor->kind = BRIDGE_HELLO_REPLY;
    machine.impostor->as.hello = {6, 4000, 0x9ABCDEF0u, 0, 0, BRIDGE_WRONG_PROTOCOL};
    const Error error = refusal_of([&] { BridgeArm(arm, test::port_on(machine), stats); });
    CHECK(error.expected == "protocol " + bridge_hash(BRIDGE_PROTOCOL));
    CHECK(error.got == "protocol 9abcdef0");
    CHECK(error.fix.find("flash") != std::string::npos);
}

TEST_CASE("release stops the arm, and torque goes off when it rests") {
    Bench bench;
    bench.in_motion();
    CHECK(bench.link->release());
    CHECK(!bench.machine.any_torque());
    CHECK(bench.machine.gate().arm == BRIDGE_STOPPED);
    CHECK(bench.machine.gate().faults == BRIDGE_FAULT_STOP);
    const std::size_t from = bench.written();
    bench.machine.run(200'000);
    CHECK(bench.machine.told(from) == 0);
    check_limits(bench.machine);
}

TEST_CASE("a servo that keeps its torque is told, and where nobody can know that is said") {
    Bench bench;
    bench.machine.line.servos[1].deaf_to = FEETECH_TORQUE_ENABLE;
    CHECK(!bench.link->release());
    bench.machine.line.servos[1].deaf_to = 0;
    const Error error = refusal_of([&] { bench.link->release(); });
    CHECK(std::string(error.what()).find("cannot say whether it did") != std::string::npos);
}

TEST_CASE("a servo that does not switch on fails the start, and the arm is stopped") {
    Machine machine;
    LinkStats stats;
    const Arm arm = test::so101();
    BridgeArm link(arm, test::port_on(machine), stats);
    machine.line.servos[4].deaf_to = FEETECH_TORQUE_ENABLE;
    const Error error = refusal_of([&] { link.engage(); });
    CHECK(std::string(error.what()) == "the microcontroller on a line did not switch the arm on");
    machine.run(100'000);
    CHECK(machine.gate().arm == BRIDGE_STOPPED);
    CHECK((machine.gate().faults & BRIDGE_FAULT_DRIVE) != 0);
}

TEST_CASE("a link that is dropped tells the arm to stop") {
    Bench bench;
    bench.in_motion();
    bench.link.reset();
    bench.machine.run(600'000);
    CHECK(bench.machine.gate().arm == BRIDGE_STOPPED);
    CHECK(bench.machine.gate().faults == BRIDGE_FAULT_STOP);
    CHECK(bench.machine.torque());
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
