#include "socketcan_frames.hpp"

#include <linux/can/error.h>
#include <net/if.h>

#include <algorithm>

namespace edgearm::link {

std::size_t to_kernel(const CanFrame& frame, canfd_frame& raw) noexcept {
    if (!is_valid(frame)) {
        return 0;
    }
    raw = {};
    raw.can_id = frame.id | (frame.extended ? CAN_EFF_FLAG : 0) | (frame.remote ? CAN_RTR_FLAG : 0);
    raw.len = frame.length;
    if (!frame.remote) {
        std::copy_n(frame.data.begin(), frame.length, raw.data);
    }
    if (frame.fd) {
        raw.flags = frame.bit_rate_switch ? CANFD_BRS : 0;
    }
    return frame.fd ? CANFD_MTU : CAN_MTU;
}

bool from_kernel(const canfd_frame& raw, std::size_t size, CanFrame& frame) noexcept {
    if ((size != CAN_MTU && size != CANFD_MTU) || is_error_report(raw)) {
        return false;
    }
    CanFrame read;
    read.extended = (raw.can_id & CAN_EFF_FLAG) != 0;
    read.id = raw.can_id & (read.extended ? CAN_EFF_MASK : CAN_SFF_MASK);
    read.remote = (raw.can_id & CAN_RTR_FLAG) != 0;
    read.fd = size == CANFD_MTU;
    read.bit_rate_switch = read.fd && (raw.flags & CANFD_BRS) != 0;
    read.length = raw.len;
    if (!is_valid(read)) {
        return false;
    }
    if (!read.remote) {
        std::copy_n(raw.data, read.length, read.data.begin());
    }
    frame = read;
    return true;
}

bool is_error_report(const canfd_frame& raw) noexcept {
    return (raw.can_id & CAN_ERR_FLAG) != 0;
}

std::optional<Error> out_of_use(const std::string& interface, int flags) {
    if ((flags & IFF_UP) == 0) {
        return Error(Error::Cause::down, "CAN interface " + interface + " is switched off", "an interface that is up",
                     "down", "as root: ip link set " + interface + " up type can bitrate 1000000");
    }
    if ((flags & IFF_RUNNING) == 0) {
        return Error(Error::Cause::bus_off, "CAN interface " + interface + " is off the bus (bus-off)",
                     "a controller that takes part in the bus", "up, without a carrier",
                     "check wiring, termination and bit rate, then as root: ip link set " + interface +
                         " type can restart, or ip link set " + interface + " down, then up");
    }
    return std::nullopt;
}

BusState state_after(const canfd_frame& report, BusState before) noexcept {
    if ((report.can_id & CAN_ERR_BUSOFF) != 0) {
        return BusState::off;
    }
    if ((report.can_id & CAN_ERR_RESTARTED) != 0) {
        return BusState::active;
    }
    if ((report.can_id & CAN_ERR_CRTL) != 0) {
        const std::uint8_t said = report.data[1];
        if ((said & (CAN_ERR_CRTL_RX_PASSIVE | CAN_ERR_CRTL_TX_PASSIVE)) != 0) {
            return BusState::passive;
        }
        if ((said & (CAN_ERR_CRTL_RX_WARNING | CAN_ERR_CRTL_TX_WARNING)) != 0) {
            return BusState::warning;
        }
        if ((said & CAN_ERR_CRTL_ACTIVE) != 0) {
            return BusState::active;
        }
    }
    return before;
}

}  // namespace edgearm::link
