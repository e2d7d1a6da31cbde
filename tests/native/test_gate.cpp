#include <doctest/doctest.h>

#include "arm_link.hpp"
#include "toy_arm.hpp"

using namespace edgearm;

TEST_CASE("the gate believes what a joint can do and nothing faster") {
    const Arm arm = test::toy_arm();
    PlausibilityGate gate(arm);
    gate.reset(Joints{}, 0);
    constexpr std::int64_t kCycle = 4'000'000;
    const double reach = PlausibilityGate::kFactor * 3 * 0.004 + PlausibilityGate::kMargin;

    SUBCASE("within reach") {
        CHECK(gate.admit(0, reach * 0.99, kCycle));
    }
    SUBCASE("beyond reach, in either direction") {
        CHECK_FALSE(gate.admit(0, reach * 1.01, kCycle));
        CHECK_FALSE(gate.admit(0, -reach * 1.01, kCycle));
    }
    SUBCASE("a position with its bytes swapped: 2048 became 8") {
        CHECK_FALSE(gate.admit(0, arm.from_ticks(0, 8), kCycle));
        CHECK(gate.admit(0, arm.from_ticks(0, 2048), kCycle));
    }
    SUBCASE("the longer nothing was believed, the farther the joint may have gone") {
        CHECK_FALSE(gate.admit(0, 1.0, kCycle));
        CHECK(gate.admit(0, 1.0, 50 * kCycle));
    }
}
