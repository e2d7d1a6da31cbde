// Loop and servo bus of the host, with a line of bytes in memory between bus and servos. What the servos decode is
// judged. Four steps of the loop, then one bus cycle, under a clock that only moves here.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "arm_link.hpp"
#include "control_loop.hpp"
#include "feetech_bus.hpp"
#include "memory_line.hpp"
#include "servos.hpp"
#include "toy_arm.hpp"

namespace edgearm::faults {

namespace {

constexpr std::int64_t kStep = 1'000'000;
constexpr int kOld = 41;                  // ticks that a joint goes in 20 ms: a measurement may be that old
constexpr std::uint64_t kApart = 15;      // cycles from one injection to the next
constexpr std::uint64_t kStopEvery = 20;  // injections

class Bench {
public:
    explicit Bench(std::uint64_t seed) : random(seed) {
        for (std::size_t i = 0; i < kJoints; ++i) {
            ids_[i] = arm.spec().joints[i].servo_id;
            newest_[i] = arm.from_ticks(i, 2048);
            servos.goal[i] = servos.position[i] = 2048;
        }
        judge.stands(servos.goal, 0);
        gate_.reset(newest_, 0);
        feedback_ = newest_;
        loop.start();
        cycles(5);
    }

    Random random;
    Row none;
    Row* row = &none;
    const Arm arm = test::toy_arm();
    Judge judge{arm, row};
    Servos servos{judge};
    MemoryLine line{random, servos};
    ControlLoop loop{arm, {}};

    void cycles(std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            for (int k = 0; k < 4; ++k) {
                loop.step(clock_ += kStep, feedback_ ? &*feedback_ : nullptr);
                feedback_.reset();
            }
            line.now = std::max(line.now, clock_);
            line.carry(line.now);
            exchange(loop.published().commanded);
            servos.position = servos.goal;
        }
    }

    // Somewhere else within the limits, at a speed that the loop takes.
    Offer move() {
        const Joints from = loop.published().commanded;
        Chunk chunk;
        chunk.horizon = 16;
        chunk.start_ns = clock_;
        chunk.period_ns = 50 * kStep;
        for (std::size_t i = 0; i < kJoints; ++i) {
            const safety_physical& limits = arm.limits()[i];
            const double middle = (limits.lower + limits.upper) / 2;
            const double goal = middle + random.sign() * 0.45 * (limits.upper - limits.lower);
            const double step = std::clamp((goal - from[i]) / 16, -0.05, 0.05);
            for (std::size_t knot = 0; knot < chunk.horizon; ++knot) {
                chunk.joints[knot][i] = from[i] + step * static_cast<double>(knot + 1);
            }
        }
        return loop.offer(chunk);
    }

    // A chunk that no loop may take.
    Offer offer_nonsense() {
        const Joints from = loop.published().commanded;
        Chunk chunk;
        chunk.horizon = 16;
        chunk.start_ns = clock_;
        chunk.period_ns = 50 * kStep;
        chunk.joints.fill(from);
        double& element = chunk.joints[random.below(16)][random.below(kJoints)];
        switch (random.below(4)) {
            case 0:
                element = std::numeric_limits<double>::quiet_NaN();
                break;
            case 1:
                element = std::numeric_limits<double>::infinity();
                break;
            case 2:
                element += 1.5;
                break;
            default:
                chunk.horizon = kMaxHorizon + 1;
        }
        return loop.offer(chunk);
    }

    // Counts what has happened to the motion since `before`.
    void count(const Counters& before) {
        const Counters now = loop.published().counters;
        row->holds += now.holds_feedback + now.holds_stalled - before.holds_feedback - before.holds_stalled;
        row->aborts += now.faults - before.faults;
    }

    // Comes to rest while the fault happens in every tenth cycle or so; from then on only the goal of rest is right.
    void stop(Line& struck, int kind) {
        loop.hold();
        struck.disarm();
        struck.dense(&struck == &line.requests ? 0.05 : 0.02, kind);
        do {
            cycles(1);
        } while (!loop.published().at_rest);
        Ticks rest{};
        for (std::size_t i = 0; i < kJoints; ++i) {
            rest[i] = arm.to_ticks(i, loop.published().commanded[i]);
        }
        judge.rests(rest);
        struck.dense(0, -1);
    }

private:
    // As the driver's bus thread does: goals out, positions in, and what is not believable is left out.
    void exchange(const Joints& goals) {
        std::array<std::uint16_t, kJoints> words{};
        for (std::size_t i = 0; i < kJoints; ++i) {
            words[i] = feetech_to_sign_magnitude(arm.to_ticks(i, goals[i]), FEETECH_SIGN_POSITION);
        }
        const std::int64_t deadline = clock_ + 4 * kStep;
        bus_.sync_write(FEETECH_GOAL_POSITION, ids_, words, deadline);
        std::array<WordReply, kJoints> replies{};
        bus_.sync_read(FEETECH_PRESENT_POSITION, ids_, replies, deadline);
        for (std::size_t i = 0; i < kJoints; ++i) {
            const int ticks = feetech_from_sign_magnitude(replies[i].word, FEETECH_SIGN_POSITION);
            if (replies[i].came && gate_.admit(i, arm.from_ticks(i, ticks), line.now)) {
                newest_[i] = arm.from_ticks(i, ticks);
                fresh_[i] = true;
                row->undetected += std::abs(ticks - servos.position[i]) > kOld;
            }
        }
        if (fresh_ == kAllFresh) {
            feedback_ = newest_;
            fresh_.fill(false);
        }
    }

