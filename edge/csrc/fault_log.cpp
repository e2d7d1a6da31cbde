#include "fault_log.hpp"

#include <algorithm>

namespace edgearm {

void FaultLog::record(const FaultSample& sample) noexcept {
    if (resuming_) {
        Owner frozen = Owner::nobody;
        if (owner_.load(std::memory_order_relaxed) == Owner::stepping ||
            owner_.compare_exchange_strong(frozen, Owner::stepping, std::memory_order_acquire)) {
            resuming_ = false;
            count_ = 0;
        }
    }
    if (owner_.load(std::memory_order_relaxed) == Owner::stepping) {
        samples_[count_ % kSteps] = sample;
        count_ += 1;
    }
}

void FaultLog::freeze() noexcept {
    if (owner_.load(std::memory_order_relaxed) == Owner::stepping) {
        owner_.store(Owner::nobody, std::memory_order_release);
    }
}

std::vector<FaultSample> FaultLog::read() {
    Owner frozen = Owner::nobody;
    if (!owner_.compare_exchange_strong(frozen, Owner::reader, std::memory_order_acquire)) {
        return {};
    }
    std::vector<FaultSample> steps;
    const std::size_t kept = std::min(count_, kSteps);
    steps.reserve(kept);
    for (std::size_t i = count_ - kept; i < count_; ++i) {
        steps.push_back(samples_[i % kSteps]);
    }
    owner_.store(Owner::nobody, std::memory_order_release);
    return steps;
}

}  // namespace edgearm
