// How long something took, thousands of times, as a histogram that one thread fills and others may read at any time:
// how late a periodic thread woke, what its steps cost.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace edgearm {

// Buckets have a width of at most 1/128 of their value: as fine as the microsecond of cyclictest up to 0.13 ms, which
// the loop is compared with, and within 0.8 % above.
class DurationHistogram {
public:
    struct Bucket {
        std::uint64_t longest_ns = 0;  // upper edge, included
        std::uint64_t count = 0;
    };

    void add(std::int64_t nanoseconds) noexcept {
        const auto value = static_cast<std::uint64_t>(nanoseconds < 0 ? 0 : nanoseconds);
        increase(counts_[bucket(value)], 1);
        increase(total_, 1);
        increase(sum_, value);
        if (value > max_.load(std::memory_order_relaxed)) {
            max_.store(value, std::memory_order_relaxed);
        }
    }

    std::uint64_t count() const noexcept { return total_.load(std::memory_order_relaxed); }
    std::uint64_t max_ns() const noexcept { return max_.load(std::memory_order_relaxed); }
    // 0 without samples.
    std::uint64_t mean_ns() const noexcept { return count() == 0 ? 0 : sum_.load(std::memory_order_relaxed) / count(); }

    // Upper edge of the bucket in which the fraction `share` of all samples is reached; 0 without samples.
    std::uint64_t percentile_ns(double share) const noexcept {
        const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count()));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < kBuckets; ++i) {
            seen += counts_[i].load(std::memory_order_relaxed);
            if (seen > wanted) {
                return upper_edge(i) < max_ns() ? upper_edge(i) : max_ns();
            }
        }
        return max_ns();
    }

    // Those that are not empty, shortest first. Allocates.
    std::vector<Bucket> buckets() const {
        std::vector<Bucket> filled;
        for (std::size_t i = 0; i < kBuckets; ++i) {
            if (const std::uint64_t samples = counts_[i].load(std::memory_order_relaxed); samples > 0) {
                filled.push_back({upper_edge(i), samples});
            }
        }
        return filled;
    }

private:
    static constexpr unsigned kSubBits = 7;
    static constexpr std::size_t kSub = 1u << kSubBits;
    static constexpr std::size_t kBuckets = (64 - kSubBits + 1) * kSub;

    // Values below kSub have a bucket each; above, every power of two is split into kSub.
    static std::size_t bucket(std::uint64_t value) noexcept {
        if (value < kSub) {
            return value;
        }
        const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
        return (shift + 1) * kSub + ((value >> shift) & (kSub - 1));
    }

    static std::uint64_t upper_edge(std::size_t index) noexcept {
        if (index < kSub) {
            return index;
        }
        const std::size_t shift = index / kSub - 1;
        return ((std::uint64_t{kSub} + index % kSub + 1) << shift) - 1;
    }

    // One writer: a load and a store are enough.
    static void increase(std::atomic<std::uint64_t>& counter, std::uint64_t by) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    }

    std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
    std::atomic<std::uint64_t> total_{0};
    std::atomic<std::uint64_t> sum_{0};
    std::atomic<std::uint64_t> max_{0};
};

}  // namespace edgearm
