// An arm for tests of the loop: six like joints of ±2 rad, the last one normalised.
#pragma once

#include "arm.hpp"

namespace edgearm::test {

inline Arm toy_arm() {
    ArmSpec spec;
    spec.name = "toy";
    spec.model_number = 777;
    spec.ticks_per_turn = 4096;
    for (std::size_t i = 0; i < kJoints; ++i) {
        spec.joints.push_back({"joint" + std::to_string(i),
                               static_cast<std::uint8_t>(i + 1),
                               {0, 0, 0.1},
                               {1, 0, 0, 0},
                               {0, 0, 1},
                               -2,
                               2,
                               3,
                               20,
                               2000,
                               i + 1 == kJoints});
    }
    spec.frames.push_back({"pinch", "joint4", {0.1, 0, 0}, {1, 0, 0, 0}});
    return Arm(spec);
}

}  // namespace edgearm::test
