#include "socketcan.hpp"

#include <linux/can/error.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "link_error.hpp"
#include "socketcan_frames.hpp"

namespace edgearm::link {

namespace {

using Cause = Error::Cause;

// The kernel says that an interface's queue is full and has no way to wait for room in it.
constexpr long kQueuePause = 100'000;
// The kernel may take a second to say of an interface that has just come up, or back to the bus, that it is running.
constexpr int kCarrierTries = 60;
constexpr timespec kCarrierPause{0, 20'000'000};

Error kernel_without_can(int reason) {
    return {Cause::unsupported, "this kernel has no CAN sockets", "the modules can and can_raw", std::strerror(reason),
            "load them (modprobe can_raw), or use an slcan adapter on a serial port"};
}

ifreq request_for(const std::string& interface) {
    ifreq request{};
    if (interface.empty() || interface.size() >= sizeof(request.ifr_name)) {
        throw Error(Cause::missing, "CAN interface " + interface + " does not exist",
                    "a name of 1 to " + std::to_string(sizeof(request.ifr_name) - 1) + " characters",
                    std::to_string(interface.size()), "name an interface such as can0");
    }
    std::copy(interface.begin(), interface.end(), request.ifr_name);
    return request;
}

}  // namespace

SocketCanLink::SocketCanLink(std::string interface, SocketCanConfig config)
    : path_(std::move(interface)), config_(config) {
    file_ = ::socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);
    if (file_ < 0) {
        const int reason = errno;
        if (reason == EAFNOSUPPORT || reason == EPROTONOSUPPORT) {
            throw kernel_without_can(reason);
        }
        require(-1, "make a socket for");
    }
    try {
        open(path_);
    } catch (...) {
        ::close(file_);
        throw;
    }
}

SocketCanLink::~SocketCanLink() {
    ::close(file_);
}

void SocketCanLink::require(int result, const char* what) const {
    if (result < 0) {
        throw Error(Cause::broken, std::string("cannot ") + what + " CAN interface " + path_, "a yes from the kernel",
                    std::strerror(errno), "check the interface with: ip -details link show " + path_);
    }
}

void SocketCanLink::open(const std::string& interface) {
    ifreq request = request_for(interface);
    if (::ioctl(file_, SIOCGIFHWADDR, &request) < 0) {
        throw Error(Cause::missing, "CAN interface " + interface + " does not exist", "an interface of this machine",
                    std::strerror(errno), "plug in the adapter, or name another interface (ip -brief link)");
    }
    if (request.ifr_hwaddr.sa_family != ARPHRD_CAN) {
        throw Error(Cause::wrong, interface + " is not a CAN interface", "an interface such as can0",
                    "hardware type " + std::to_string(request.ifr_hwaddr.sa_family),
                    "name a CAN interface (ip -brief link show type can)");
    }
    for (int attempt = 1;; ++attempt) {
        require(::ioctl(file_, SIOCGIFFLAGS, &request), "ask for the flags of");
        const std::optional<Error> problem = out_of_use(interface, request.ifr_flags);
        if (!problem) {
            break;
        }
        if (problem->cause != Cause::bus_off || attempt == kCarrierTries) {
            throw *problem;
        }
        ::nanosleep(&kCarrierPause, nullptr);
    }
    require(::ioctl(file_, SIOCGIFMTU, &request), "ask for the frame size of");
    if (config_.fd && request.ifr_mtu < static_cast<int>(CANFD_MTU)) {
        throw Error(
            Cause::unsupported, "CAN interface " + interface + " does not carry CAN FD",
            "frames of " + std::to_string(CANFD_MTU) + " bytes", std::to_string(request.ifr_mtu),
            "as root: ip link set " + interface + " down, then up type can bitrate 1000000 dbitrate 5000000 fd on");
    }
    const auto set = [&](int level, int option, const auto& value, const char* what) {
        require(::setsockopt(file_, level, option, &value, sizeof(value)), what);
    };
    const int on = 1;
    set(SOL_CAN_RAW, CAN_RAW_LOOPBACK, config_.loopback ? 1 : 0, "set the loopback of");
    set(SOL_CAN_RAW, CAN_RAW_ERR_FILTER, can_err_mask_t{CAN_ERR_MASK}, "have error reports from");
    set(SOL_SOCKET, SO_RXQ_OVFL, on, "count lost frames of");
    if (config_.fd) {
        set(SOL_CAN_RAW, CAN_RAW_FD_FRAMES, on, "use CAN FD on");
    }
    require(::ioctl(file_, SIOCGIFINDEX, &request), "find");
    sockaddr_can address{};
    address.can_family = AF_CAN;
    address.can_ifindex = request.ifr_ifindex;
    require(::bind(file_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "listen on");
}

Io SocketCanLink::send(const CanFrame& frame, std::int64_t deadline_ns) noexcept {
    canfd_frame raw;
    const std::size_t size = frame.fd && !config_.fd ? 0 : to_kernel(frame, raw);
    if (size == 0 || state_ == BusState::off) {
        counters_.refused += 1;
        return Io::refused;
    }
    for (;;) {
        if (::write(file_, &raw, size) == static_cast<ssize_t>(size)) {
            counters_.sent += 1;
            return Io::ok;
        }
        switch (errno) {
            case EINTR:
                continue;
            case EAGAIN:
                if (const Io result = wait_until_ready(file_, POLLOUT, deadline_ns); result != Io::ok) {
                    return result;
                }
                break;
            case ENOBUFS: {
                if (deadline_ns == kNoWait || monotonic_ns() >= deadline_ns) {
                    return Io::timeout;
                }
                const timespec pause{0, kQueuePause};
                ::nanosleep(&pause, nullptr);
                break;
            }
            case EINVAL:
            case EMSGSIZE:
                counters_.refused += 1;
                return Io::refused;
            default:
                return Io::gone;  // switched off (ENETDOWN) or unplugged (ENODEV, ENXIO)
        }
    }
}

Io SocketCanLink::receive(CanFrame& frame, std::int64_t deadline_ns) noexcept {
    for (;;) {
        if (const Io result = wait_until_ready(file_, POLLIN, deadline_ns); result != Io::ok) {
            return result;
        }
        canfd_frame raw{};
        iovec part{&raw, sizeof(raw)};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(std::uint32_t))> control{};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t got = ::recvmsg(file_, &message, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (got <= 0) {
            return Io::gone;
        }
        for (cmsghdr* note = CMSG_FIRSTHDR(&message); note != nullptr; note = CMSG_NXTHDR(&message, note)) {
            if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_RXQ_OVFL) {
                std::uint32_t dropped = 0;
                std::memcpy(&dropped, CMSG_DATA(note), sizeof(dropped));
                counters_.overruns += dropped - dropped_before_;
                dropped_before_ = dropped;
            }
        }
        if (is_error_report(raw)) {
            counters_.bus_errors += 1;
            state_ = state_after(raw, state_);
            continue;
        }
        if (!from_kernel(raw, static_cast<std::size_t>(got), frame)) {
            counters_.corrupt += 1;
            return Io::corrupt;
        }
        counters_.received += 1;
        return Io::ok;
    }
}

}  // namespace edgearm::link
