#include "arm_link.hpp"

#include <cmath>

#include "bridge_arm.hpp"
#include "bridge_words.hpp"
#include "damiao_arm.hpp"
#include "error.hpp"
#include "feetech_arm.hpp"

namespace edgearm {

namespace {

// A kind of drive: what the rest of the core needs to know of it.
struct Kind {
    std::unique_ptr<ArmLink> (*open)(const Arm&, const std::string&, LinkStats&);
    CycleCost (*cost)(const Arm&);
    std::string (*describe)(std::uint8_t error);
    std::string (*controller)(std::uint32_t word);
};

template <class Link>
std::unique_ptr<ArmLink> open(const Arm& arm, const std::string& port, LinkStats& stats) {
    return std::make_unique<Link>(arm, port, stats);
}

// By the value of Drive.
const std::array<Kind, 3> kKinds{{
    {open<FeetechArm>,
     [](const Arm&) {
         return CycleCost{FeetechArm::kCycleNs, "goals and positions are " + std::to_string(FeetechArm::kCycleBytes) +
                                                    " bytes a cycle at 1 Mbps"};
     },
     describe_servo_error, nullptr},
    {open<DamiaoArm>,
     [](const Arm&) {
         return CycleCost{DamiaoArm::kCycleNs, "a command and its feedback are " +
                                                   std::to_string(DamiaoArm::kCycleFrames) +
                                                   " CAN frames a cycle at 1 Mbps"};
     },
     describe_motor_error, nullptr},
    {open<BridgeArm>, BridgeArm::cost, describe_joint_error, describe_controller},
}};

const Kind& kind_of(const Arm& arm) {
    return kKinds[static_cast<std::size_t>(arm.spec().drive)];
}

}  // namespace

void not_still(const std::string& path) {
    throw Error(Error::Kind::arm, "the arm on " + path + " does not stand still", "two readings that agree",
                "joints that move by more than 0.05 rad between readings", "hold the arm still and start again");
}

std::unique_ptr<ArmLink> open_arm(const Arm& arm, const std::string& port, LinkStats& stats) {
    return kind_of(arm).open(arm, port, stats);
}

CycleCost cycle_cost(const Arm& arm) {
    return kind_of(arm).cost(arm);
}

std::string describe_error(const Arm& arm, std::uint8_t error) {
    return kind_of(arm).describe(error);
}

std::string describe_controller(const Arm& arm, std::uint32_t word) {
    const auto describe = kind_of(arm).controller;
    return describe == nullptr ? "" : describe(word);
}

void PlausibilityGate::reset(const Joints& joints, std::int64_t now_ns) noexcept {
    value_ = joints;
    time_ns_.fill(now_ns);
}

bool PlausibilityGate::admit(std::size_t joint, double value, std::int64_t now_ns) noexcept {
    const double elapsed = static_cast<double>(now_ns - time_ns_[joint]) * 1e-9;
    if (!(std::abs(value - value_[joint]) <= kFactor * arm_.limits()[joint].max_velocity * elapsed + kMargin)) {
        return false;
    }
    value_[joint] = value;
    time_ns_[joint] = now_ns;
    return true;
}

}  // namespace edgearm
