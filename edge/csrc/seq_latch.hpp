// One writer publishes a state; any thread reads a whole one, and never waits for the writer to get on.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace edgearm {

// A sequence lock with two copies ("latch"). With one copy a reader waits until the writer is done, and if it has the
// higher priority on the writer's core, that is for ever. Here the writer fills the copy that nobody reads and then
// turns readers over to it, so one that is stopped half-way stops no reader. A reader's copy is void only if a whole
// new state was published and the next one may have begun meanwhile. The words are atomic because plain reads beside a
// write would be a data race in C++ even where the copy is then thrown away.
template <typename T>
class SeqLatch {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);
    static constexpr std::size_t kWords = sizeof(T) / 8;

public:
    void write(const T& value) noexcept {
        const auto* from = reinterpret_cast<const unsigned char*>(&value);
        const std::uint64_t next = published_.load(std::memory_order_relaxed) + 1;
        // Release on every word: a reader that sees a word of this state also sees that the one before is published.
        for (std::size_t i = 0; i < kWords; ++i) {
            std::uint64_t word = 0;
            std::memcpy(&word, from + 8 * i, 8);
            copies_[next & 1][i].store(word, std::memory_order_release);
        }
        published_.store(next, std::memory_order_release);
    }

    // One attempt: a bounded number of steps. False when `to` was overtaken and holds nothing of use.
    bool try_read(T& to) const noexcept {
        auto* bytes = reinterpret_cast<unsigned char*>(&to);
        const std::uint64_t before = published_.load(std::memory_order_acquire);
        for (std::size_t i = 0; i < kWords; ++i) {
            const std::uint64_t word = copies_[before & 1][i].load(std::memory_order_acquire);
            std::memcpy(bytes + 8 * i, &word, 8);
        }
        return published_.load(std::memory_order_relaxed) == before;
    }

    void read(T& to) const noexcept {
        while (!try_read(to)) {
        }
    }

private:
    std::atomic<std::uint64_t> published_{0};
    std::array<std::array<std::atomic<std::uint64_t>, kWords>, 2> copies_{};
};

}  // namespace edgearm
