// slcan on a real serial line. The adapter here only acknowledges and echoes; the one of firmware_bridge/emulators,
// which is a whole one, meets the link in tests/test_slcan.py.
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>

#include "allocations.hpp"
#include "frames.hpp"
#include "pty.hpp"
#include "serial_port.hpp"
#include "slcan.hpp"

using namespace edgearm;
using link::CanFrame;
using link::Io;

namespace {

// Answers every line with CR, and every frame with itself as well.
class Echo {
public:
    Echo() : thread_(&Echo::serve, this) {}
    ~Echo() {
        ending_ = true;
        thread_.join();
    }

    test::Pty& pty() { return pty_; }

private:
    void serve() {
        test::excuse_this_thread();
        std::string line;
        while (!ending_) {
            for (const char byte : pty_.hear(1)) {
                line += byte;
                if (byte == '\r') {
                    const bool frame = std::string("tTrRdDbB").find(line[0]) != std::string::npos;
                    pty_.say(frame ? "\r" + line : "\r");
                    line.clear();
                }
            }
        }
    }

    test::Pty pty_;
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

}  // namespace

TEST_CASE("slcan on a pty: a frame of every kind and length comes back, and nothing is allocated on the way") {
    Echo echo;
    link::SerialPort port(echo.pty().path());
    link::SlcanLink bus(port, {.data_bit_rate = 5'000'000, .answer_timeout_ns = 20'000'000'000});
    const auto frames = test::frames_of_every_kind();
    const std::uint64_t before = test::allocations_here();
    bool fine = true;
    for (const CanFrame& frame : frames) {
        const std::int64_t deadline = link::monotonic_ns() + 20'000'000'000;
        CanFrame back;
        fine = fine && bus.send(frame, deadline) == Io::ok && bus.receive(back, deadline) == Io::ok && back == frame;
    }
    const std::uint64_t after = test::allocations_here();
    CHECK(fine);
    CHECK(after == before);
    CHECK(bus.counters().sent == frames.size());
    CHECK(bus.counters().received == frames.size());
    CHECK(bus.counters().corrupt == 0);
}
