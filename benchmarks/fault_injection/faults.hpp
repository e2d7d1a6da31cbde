// What the programs of the fault table share: which faults there are, what one does to a frame, and what is counted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace edgearm::faults {

// SplitMix64: the same numbers on every machine.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next();
    // Uniform, from 0 to `count` - 1.
    std::uint64_t below(std::uint64_t count) { return next() % count; }
    // Uniform in [-1, 1).
    double sign() { return static_cast<double>(next() >> 11) * 0x1p-52 - 1; }
    bool chance(double share) { return static_cast<double>(next() >> 11) * 0x1p-53 < share; }

private:
    std::uint64_t state_;
};

enum class Kind : std::uint8_t {
    bit_flip,
    byte_swap,  // two neighbouring bytes that differ; on the servo bus data bytes, which the sum does not see
    truncation,
    drop,
    duplicate,
    reorder,  // late, and overtaken
    delay,    // late, and the line waits
    noise,    // bytes before it
};
inline constexpr std::size_t kKinds = 8;
inline constexpr std::array<const char*, kKinds> kNames{"bit flip",  "byte swap", "truncation", "drop",
                                                        "duplicate", "reorder",   "delay",      "noise"};

using Bytes = std::vector<std::uint8_t>;

// A frame as it is carried on: when, and whether the line waits for it.
struct Carried {
    Bytes data;
    std::int64_t late_ns = 0;
    bool holds = false;
};

inline constexpr std::int64_t kLate = 10'000'000;

// What becomes of a frame; `first` and `last` bound the bytes that a swap takes.
std::vector<Carried> inject(Kind kind, const Bytes& frame, std::size_t first, std::size_t last, Random& random);

// One direction of a line under a clock that is moved: faults happen to the frame that they are armed for.
class Line {
public:
    explicit Line(Random& random) : random_(random) {}

    // The `skip`-th frame from now on (0: the next) meets this.
    void arm(Kind kind, std::uint64_t skip) {
        kind_ = kind;
        skip_ = skip + 1;
    }
    // Every frame meets a fault of any kind, or of one kind alone, with this chance.
    void dense(double share, int kind) {
        share_ = share;
        dense_kind_ = kind;
    }
    // Frames end here: what is armed and did not happen will not.
    void disarm() { skip_ = 0; }

    void send(const Bytes& frame, std::int64_t now_ns, std::size_t first, std::size_t last);
    // Takes what has arrived by now, one piece a call; empty when there is none.
    Bytes receive(std::int64_t now_ns);
    // When the next piece arrives; -1 when nothing is on the way.
    std::int64_t next_ns() const;
    void discard(std::int64_t now_ns);

    std::uint64_t injected() const { return injected_; }

private:
    struct OnTheWay {
        std::int64_t due_ns;
        Bytes data;
    };
    Random& random_;
    Kind kind_{};
    std::uint64_t skip_ = 0;
    double share_ = 0;
    int dense_kind_ = -1;
    std::int64_t in_order_ns_ = 0;
    std::uint64_t injected_ = 0;
    std::vector<OnTheWay> way_;
};

// What a row of the table says.
struct Row {
    std::string path;   // which way the commands went
    std::string fault;  // and what happened on it
    std::uint64_t injections = 0;
    std::uint64_t outside = 0;     // goals beyond the joint's limits
    std::uint64_t jumps = 0;       // goals farther from the one before than the joint can go
    std::uint64_t stale = 0;       // goals from before a stop, after it
    std::uint64_t holds = 0;       // the arm came to rest by itself for a while, and went on by itself
    std::uint64_t aborts = 0;      // motion ended for good by a single injection
    std::uint64_t undetected = 0;  // messages believed that nobody had sent
    bool isolated = true;          // one injection at a time: aborts are counted
    // What the project promises of this row; what the servo protocol cannot see is measured and not promised.
    bool promised = true;

    bool kept() const { return !promised || (outside | jumps | stale | aborts | undetected) == 0; }
};

// Commands straight to the servos, and through the bridge to a microcontroller.
std::vector<Row> run_direct(std::uint64_t injections, std::uint64_t seed);
std::vector<Row> run_bridge(std::uint64_t injections, std::uint64_t seed);

// Damaged frames, whatever the damage, offered to a parser alone.
struct Detection {
    std::string code;  // which check
    std::string damage;
    std::uint64_t frames = 0;
    std::uint64_t undetected = 0;
};
std::vector<Detection> run_detection(std::uint64_t frames, std::uint64_t seed);

}  // namespace edgearm::faults
