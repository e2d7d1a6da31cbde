// The loop, the link and the microcontroller under one clock that the test moves: four steps of the loop, a tick of the
// firmware, then one bus cycle. Judged by what the servos behind the firmware decode.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>

#include "bridge_arm.hpp"
#include "control_loop.hpp"
#include "error.hpp"
#include "firmware_line.hpp"
#include "toy_arm.hpp"

namespace edgearm::test {

inline constexpr std::int64_t kStep = 1'000'000;
inline constexpr std::int64_t kPatient = 20'000'000'000;
inline constexpr std::uint32_t kTickUs = 4'000;
inline constexpr int kWatchdogCycles = 55;  // 220 ms

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
        const Chunk chunk = test::leaving(loop.published().commanded, now, step, horizon, 0.3);
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
inline void check_limits(const Machine& machine) {
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

}  // namespace edgearm::test
