// Commands through the bridge: a computer and a microcontroller, a faulty serial line between them, and servos behind
// the microcontroller. The microcontroller's part is the codec, the gate and the safety limiter that it runs; the
// computer's is as docs/bridge-protocol.md asks. One tick is 1 ms of a clock that only moves here.
#include <memory>

#include "bridge_ends.hpp"
#include "toy_arm.hpp"

namespace edgearm::faults {

namespace {

constexpr std::uint64_t kApart = 60;      // ticks from one injection to the next
constexpr std::uint64_t kStopEvery = 20;  // injections

Limits limits_of(const Arm& arm) {
    Limits limits{};
    for (std::size_t i = 0; i < kJoints; ++i) {
        safety_limits_from(&arm.limits()[i], 0.001, &limits[i]);
    }
    return limits;
}

class Bench {
public:
    Bench(std::uint64_t seed, Row& counted) : random(seed), row(&counted) { ticks(200); }

    Random random;
    Row* row;
    const Arm arm = test::toy_arm();
    const Limits limits = limits_of(arm);
    Line down{random};
    Line up{random};
    Microcontroller board{arm, limits, row};
    Computer computer{limits, random};

    void ticks(std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            now_ += kTick;
            for (Bytes data; !(data = up.receive(now_)).empty();) {
                computer.hear(data);
            }
            computer.tick(now_, down);
            for (Bytes data; !(data = down.receive(now_)).empty();) {
                board.hear(data, now_, computer.sent, up);
            }
            board.tick(now_, up);
        }
    }

    void stop() {
        board.expect_stop(computer.session, computer.sequence);
        computer.stopping = true;
    }

    bool running() const { return board.gate.arm == BRIDGE_RUNNING; }

private:
    std::int64_t now_ = 0;
};

Row one_at_a_time(Kind kind, bool states, std::uint64_t injections, std::uint64_t seed) {
    Row row{.path = states ? "bridge, states" : "bridge, commands", .fault = kNames[static_cast<std::size_t>(kind)]};
    const auto bench = std::make_unique<Bench>(seed, row);
    Line& line = states ? bench->up : bench->down;
    for (; row.injections < injections; ++row.injections) {
        const bool stopping = row.injections % kStopEvery == kStopEvery - 1;
        const bool was_running = bench->running();
        line.arm(kind, bench->random.below(4));
        if (stopping) {
            bench->ticks(bench->random.below(12));
            bench->stop();
        }
        bench->ticks(kApart);
        row.aborts += was_running && !stopping && !bench->running();
        if (!bench->running()) {
            line.disarm();
            bench->ticks(1000);  // stopped, or come to rest: armed again, and on its way
        }
    }
    return row;
}

Row wild_targets(std::uint64_t injections, std::uint64_t seed) {
    Row row{.path = "bridge, commands", .fault = "targets anywhere, CRC right"};
    const auto bench = std::make_unique<Bench>(seed, row);
    for (; row.injections < injections; ++row.injections) {
        bench->computer.wild = true;
        bench->ticks(1 + bench->random.below(kApart));
        row.aborts += !bench->running();
    }
    return row;
}

Row many_at_once(const char* fault, int kind, double share, std::uint64_t injections, std::uint64_t seed) {
    Row row{.path = "bridge, both", .fault = fault};
    row.isolated = false;
    const auto bench = std::make_unique<Bench>(seed, row);
    bench->down.dense(share, kind);
    bench->up.dense(share, kind);
    for (std::uint64_t round = 0; row.injections < injections; ++round) {
        if (bench->random.chance(0.05)) {
            bench->stop();
        }
        bench->ticks(kApart);
        row.injections = bench->down.injected() + bench->up.injected();
    }
    return row;
}

}  // namespace

std::vector<Row> run_bridge(std::uint64_t injections, std::uint64_t seed) {
    const std::uint64_t each = (injections + 20) / 21;
    std::vector<Row> rows;
    for (const bool states : {false, true}) {
        for (std::size_t kind = 0; kind < kKinds; ++kind) {
            rows.push_back(one_at_a_time(static_cast<Kind>(kind), states, each, seed + rows.size()));
        }
    }
    rows.push_back(wild_targets(each, seed + rows.size()));
    constexpr int kDrop = static_cast<int>(Kind::drop);
    rows.push_back(many_at_once("drop 0.1 %", kDrop, 0.001, each, seed + rows.size()));
    rows.push_back(many_at_once("drop 1 %", kDrop, 0.01, each, seed + rows.size()));
    rows.push_back(many_at_once("drop 10 %", kDrop, 0.1, each, seed + rows.size()));
    rows.push_back(many_at_once("any, 10 %", -1, 0.1, each, seed + rows.size()));
    return rows;
}

}  // namespace edgearm::faults
