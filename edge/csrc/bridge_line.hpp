// Messages of the bridge protocol on a line of bytes: the computer's end. What is said, and when, is bridge_arm.hpp's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "byte_link.hpp"

extern "C" {
#include "bridge_serial.h"
}

namespace edgearm {

using link::Io;
using link::monotonic_ns;

struct BridgePort {
    std::unique_ptr<link::ByteLink> line;
    std::string stable_path;  // the name to find the same adapter by
};
// Throws Error(link).
BridgePort open_bridge(const std::string& port);

class BridgeLine {
public:
    explicit BridgeLine(BridgePort port) : port_(std::move(port)) { bridge_parser_init(&parser_); }

    // Io::refused for a message that is none.
    Io send(const bridge_message& message, std::int64_t deadline_ns) noexcept;
    // What waits to go out is dropped, and a stop goes instead.
    Io send_stop(std::int64_t deadline_ns) noexcept;
    // The next message. With link::kNoWait, of what has come already.
    Io receive(bridge_message& message, std::int64_t deadline_ns) noexcept;
    // Throws away what has come in.
    void discard_input() noexcept;

    const BridgePort& port() const { return port_; }
    std::uint64_t corrupt() const { return parser_.corrupt; }

private:
    BridgePort port_;
    bridge_parser parser_{};
    std::array<std::uint8_t, 1024> incoming_{};
    std::size_t at_ = 0;
    std::size_t end_ = 0;
};

}  // namespace edgearm
