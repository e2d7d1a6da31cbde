#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>

#include <array>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "emulated.hpp"
#include "link_error.hpp"
#include "pty.hpp"
#include "serial_names.hpp"
#include "serial_port.hpp"

using namespace edgearm;
using link::Error;
using link::Io;
using link::SerialPort;
using test::Folder;
using test::Pty;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

std::int64_t in_ms(std::int64_t milliseconds) {
    return link::monotonic_ns() + milliseconds * kMillisecond;
}

std::vector<std::uint8_t> every_byte() {
    std::vector<std::uint8_t> bytes(256);
    std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
    return bytes;
}

std::string read_some(SerialPort& port, std::size_t size) {
    std::string text;
    std::array<std::uint8_t, 300> into{};
    std::size_t count = 0;
    while (text.size() < size && port.read(into, in_ms(2'000), count) == Io::ok) {
        text.append(into.begin(), into.begin() + static_cast<std::ptrdiff_t>(count));
    }
    return text;
}

std::optional<Error> refusal(const std::string& path, int baud = SerialPort::kServoBaud) {
    try {
        SerialPort port(path, baud);
    } catch (const Error& error) {
        return error;
    }
    return std::nullopt;
}

}  // namespace

TEST_CASE("serial: every byte passes both ways, unchanged, at the rate that was asked for") {
    Pty pty;
    SerialPort port(pty.path());
    const auto bytes = every_byte();
    const std::string text(bytes.begin(), bytes.end());
    CHECK(port.write(bytes, in_ms(2'000)) == Io::ok);
    CHECK(pty.hear(text.size()) == text);
    pty.say(text);
    CHECK(read_some(port, text.size()) == text);
    termios settings{};
    ::tcgetattr(pty.master(), &settings);  // a pty has one set of settings for both ends
    // qemu translates rates up to 460800 only.
    CHECK((test::emulated() || ::cfgetospeed(&settings) == B1000000));
    CHECK((settings.c_lflag & (ICANON | ECHO | ISIG)) == 0);
    CHECK(!port.low_latency());  // a pty gathers nothing and knows no such setting
}

TEST_CASE("serial: silence, no waiting, a deadline that has passed, and what was thrown away are not a hang-up") {
    Pty pty;
    SerialPort port(pty.path());
    std::array<std::uint8_t, 8> into{};
    std::size_t count = 1;
    const std::int64_t before = link::monotonic_ns();
    CHECK(port.read(into, in_ms(20), count) == Io::timeout);
    CHECK(link::monotonic_ns() - before >= 20 * kMillisecond);
    CHECK(count == 0);
    CHECK(port.read(into, link::kNoWait, count) == Io::timeout);
    pty.say("abc");
    CHECK(port.read(into, in_ms(-1), count) == Io::timeout);
    CHECK(port.read(into, in_ms(2'000), count) == Io::ok);
    CHECK(count == 3);
    pty.say("def");
    ::usleep(20'000);
    port.discard_input();
    CHECK(port.read(into, link::kNoWait, count) == Io::timeout);
}

TEST_CASE("serial: a line that takes no more ends a write at its deadline and says how much went") {
    Pty pty;
    auto port = std::make_unique<SerialPort>(pty.path());
    const std::vector<std::uint8_t> much(1'000'000, 'x');
    std::size_t count = 0;
    CHECK(port->write(much, in_ms(50), count) == Io::timeout);
    CHECK(count > 0);
    CHECK(count < much.size());
    CHECK(pty.hear().size() == count);
    const std::int64_t before = link::monotonic_ns();
    port.reset();  // the system by itself would wait 30 s for a line that takes nothing
    CHECK(link::monotonic_ns() - before < 10'000 * kMillisecond);
}

TEST_CASE("serial: a hang-up is told at once, to whoever waits, reads or writes") {
    Pty pty;
    SerialPort port(pty.path());
    pty.hang_up();
    std::array<std::uint8_t, 8> into{};
    std::size_t count = 0;
    CHECK(port.read(into, in_ms(60'000), count) == Io::gone);
    CHECK(port.read(into, link::kNoWait, count) == Io::gone);
    CHECK(port.write(into, in_ms(60'000)) == Io::gone);
    CHECK(port.lost_errno() == EIO);
}

TEST_CASE("serial: what is no port, or no rate, says what it is and what to do") {
    Folder folder;
    const std::string file = folder.path() / "file";
    ::close(::open(file.c_str(), O_CREAT | O_WRONLY, 0600));
    CHECK(refusal("/dev/ttyNONE")->cause == Error::Cause::missing);
    CHECK(refusal("/dev/ttyNONE")->what() == std::string("port /dev/ttyNONE does not exist"));
    CHECK(refusal(file)->cause == Error::Cause::wrong);
    CHECK(refusal(file)->what() == file + " is not a serial port");
    const Pty pty;
    const auto rate = refusal(pty.path(), 1'234);
    REQUIRE(rate);
    CHECK(rate->cause == Error::Cause::unsupported);
    CHECK(rate->expected.find("1000000") != std::string::npos);
}

// Emulated, starting a process may take longer than a lock is waited for.
TEST_CASE("serial: a lock that a child still has for a moment is waited for" * doctest::skip(test::emulated())) {
    Pty pty;
    pid_t child = 0;
    {
        const SerialPort port(pty.path());
        child = ::fork();  // has the port open as well, as between the fork and the exec of any program
        if (child == 0) {
            ::usleep(30'000);
            ::_exit(0);
        }
    }
    CHECK(!refusal(pty.path()));
    ::waitpid(child, nullptr, 0);
}

TEST_CASE("serial: one at a time, and the other one is named") {
    Pty pty;
    {
        const SerialPort port(pty.path());
        const auto error = refusal(pty.path());
        REQUIRE(error);
        CHECK(error->cause == Error::Cause::busy);
        CHECK(error->what() == "port " + pty.path() + " is busy");
        CHECK(error->got == "in use by this process");
    }
    CHECK(!refusal(pty.path()));

    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t other = ::fork();
    if (other == 0) {
        const SerialPort port(pty.path());
        (void)!::write(ready[1], "x", 1);
        ::pause();
        ::_exit(0);
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    const auto error = refusal(pty.path());
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
    REQUIRE(error);
    CHECK(error->cause == Error::Cause::busy);
    CHECK(error->got.find("in use by process " + std::to_string(other) + " (") == 0);
    CHECK(!refusal(pty.path()));  // a lock dies with its process
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_CASE("serial: an adapter that comes back as another port is found by its stable name") {
    Folder folder;
    const std::string by_id = folder.path() / "by-id";
    std::filesystem::create_directory(by_id);
    const std::string name = by_id + "/usb-Some_Adapter_0001-if00";
    auto first = std::make_unique<Pty>();
    Pty bystander;
    std::filesystem::create_symlink(first->path(), name);
    std::filesystem::create_symlink(bystander.path(), by_id + "/usb-Other_Adapter_0002-if00");
    std::filesystem::create_symlink("/dev/ttyNONE", by_id + "/usb-A_Dead_Link");

    const std::string stable = link::stable_name(first->path(), by_id);
    CHECK(stable == name);
    CHECK(link::stable_name(name, by_id) == name);
    CHECK(link::stable_name("/dev/ttyNONE", by_id) == "/dev/ttyNONE");
    CHECK(link::stable_name(first->path(), by_id + "-not") == first->path());

    auto port = std::make_unique<SerialPort>(stable);
    CHECK(port->stable_path() == name);
    first->hang_up();
    std::array<std::uint8_t, 8> into{};
    std::size_t count = 0;
    CHECK(port->read(into, in_ms(60'000), count) == Io::gone);
    port.reset();

    std::filesystem::remove(name);
    CHECK(refusal(stable)->cause == Error::Cause::missing);
    Pty second;
    std::filesystem::create_symlink(second.path(), name);
    port = std::make_unique<SerialPort>(stable);
    second.say("back");
    CHECK(read_some(*port, 4) == "back");
}

TEST_CASE("serial: reading and writing allocate nothing") {
    Pty pty;
    SerialPort port(pty.path());
    std::array<std::uint8_t, 64> bytes{};
    std::size_t count = 0;
    for (int round = 0; round < 100; ++round) {
        (void)!::write(pty.master(), bytes.data(), bytes.size());
        const std::uint64_t before = test::allocations_here();
        const bool fine = port.read(bytes, in_ms(2'000), count) == Io::ok &&
                          port.write(bytes, in_ms(2'000)) == Io::ok && port.read(bytes, in_ms(0), count) == Io::timeout;
        const std::uint64_t after = test::allocations_here();
        REQUIRE(fine);
        REQUIRE(after == before);
        pty.hear(bytes.size());
    }
}
