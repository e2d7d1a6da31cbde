// The borders are tested with a writer and a reader that race on purpose: under TSan this proves the absence of data
// races, everywhere it proves that no reader ever sees a value that was never written.
#include <doctest/doctest.h>

#include <thread>

#include "mailbox.hpp"
#include "seq_latch.hpp"

namespace {

struct Wide {
    std::array<std::uint64_t, 40> words{};

    static Wide of(std::uint64_t value) {
        Wide wide;
        wide.words.fill(value);
        return wide;
    }

    bool whole() const {
        for (const std::uint64_t word : words) {
            if (word != words[0]) {
                return false;
            }
        }
        return true;
    }
};

constexpr std::uint64_t kWrites = 20'000;

}  // namespace

TEST_CASE("a triple buffer hands out the newest value once") {
    edgearm::TripleBuffer<Wide> box;
    CHECK(box.read() == nullptr);
    box.write(Wide::of(1));
    box.write(Wide::of(2));
    const Wide* got = box.read();
    REQUIRE(got != nullptr);
    CHECK(got->words[0] == 2);
    CHECK(box.read() == nullptr);
}

TEST_CASE("a triple buffer read beside a writer gives whole values in order, and the last one") {
    edgearm::TripleBuffer<Wide> box;
    std::thread writer([&] {
        for (std::uint64_t i = 1; i <= kWrites; ++i) {
            box.write(Wide::of(i));
        }
    });
    std::uint64_t last = 0;
    bool whole = true;
    bool ordered = true;
    while (last < kWrites) {
        if (const Wide* got = box.read()) {
            whole = whole && got->whole();
            ordered = ordered && got->words[0] > last;
            last = got->words[0];
        } else {
            std::this_thread::yield();
        }
    }
    writer.join();
    CHECK(whole);
    CHECK(ordered);
}

TEST_CASE("a latch read beside a writer gives whole values that never go back") {
    edgearm::SeqLatch<Wide> box;
    std::thread writer([&] {
        for (std::uint64_t i = 1; i <= kWrites; ++i) {
            box.write(Wide::of(i));
        }
    });
    std::uint64_t last = 0;
    bool whole = true;
    bool ordered = true;
    while (last < kWrites) {
        Wide got;
        box.read(got);
        whole = whole && got.whole();
        ordered = ordered && got.words[0] >= last;
        last = got.words[0];
    }
    writer.join();
    CHECK(whole);
    CHECK(ordered);
}

TEST_CASE("a ring keeps every value in order, and counts what it had no room for") {
    edgearm::SpscRing<std::uint64_t, 64> ring;
    std::thread producer([&] {
        for (std::uint64_t i = 1; i <= kWrites;) {
            if (ring.push(i)) {
                ++i;
            } else {
                std::this_thread::yield();
            }
        }
    });
    std::uint64_t expected = 1;
    bool ordered = true;
    while (expected <= kWrites) {
        std::uint64_t got = 0;
        if (ring.pop(got)) {
            ordered = ordered && got == expected;
            ++expected;
        } else {
            std::this_thread::yield();
        }
    }
    producer.join();
    CHECK(ordered);

    const std::uint64_t before = ring.dropped();
    for (std::uint64_t i = 0; i < 64; ++i) {
        REQUIRE(ring.push(i));
    }
    CHECK_FALSE(ring.push(64));
    CHECK(ring.dropped() == before + 1);
}