    static constexpr std::array<bool, kJoints> kAllFresh{true, true, true, true, true, true};
    FeetechBus bus_{line};
    PlausibilityGate gate_{arm};
    std::array<std::uint8_t, kJoints> ids_{};
    Joints newest_{};
    std::array<bool, kJoints> fresh_{};
    std::optional<Joints> feedback_;
    std::int64_t clock_ = 0;
};

// Frames without numbers and with eight bits of sum let some of the others pass, and nothing above the wire can help.
bool promised(Kind kind, bool replies) {
    return replies || kind == Kind::drop || kind == Kind::duplicate || kind == Kind::delay;
}

Row one_at_a_time(Kind kind, bool replies, std::uint64_t injections, std::uint64_t seed) {
    Row row{.path = replies ? "servo bus, replies" : "servo bus, requests",
            .fault = kNames[static_cast<std::size_t>(kind)]};
    row.promised = promised(kind, replies);
    const auto bench = std::make_unique<Bench>(seed);
    bench->row = &row;
    Line& line = replies ? bench->line.replies : bench->line.requests;
    while (row.injections < injections) {
        const bool resting = row.injections % kStopEvery == kStopEvery - 1;
        if (resting) {
            bench->stop(line, static_cast<int>(kind));
        } else {
            bench->move();
            bench->cycles(1);
        }
        const Counters before = bench->loop.published().counters;
        // Which of the two requests of a cycle, or of the six replies; and a cycle later or not.
        line.arm(kind, bench->random.below(replies ? 12 : 4));
        bench->cycles(kApart);
        bench->count(before);
        row.injections += 1;
        if (resting) {
            bench->judge.moves();
        }
        if (bench->loop.published().state == State::fault) {
            break;  // latched: it is counted, and nothing after it would mean anything
        }
    }
    return row;
}

Row nonsense(std::uint64_t injections, std::uint64_t seed) {
    Row row{.path = "loop", .fault = "NaN, infinity, jump or shape in a chunk"};
    const auto bench = std::make_unique<Bench>(seed);
    bench->row = &row;
    for (; row.injections < injections; ++row.injections) {
        if (row.injections % 4 == 0) {
            bench->move();
            bench->cycles(1);
        }
        const Counters before = bench->loop.published().counters;
        row.undetected += static_cast<bool>(bench->offer_nonsense().verdict);
        bench->cycles(3);
        bench->count(before);
    }
    return row;
}

// Nobody answers for a cycle.
Row silence(std::uint64_t injections, std::uint64_t seed) {
    Row row{.path = "servo bus, replies", .fault = "no feedback for a cycle"};
    const auto bench = std::make_unique<Bench>(seed);
    bench->row = &row;
    for (; row.injections < injections; ++row.injections) {
        bench->move();
        bench->cycles(1);
        const Counters before = bench->loop.published().counters;
        bench->line.replies.dense(1.0, static_cast<int>(Kind::drop));
        bench->cycles(1);
        bench->line.replies.dense(0, -1);
        bench->cycles(kApart);
        bench->count(before);
    }
    return row;
}

Row many_at_once(double share, std::uint64_t injections, std::uint64_t seed) {
    Row row{.path = "servo bus, both", .fault = "drop " + std::to_string(share * 100).substr(0, 4) + " %"};
    row.isolated = false;
    const auto bench = std::make_unique<Bench>(seed);
    bench->row = &row;
    for (std::uint64_t round = 1; row.injections < injections; ++round) {
        const bool resting = round % kStopEvery == 0;
        resting ? bench->stop(bench->line.requests, static_cast<int>(Kind::drop)) : static_cast<void>(bench->move());
        for (Line* line : {&bench->line.requests, &bench->line.replies}) {
            line->dense(share, static_cast<int>(Kind::drop));
        }
        bench->cycles(kApart);
        for (Line* line : {&bench->line.requests, &bench->line.replies}) {
            line->dense(0, -1);
        }
        bench->judge.moves();
        row.injections = bench->line.requests.injected() + bench->line.replies.injected();
    }
    return row;
}

}  // namespace

std::vector<Row> run_direct(std::uint64_t injections, std::uint64_t seed) {
    const std::uint64_t each = (injections + 20) / 21;
    std::vector<Row> rows;
    for (const bool replies : {false, true}) {
        for (std::size_t kind = 0; kind < kKinds; ++kind) {
            rows.push_back(one_at_a_time(static_cast<Kind>(kind), replies, each, seed + rows.size()));
        }
    }
    for (const double share : {0.001, 0.01, 0.1}) {
        rows.push_back(many_at_once(share, each, seed + rows.size()));
    }
    rows.push_back(silence(each, seed + rows.size()));
    rows.push_back(nonsense(each, seed + rows.size()));
    return rows;
}

}  // namespace edgearm::faults
