// What the check of a frame lets pass: whole frames, damaged, offered to a parser that is otherwise left alone.
#include <algorithm>
#include <functional>

#include "faults.hpp"

extern "C" {
#include "bridge_serial.h"
#include "feetech.h"
}

namespace edgearm::faults {

namespace {

// Damage on a line. Each leaves something that is not the frame.
struct Damage {
    const char* name;
    std::function<void(Bytes&, Random&)> apply;
};

void flip(Bytes& frame, Random& random, std::uint64_t bits) {
    for (std::uint64_t i = 0; i < bits; ++i) {
        frame[random.below(frame.size())] ^= static_cast<std::uint8_t>(1U << random.below(8));
    }
}

const std::array<Damage, 6> kDamage{{
    {"1 bit", [](Bytes& frame, Random& random) { flip(frame, random, 1); }},
    {"2 to 8 bits", [](Bytes& frame, Random& random) { flip(frame, random, 2 + random.below(7)); }},
    {"bytes exchanged",
     [](Bytes& frame, Random& random) {
         std::swap(frame[random.below(frame.size())], frame[random.below(frame.size())]);
     }},
    {"byte lost",
     [](Bytes& frame, Random& random) {
         frame.erase(frame.begin() + static_cast<std::ptrdiff_t>(random.below(frame.size())));
     }},
    {"burst of up to 8 bytes",
     [](Bytes& frame, Random& random) {
         const std::size_t at = random.below(frame.size());
         const std::size_t end = std::min(frame.size(), at + 1 + random.below(8));
         for (std::size_t i = at; i < end; ++i) {
             frame[i] = static_cast<std::uint8_t>(random.next());
         }
     }},
    {"the rest is noise",
     [](Bytes& frame, Random& random) {
         for (std::size_t i = random.below(frame.size()); i < frame.size(); ++i) {
             frame[i] = static_cast<std::uint8_t>(random.next());
         }
     }},
}};

Bytes command(Random& random) {
    bridge_message message{};
    message.kind = BRIDGE_COMMAND;
    message.as.command.joints = 6;
    message.as.command.order = {20, static_cast<std::uint32_t>(random.next()),
                                static_cast<std::uint32_t>(random.next()), static_cast<std::uint32_t>(random.next())};
    for (bridge_target& target : message.as.command.targets) {
        target.position = static_cast<std::int64_t>(random.below(UINT64_C(1) << 34)) - (INT64_C(1) << 33);
        target.velocity = static_cast<std::int32_t>(random.below(1U << 24)) - (1 << 23);
    }
    std::array<std::uint8_t, BRIDGE_MAX_LENGTH> bytes{};
    Bytes frame(BRIDGE_SERIAL_MAX_FRAME);
    frame.resize(bridge_serial_frame(bytes.data(), bridge_encode(&message, bytes.data()), frame.data()));
    return frame;
}

Bytes goals(Random& random) {
    std::array<std::uint8_t, 6> ids{1, 2, 3, 4, 5, 6};
    std::array<std::uint8_t, 12> data{};
    for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = static_cast<std::uint8_t>(random.below(i % 2 == 0 ? 256 : 16));
    }
    Bytes frame(FEETECH_MAX_FRAME);
    frame.resize(feetech_sync_write(42, 2, ids.data(), data.data(), 6, frame.data(), frame.size()));
    return frame;
}

std::uint64_t found_by_bridge(const Bytes& bytes) {
    bridge_parser parser;
    bridge_parser_init(&parser);
    bridge_message message;
    std::uint64_t found = 0;
    for (const std::uint8_t byte : bytes) {
        found += bridge_parser_push(&parser, byte, &message);
    }
    return found;
}

std::uint64_t found_by_feetech(const Bytes& bytes) {
    feetech_parser parser;
    feetech_parser_init(&parser, FEETECH_MAX_PARAMS);
    feetech_parser_push(&parser, bytes.data(), bytes.size());
    feetech_frame frame;
    std::uint64_t found = 0;
    while (feetech_parser_next(&parser, &frame)) {
        found += 1;
    }
    return found;
}

// Zeros around a COBS frame carry nothing: a frame that only lost one of them, next to another, is no damage.
bool same(Bytes a, Bytes b) {
    const auto trim = [](Bytes& bytes) {
        while (!bytes.empty() && bytes.back() == 0) {
            bytes.pop_back();
        }
        bytes.erase(bytes.begin(),
                    std::find_if(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte != 0; }));
    };
    trim(a);
    trim(b);
    return a == b;
}

}  // namespace

std::vector<Detection> run_detection(std::uint64_t frames, std::uint64_t seed) {
    std::vector<Detection> rows;
    for (const bool bridge : {true, false}) {
        for (const Damage& damage : kDamage) {
            Random random(seed + rows.size());
            Detection row{bridge ? "bridge, CRC-32" : "servo bus, sum of 8 bits", damage.name};
            const std::uint64_t each = (frames + kDamage.size() - 1) / kDamage.size();
            Bytes whole;
            while (row.frames < each) {
                if (row.frames % 64 == 0) {
                    whole = bridge ? command(random) : goals(random);
                }
                Bytes damaged = whole;
                damage.apply(damaged, random);
                if (damaged == whole || (bridge && same(damaged, whole))) {
                    continue;
                }
                row.frames += 1;
                row.undetected += (bridge ? found_by_bridge(damaged) : found_by_feetech(damaged)) > 0;
            }
            rows.push_back(row);
        }
    }
    return rows;
}

}  // namespace edgearm::faults
