#include "servos.hpp"

#include <cmath>
#include <cstdlib>

namespace edgearm::faults {

namespace {

constexpr std::int64_t kCycle = 4'000'000;
constexpr int kRounding = 2;  // ticks: each of two goals is rounded, and a loop's period is not the bus's

}  // namespace

Judge::Judge(const Arm& arm, Row*& row) : row_(row) {
    for (std::size_t i = 0; i < kJoints; ++i) {
        const safety_physical& limits = arm.limits()[i];
        lower_[i] = arm.to_ticks(i, limits.lower);
        upper_[i] = arm.to_ticks(i, limits.upper);
        ticks_per_ns_[i] = limits.max_velocity * (upper_[i] - lower_[i]) / (limits.upper - limits.lower) * 1e-9;
    }
}

void Judge::stands(const Ticks& ticks, std::int64_t now_ns) {
    last_.fill({ticks, now_ns});
}

void Judge::told(const Ticks& ticks, std::int64_t now_ns) {
    bool outside = false;
    bool jump = false;
    for (std::size_t i = 0; i < kJoints; ++i) {
        outside = outside || ticks[i] < lower_[i] || ticks[i] > upper_[i];
        for (const Told& before : last_) {
            const double reach = ticks_per_ns_[i] * static_cast<double>(now_ns - before.at_ns + kCycle) + kRounding;
            jump = jump || std::abs(ticks[i] - before.ticks[i]) > reach;
        }
    }
    const bool stale = reached_ && resting_ && ticks != rest_;
    reached_ = reached_ || ticks == rest_;
    row_->outside += outside;
    row_->jumps += jump;
    row_->stale += stale;
    if (!outside && !jump) {  // the way back from a wrong goal is not counted again
        newest_ = (newest_ + 1) % last_.size();
        last_[newest_] = {ticks, now_ns};
    }
}

std::vector<Bytes> Servos::hear(const Bytes& bytes, std::int64_t now_ns) {
    std::vector<Bytes> replies;
    told_ = false;
    for (std::size_t done = 0; done < bytes.size();) {
        done += feetech_parser_push(&parser_, bytes.data() + done, bytes.size() - done);
        feetech_frame frame;
        while (feetech_parser_next(&parser_, &frame)) {
            obey(frame, replies);
        }
    }
    if (told_) {
        judge_.told(goal, now_ns);
    }
    return replies;
}

void Servos::obey(const feetech_frame& frame, std::vector<Bytes>& replies) {
    if (frame.count < 3) {
        return;
    }
    const std::size_t address = frame.params[0];
    const std::size_t length = frame.params[1];
    if (frame.code == FEETECH_SYNC_WRITE && address == FEETECH_GOAL_POSITION && length == 2) {
        for (std::size_t at = 2; at + 2 < frame.count; at += 3) {
            const std::size_t servo = frame.params[at] - 1U;
            if (servo < kJoints) {
                const auto word = static_cast<std::uint16_t>(frame.params[at + 1] | frame.params[at + 2] << 8);
                goal[servo] = feetech_from_sign_magnitude(word, FEETECH_SIGN_POSITION);
            }
        }
        told_ = true;
    } else if (frame.code == FEETECH_SYNC_READ && address == FEETECH_PRESENT_POSITION && length == 2) {
        for (std::size_t at = 2; at < frame.count; ++at) {
            const std::size_t servo = frame.params[at] - 1U;
            if (servo < kJoints) {
                const std::uint16_t word = feetech_to_sign_magnitude(position[servo], FEETECH_SIGN_POSITION);
                const std::uint8_t params[2] = {static_cast<std::uint8_t>(word & 0xFF),
                                                static_cast<std::uint8_t>(word >> 8)};
                Bytes reply(FEETECH_OVERHEAD + 2);
                feetech_status(frame.params[at], 0, params, 2, reply.data(), reply.size());
                replies.push_back(reply);
            }
        }
    }
}

}  // namespace edgearm::faults
