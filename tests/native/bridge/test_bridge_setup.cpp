// A microcontroller is recognised, armed, cleared and released, or refused.
#include "bridge_bench.hpp"

using namespace edgearm;
using namespace edgearm::test;

// A session's numbers last for half a year: this is how a test comes to their end. The language lets an explicit
// instantiation name what is private.
std::uint32_t& sequence_of(BridgeArm& link);
template <std::uint32_t BridgeArm::* Member>
struct Opened {
    friend std::uint32_t& sequence_of(BridgeArm& link) { return link.*Member; }
};
template struct Opened<&BridgeArm::sequence_>;

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

TEST_CASE("opening moves nothing and arms nothing") {
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

TEST_CASE("a reset while the arm is being armed is never told as armed, nor one while it is released as off") {
    Bench bench;
    int failed = 0;
    for (std::uint32_t after_us = 3'000; after_us < 360'000; after_us += 2'900) {
        bench.machine.reset_at_us = bench.machine.now_us + after_us;
        try {
            bench.link->engage();
            CHECK(bench.machine.gate().arm == BRIDGE_RUNNING);
        } catch (const Error&) {
            failed += 1;
        }
        bench.machine.reset_at_us.reset();
    }
    CHECK(failed > 80);
    failed = 0;
    for (std::uint32_t after_us = 3'000; after_us < 160'000; after_us += 900) {
        CAPTURE(after_us);
        bench.link->engage();
        bench.machine.reset_at_us = bench.machine.now_us + after_us;
        try {
            const bool off = bench.link->release();
            CHECK((!off || !bench.machine.any_torque()));
        } catch (const Error&) {
            failed += 1;
        }
        bench.machine.reset_at_us.reset();
    }
    CHECK(failed > 20);
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

TEST_CASE("release switches torque off however few numbers the session has left") {
    for (std::uint32_t left = 0; left < 8; ++left) {
        Bench bench;
        bench.cycles(3);
        sequence_of(*bench.link) = UINT32_MAX - left;
        bench.cycles(3);
        CHECK(bench.link->release());
        CHECK(!bench.machine.any_torque());
    }
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
