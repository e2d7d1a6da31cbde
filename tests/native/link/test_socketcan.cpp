// What of SocketCAN needs no kernel that knows CAN; the rest is tests/native/vcan, which brings a kernel of its own.
#include <doctest/doctest.h>
#include <linux/can/error.h>
#include <net/if.h>

#include <optional>
#include <string>

#include "frames.hpp"
#include "link_error.hpp"
#include "socketcan.hpp"
#include "socketcan_frames.hpp"

using namespace edgearm::link;

TEST_CASE("socketcan: a frame of every kind and length survives the kernel's form") {
    for (const CanFrame& frame : edgearm::test::frames_of_every_kind()) {
        canfd_frame raw;
        const std::size_t size = to_kernel(frame, raw);
        CHECK(size == (frame.fd ? CANFD_MTU : CAN_MTU));
        CHECK(((raw.can_id & CAN_EFF_FLAG) != 0) == frame.extended);
        CHECK((raw.can_id & CAN_EFF_MASK) == frame.id);
        CanFrame back;
        CHECK(from_kernel(raw, size, back));
        CHECK(back == frame);
    }
    for (const CanFrame& frame : edgearm::test::impossible_frames()) {
        canfd_frame raw;
        CHECK(to_kernel(frame, raw) == 0);
    }
}

TEST_CASE("socketcan: what is no frame is not taken for one") {
    canfd_frame raw{};
    CanFrame frame;
    CHECK(from_kernel(raw, CAN_MTU, frame));
    for (const std::size_t size : {std::size_t{0}, CAN_MTU - 1, CAN_MTU + 1, CANFD_MTU - 1}) {
        CHECK(!from_kernel(raw, size, frame));
    }
    raw.len = 9;
    CHECK(!from_kernel(raw, CAN_MTU, frame));
    CHECK(!from_kernel(raw, CANFD_MTU, frame));
    raw.len = 65;
    CHECK(!from_kernel(raw, CANFD_MTU, frame));
    raw.len = 8;
    raw.can_id = CAN_ERR_FLAG;
    CHECK(!from_kernel(raw, CAN_MTU, frame));
}

TEST_CASE("socketcan: the controller's state from its reports") {
    const auto report = [](canid_t what, std::uint8_t detail, BusState before) {
        canfd_frame raw{};
        raw.can_id = CAN_ERR_FLAG | what;
        raw.len = CAN_ERR_DLC;
        raw.data[1] = detail;
        return state_after(raw, before);
    };
    CHECK(report(CAN_ERR_CRTL, CAN_ERR_CRTL_TX_WARNING, BusState::active) == BusState::warning);
    CHECK(report(CAN_ERR_CRTL, CAN_ERR_CRTL_RX_PASSIVE, BusState::warning) == BusState::passive);
    CHECK(report(CAN_ERR_CRTL, CAN_ERR_CRTL_ACTIVE, BusState::passive) == BusState::active);
    CHECK(report(CAN_ERR_CRTL, CAN_ERR_CRTL_RX_OVERFLOW, BusState::warning) == BusState::warning);
    CHECK(report(CAN_ERR_BUSOFF, 0, BusState::passive) == BusState::off);
    CHECK(report(CAN_ERR_ACK, 0, BusState::off) == BusState::off);
    CHECK(report(CAN_ERR_RESTARTED, 0, BusState::off) == BusState::active);
}

TEST_CASE("socketcan: an interface that is down, or off the bus before anybody listens, is told by its flags") {
    const auto cause = [](int flags) {
        const auto error = out_of_use("can0", flags);
        return error ? std::optional(error->cause) : std::nullopt;
    };
    CHECK(!out_of_use("can0", IFF_UP | IFF_RUNNING | IFF_NOARP));
    CHECK(cause(0) == Error::Cause::down);
    CHECK(cause(IFF_RUNNING) == Error::Cause::down);
    CHECK(cause(IFF_NOARP) == Error::Cause::down);
    CHECK(cause(IFF_UP | IFF_NOARP) == Error::Cause::bus_off);
    const auto off = out_of_use("can0", IFF_UP);
    CHECK(off->what() == std::string("CAN interface can0 is off the bus (bus-off)"));
    CHECK(off->fix.find("ip link set can0 type can restart") != std::string::npos);
    CHECK(off->fix.find("ip link set can0 down") != std::string::npos);
    CHECK(out_of_use("can0", 0)->fix.find("ip link set can0 up") != std::string::npos);
}

TEST_CASE("socketcan: an interface that cannot be opened says what to do") {
    try {
        const SocketCanLink link("nocan0");
        FAIL("opened what is not there");
    } catch (const Error& error) {
        // Which of the two this machine's kernel decides.
        if (error.cause == Error::Cause::unsupported) {
            CHECK(error.what() == std::string("this kernel has no CAN sockets"));
            CHECK(error.fix.find("modprobe can_raw") != std::string::npos);
        } else {
            CHECK(error.cause == Error::Cause::missing);
            CHECK(error.what() == std::string("CAN interface nocan0 does not exist"));
        }
        CHECK(!error.got.empty());
    }
}
