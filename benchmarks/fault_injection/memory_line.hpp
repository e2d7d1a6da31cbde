// The line between the host's servo bus and the servos, under a clock that is moved.
#pragma once

#include <algorithm>
#include <span>
#include <string>

#include "byte_link.hpp"
#include "faults.hpp"
#include "servos.hpp"

namespace edgearm::faults {

inline constexpr std::int64_t kByte = 10'000;

// The host's end of the line. Time passes while it waits.
class MemoryLine : public link::ByteLink {
public:
    MemoryLine(Random& random, Servos& servos) : requests(random), replies(random), servos_(servos) {}

    std::int64_t now = 0;
    Line requests;
    Line replies;

    const std::string& path() const noexcept override { return path_; }

    link::Io write(std::span<const std::uint8_t> bytes, std::int64_t, std::size_t& count) noexcept override {
        count = bytes.size();
        now += static_cast<std::int64_t>(count) * kByte;
        requests.send({bytes.begin(), bytes.end()}, now, 7, count - 2);  // data begins behind FF FF ID LEN INST ADDR N
        carry(now);
        return link::Io::ok;
    }

    link::Io read(std::span<std::uint8_t> into, std::int64_t deadline_ns, std::size_t& count) noexcept override {
        count = 0;
        for (;;) {
            const std::int64_t request = requests.next_ns();
            const std::int64_t reply = replies.next_ns();
            const bool first_request = request >= 0 && (reply < 0 || request <= reply);
            const std::int64_t next = first_request ? request : reply;
            if (next < 0 || next > deadline_ns) {
                now = std::max(now, deadline_ns);
                return link::Io::timeout;
            }
            now = std::max(now, next);
            if (first_request) {
                carry(now);
                continue;
            }
            const Bytes data = replies.receive(now);
            if (!data.empty()) {
                count = std::min(data.size(), into.size());
                std::copy_n(data.begin(), count, into.begin());
                return link::Io::ok;
            }
        }
    }

    void discard_input() noexcept override { replies.discard(now); }

    // Requests that have arrived by now; the line is idle otherwise.
    void carry(std::int64_t now_ns) {
        Bytes arrived;
        for (Bytes data; !(data = requests.receive(now_ns)).empty();) {
            arrived.insert(arrived.end(), data.begin(), data.end());
        }
        std::int64_t at = now_ns;
        for (const Bytes& reply : servos_.hear(arrived, at)) {
            at += static_cast<std::int64_t>(reply.size()) * kByte;
            replies.send(reply, at, 5, reply.size() - 2);
        }
    }

private:
    Servos& servos_;
    std::string path_ = "memory";
};

}  // namespace edgearm::faults
