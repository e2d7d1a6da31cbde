// Two ways across the border between the real-time thread and the rest, none of which makes it wait. The third, for a
// state that many read, is seq_latch.hpp.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace edgearm {

// Inward: the newest value wins. One writer, one reader; neither ever waits or retries.
template <typename T>
class TripleBuffer {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    void write(const T& value) noexcept {
        slots_[back_] = value;
        back_ = shared_.exchange(back_ | kFresh, std::memory_order_acq_rel) & kIndex;
    }

    // The newest value since the last call, or null when there is none. Valid until the next call.
    const T* read() noexcept {
        if ((shared_.load(std::memory_order_relaxed) & kFresh) == 0) {
            return nullptr;
        }
        front_ = shared_.exchange(front_, std::memory_order_acq_rel) & kIndex;
        return &slots_[front_];
    }

private:
    static constexpr unsigned kFresh = 4;
    static constexpr unsigned kIndex = 3;
    std::array<T, 3> slots_{};
    unsigned back_ = 0;
    unsigned front_ = 2;
    std::atomic<unsigned> shared_{1};
};

// Outward, every value in order: one producer, one consumer. A full ring refuses the new value and counts it.
template <typename T, std::size_t Capacity>
class SpscRing {
    static_assert(std::is_trivially_copyable_v<T> && (Capacity & (Capacity - 1)) == 0);

public:
    bool push(const T& value) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head - tail_.load(std::memory_order_acquire) == Capacity) {
            dropped_.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
        slots_[head & (Capacity - 1)] = value;
        head_.store(head + 1, std::memory_order_release);
        return true;
    }

    bool pop(T& value) noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == head_.load(std::memory_order_acquire)) {
            return false;
        }
        value = slots_[tail & (Capacity - 1)];
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

private:
    std::array<T, Capacity> slots_{};
    std::atomic<std::size_t> head_{0};
    std::atomic<std::size_t> tail_{0};
    std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace edgearm
