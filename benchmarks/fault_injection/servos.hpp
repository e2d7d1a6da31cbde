// Six servos that decode what arrives, and the judge of what they were told. No clock of their own.
#pragma once

#include <array>
#include <cstdint>

#include "arm.hpp"
#include "faults.hpp"

extern "C" {
#include "feetech.h"
}

namespace edgearm::faults {

using Ticks = std::array<int, kJoints>;

// What every goal that a servo decodes is held against: the joint's limits, and how far it can go since each of the
// last goals. A line may be late, and then carry two goals in less than a bus cycle: one cycle is allowed for.
class Judge {
public:
    Judge(const Arm& arm, Row*& row);

    // The arm stands here and is told nothing else.
    void stands(const Ticks& ticks, std::int64_t now_ns);
    // Once this goal has been decoded no other is right, until `moves`.
    void rests(const Ticks& ticks) {
        resting_ = true;
        reached_ = false;
        rest_ = ticks;
    }
    void moves() { resting_ = false; }
    void told(const Ticks& ticks, std::int64_t now_ns);

private:
    Row*& row_;
    Ticks lower_{};
    Ticks upper_{};
    std::array<double, kJoints> ticks_per_ns_{};
    struct Told {
        Ticks ticks{};
        std::int64_t at_ns = 0;
    };
    std::array<Told, 8> last_{};
    std::size_t newest_ = 0;
    Ticks rest_{};
    bool resting_ = false;
    bool reached_ = false;
};

class Servos {
public:
    explicit Servos(Judge& judge) : judge_(judge) { feetech_parser_init(&parser_, FEETECH_MAX_PARAMS); }

    Ticks goal{};
    Ticks position{};

    // Takes bytes of requests; returns the replies, one frame each. The bytes arrive at once: of several goals in them
    // only the last is gone to, and judged.
    std::vector<Bytes> hear(const Bytes& bytes, std::int64_t now_ns);

private:
    void obey(const feetech_frame& frame, std::vector<Bytes>& replies);

    Judge& judge_;
    feetech_parser parser_{};
    bool told_ = false;
};

}  // namespace edgearm::faults
