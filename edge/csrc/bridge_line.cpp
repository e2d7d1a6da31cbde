#include "bridge_line.hpp"

#include "open_link.hpp"
#include "serial_port.hpp"

namespace edgearm {

namespace {

constexpr int kMostReads = 8;  // without a deadline: a line that babbles keeps nobody for ever

}  // namespace

BridgePort open_bridge(const std::string& port) {
    auto line = open_unique<link::SerialPort>(port);
    std::string stable = line->stable_path();
    return {std::move(line), std::move(stable)};
}

Io BridgeLine::send(const bridge_message& message, std::int64_t deadline_ns) noexcept {
    std::array<std::uint8_t, BRIDGE_MAX_LENGTH> bytes{};
    std::array<std::uint8_t, BRIDGE_SERIAL_MAX_FRAME> frame{};
    const std::size_t length = bridge_serial_frame(bytes.data(), bridge_encode(&message, bytes.data()), frame.data());
    return length == 0 ? Io::refused : port_.line->write({frame.data(), length}, deadline_ns);
}

Io BridgeLine::send_stop(std::int64_t deadline_ns) noexcept {
    port_.line->discard_output();
    bridge_message stop{};
    stop.kind = BRIDGE_STOP;
    return send(stop, deadline_ns);
}

Io BridgeLine::receive(bridge_message& message, std::int64_t deadline_ns) noexcept {
    for (int reads = 0; deadline_ns != link::kNoWait || reads <= kMostReads; ++reads) {
        while (at_ < end_) {
            if (bridge_parser_push(&parser_, incoming_[at_++], &message)) {
                return Io::ok;
            }
        }
        at_ = end_ = 0;
        if (const Io result = port_.line->read(incoming_, deadline_ns, end_); result != Io::ok) {
            return result;
        }
    }
    return Io::timeout;
}

void BridgeLine::discard_input() noexcept {
    port_.line->discard_input();
    at_ = end_ = 0;
    const std::uint32_t corrupt = parser_.corrupt;
    bridge_parser_init(&parser_);
    parser_.corrupt = corrupt;
}

}  // namespace edgearm
