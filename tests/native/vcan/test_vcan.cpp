// SocketCAN on a kernel that knows CAN, with its virtual interfaces: vcan0, vcan1, and the pair vxcan0 = vxcan1. It is
// the only program of a small machine in qemu (run.sh); `ip` stands beside it.
#include <doctest/doctest.h>
#include <linux/can/error.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "link/frames.hpp"
#include "link_error.hpp"
#include "socketcan.hpp"
#include "socketcan_frames.hpp"

using namespace edgearm;
using link::BusState;
using link::CanFrame;
using link::Error;
using link::Io;
using link::SocketCanLink;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

std::int64_t in_ms(std::int64_t milliseconds) {
    return link::monotonic_ns() + milliseconds * kMillisecond;
}

void ip(const std::string& command) {
    REQUIRE(std::system(("/bin/busybox ip " + command).c_str()) == 0);
}

CanFrame frame_of(std::uint32_t id) {
    CanFrame frame;
    frame.id = id;
    return frame;
}

std::optional<Error> refusal(const std::string& interface, link::SocketCanConfig config = {}) {
    try {
        SocketCanLink link(interface, config);
    } catch (const Error& error) {
        return error;
    }
    return std::nullopt;
}

// Puts an error report on an interface, as its driver would.
void report(const char* interface, canid_t what, std::uint8_t detail) {
    const int file = ::socket(PF_CAN, SOCK_RAW, CAN_RAW);
    sockaddr_can address{};
    address.can_family = AF_CAN;
    address.can_ifindex = static_cast<int>(::if_nametoindex(interface));
    REQUIRE(::bind(file, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    can_frame raw{};
    raw.can_id = CAN_ERR_FLAG | what;
    raw.len = CAN_ERR_DLC;
    raw.data[1] = detail;
    REQUIRE(::write(file, &raw, sizeof(raw)) == sizeof(raw));
    ::close(file);
}

}  // namespace

TEST_CASE("vcan: a frame of every kind and length arrives at the other end, in order") {
    SocketCanLink one("vxcan0", {.fd = true});
    SocketCanLink other("vxcan1", {.fd = true});
    for (const CanFrame& frame : test::frames_of_every_kind()) {
        CanFrame back;
        REQUIRE(one.send(frame, in_ms(5'000)) == Io::ok);
        REQUIRE(other.receive(back, in_ms(5'000)) == Io::ok);
        CHECK(back == frame);
    }
    for (std::uint32_t id = 0; id < 50; ++id) {
        REQUIRE(other.send(frame_of(id), in_ms(5'000)) == Io::ok);
    }
    for (std::uint32_t id = 0; id < 50; ++id) {
        CanFrame back;
        REQUIRE(one.receive(back, in_ms(5'000)) == Io::ok);
        CHECK(back.id == id);
    }
    CHECK(one.counters().sent == test::frames_of_every_kind().size());
    CHECK(one.counters().received == 50);
}

TEST_CASE("vcan: silence ends at the deadline; what cannot be carried is refused") {
    SocketCanLink link("vcan0");
    CanFrame frame;
    const std::int64_t before = link::monotonic_ns();
    CHECK(link.receive(frame, in_ms(30)) == Io::timeout);
    CHECK(link::monotonic_ns() - before >= 30 * kMillisecond);
    CHECK(link.receive(frame, link::kNoWait) == Io::timeout);
    for (const CanFrame& impossible : test::impossible_frames()) {
        CHECK(link.send(impossible, in_ms(30)) == Io::refused);
    }
    frame.fd = true;  // opened without CAN FD
    CHECK(link.send(frame, in_ms(30)) == Io::refused);
    CHECK(link.counters().sent == 0);
}

TEST_CASE("vcan: other programs of this machine hear what is sent only if told to; nobody hears himself") {
    for (const bool loopback : {false, true}) {
        SocketCanLink sender("vcan0", {.loopback = loopback});
        SocketCanLink listener("vcan0");
        CanFrame frame;
        CHECK(sender.send(frame_of(5), in_ms(1'000)) == Io::ok);
        CHECK(listener.receive(frame, in_ms(100)) == (loopback ? Io::ok : Io::timeout));
        CHECK(sender.receive(frame, link::kNoWait) == Io::timeout);
    }
}

TEST_CASE("vcan: frames that nobody takes are counted") {
    SocketCanLink one("vxcan0");
    SocketCanLink other("vxcan1");
    for (std::uint32_t i = 0; i < 5'000; ++i) {
        REQUIRE(one.send(frame_of(i & 0x7FF), in_ms(5'000)) == Io::ok);
    }
    CanFrame frame;
    while (other.receive(frame, in_ms(100)) == Io::ok) {
    }
    REQUIRE(one.send(frame_of(1), in_ms(5'000)) == Io::ok);  // the kernel tells with the next frame
    CHECK(other.receive(frame, in_ms(5'000)) == Io::ok);
    CHECK(other.counters().overruns > 0);
    CHECK(other.counters().overruns + other.counters().received == 5'001);
}

TEST_CASE("vcan: the controller's reports become its state, and off the bus nothing is queued") {
    SocketCanLink link("vcan0");
    CanFrame frame;
    CHECK(link.state() == BusState::active);
    report("vcan0", CAN_ERR_CRTL, CAN_ERR_CRTL_TX_PASSIVE);
    CHECK(link.receive(frame, in_ms(50)) == Io::timeout);
    CHECK(link.state() == BusState::passive);
    CHECK(link.send(frame, in_ms(50)) == Io::ok);
    report("vcan0", CAN_ERR_BUSOFF, 0);
    CHECK(link.receive(frame, in_ms(50)) == Io::timeout);
    CHECK(link.state() == BusState::off);
    CHECK(link.send(frame, in_ms(50)) == Io::refused);
    report("vcan0", CAN_ERR_RESTARTED, 0);
    CHECK(link.receive(frame, in_ms(50)) == Io::timeout);
    CHECK(link.send(frame, in_ms(50)) == Io::ok);
    CHECK(link.counters().bus_errors == 3);
}

TEST_CASE("vcan: an interface that is switched off, or removed, is gone at once") {
    CanFrame frame;
    SocketCanLink link("vcan0");
    ip("link set vcan0 down");
    CHECK(link.receive(frame, in_ms(60'000)) == Io::gone);
    CHECK(link.send(frame, in_ms(60'000)) == Io::gone);
    const auto down = refusal("vcan0");
    REQUIRE(down);
    CHECK(down->cause == Error::Cause::down);
    CHECK(down->fix.find("ip link set vcan0 up") != std::string::npos);
    ip("link set vcan0 up");
    CHECK(!refusal("vcan0"));

    SocketCanLink other("vcan1");
    ip("link del vcan1");
    CHECK(other.receive(frame, in_ms(60'000)) == Io::gone);
    CHECK(other.send(frame, in_ms(60'000)) == Io::gone);
    ip("link add dev vcan1 type vcan");
    ip("link set vcan1 up");
}

TEST_CASE("vcan: what is no CAN interface, or carries no CAN FD, says so") {
    CHECK(refusal("nocan0")->cause == Error::Cause::missing);
    CHECK(refusal("lo")->cause == Error::Cause::wrong);
    CHECK(refusal("a-name-that-is-far-too-long")->cause == Error::Cause::missing);
    ip("link set vcan1 down");
    ip("link set vcan1 mtu 16");
    ip("link set vcan1 up");
    CHECK(!refusal("vcan1"));
    const auto classic = refusal("vcan1", {.fd = true});
    REQUIRE(classic);
    CHECK(classic->cause == Error::Cause::unsupported);
    CHECK(classic->fix.find("fd on") != std::string::npos);
}
