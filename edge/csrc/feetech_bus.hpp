// Transactions with Feetech servos on one half-duplex line: one request out, its replies in, never two at once.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "byte_link.hpp"

extern "C" {
#include "feetech.h"
}

namespace edgearm {

using link::Io;
using link::monotonic_ns;

struct Reply {
    Io io = Io::timeout;
    std::uint8_t error = 0;  // the servo's error bits
    std::vector<std::uint8_t> params;
};

// One servo's answer to a sync_read.
struct WordReply {
    bool came = false;
    std::uint8_t error = 0;
    std::uint16_t word = 0;
};

struct BusCounters {
    std::uint64_t replies = 0;   // intact status frames that answered a request
    std::uint64_t corrupt = 0;   // frames with a wrong sum
    std::uint64_t stray = 0;     // intact frames that answered nothing
    std::uint64_t timeouts = 0;  // replies that did not come in time
};

class FeetechBus {
public:
    // `line` must outlive the bus.
    explicit FeetechBus(link::ByteLink& line);

    // Unicast transactions: every one is answered by a status frame. Tried `tries` times.
    Reply ping(std::uint8_t id, std::int64_t timeout_ns, int tries);
    Reply read(std::uint8_t id, std::uint8_t address, std::uint8_t length, std::int64_t timeout_ns, int tries);
    Reply write(std::uint8_t id, std::uint8_t address, std::span<const std::uint8_t> data, std::int64_t timeout_ns,
                int tries);

    // Writes one little-endian word per servo; servos do not answer this.
    Io sync_write(std::uint8_t address, std::span<const std::uint8_t> ids, std::span<const std::uint16_t> words,
                  std::int64_t deadline_ns) noexcept;
    // Reads one word per servo. Io::ok when the line works, even if some servos did not answer.
    Io sync_read(std::uint8_t address, std::span<const std::uint8_t> ids, std::span<WordReply> replies,
                 std::int64_t deadline_ns) noexcept;

    const BusCounters& counters() const { return counters_; }

private:
    static constexpr std::size_t kReplyParams =
        16;  // nothing we ask for is longer: bounds what a false header can cost

    Reply transact(std::uint8_t id, std::span<const std::uint8_t> request, std::size_t params, std::int64_t timeout_ns,
                   int tries);
    // The next intact frame, in `frame` until the parser is used again.
    Io next_frame(feetech_frame& frame, std::int64_t deadline_ns) noexcept;
    void begin() noexcept;

    link::ByteLink& line_;
    feetech_parser parser_{};
    std::array<std::uint8_t, 256> incoming_{};
    std::size_t incoming_at_ = 0;
    std::size_t incoming_end_ = 0;
    BusCounters counters_{};
};

}  // namespace edgearm
