// A CAN bus behind an interface of the Linux kernel (can0). Its bit rates are the kernel's business, set when it is
// brought up: `ip link set can0 up type can bitrate 1000000`.
#pragma once

#include "can_link.hpp"

namespace edgearm::link {

struct SocketCanConfig {
    bool fd = false;  // CAN FD frames as well
    // Frames sent here also reach other programs of this machine that listen on the interface. Off: the loop's bus is
    // not the place to watch it from, and every copy costs the sender.
    bool loopback = false;
};

class SocketCanLink final : public CanLink {
public:
    // Opens the interface. Throws Error: a kernel without CAN, no such interface, another kind of interface, one that
    // is switched off, off the bus, or cannot carry CAN FD.
    explicit SocketCanLink(std::string interface, SocketCanConfig config = {});
    ~SocketCanLink() override;
    SocketCanLink(const SocketCanLink&) = delete;
    SocketCanLink& operator=(const SocketCanLink&) = delete;

    const std::string& path() const noexcept override { return path_; }

    // While the controller is off the bus nothing is handed to the kernel, which would keep it and send it, stale, when
    // the bus comes back.
    Io send(const CanFrame& frame, std::int64_t deadline_ns) noexcept override;
    Io receive(CanFrame& frame, std::int64_t deadline_ns) noexcept override;
    // As of the last error report that receive() came upon. Active until there is one: a bus without errors has none.
    BusState state() const noexcept override { return state_; }

private:
    void open(const std::string& interface);
    void require(int result, const char* what) const;

    std::string path_;
    SocketCanConfig config_;
    int file_ = -1;
    BusState state_ = BusState::active;
    std::uint32_t dropped_before_ = 0;
};

}  // namespace edgearm::link
