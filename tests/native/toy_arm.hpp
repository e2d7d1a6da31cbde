// An arm for tests of the loop: six like joints of ±2 rad, the last one normalised.
#pragma once

#include "arm.hpp"
#include "trajectory.hpp"

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

// Every joint leaves `from` by `step` a target of 50 ms, the gripper by a share of it.
inline Chunk leaving(const Joints& from, std::int64_t start_ns, double step, std::size_t horizon, double gripper) {
    Chunk chunk;
    chunk.horizon = horizon;
    chunk.start_ns = start_ns;
    chunk.period_ns = 50'000'000;
    for (std::size_t knot = 0; knot < horizon; ++knot) {
        for (std::size_t i = 0; i < kJoints; ++i) {
            chunk.joints[knot][i] = from[i] + step * (i + 1 == kJoints ? gripper : 1) * static_cast<double>(knot + 1);
        }
    }
    return chunk;
}

}  // namespace edgearm::test
