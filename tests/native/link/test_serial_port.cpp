#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>

#include <array>
#include <filesystem>
#include <fstream>
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

// /dev and /sys of a machine on which ptys are USB adapters.
struct FakeMachine {
    Folder folder;
    const std::string devices = folder.path() / "dev";
    const std::string system = folder.path() / "sys";

    // A name in `by`, "id" or "path", that leads to a port.
    std::string name(const std::string& by, const std::string& name, const std::string& port) const {
        const std::string link = devices + "/serial/by-" + by + "/" + name;
        std::filesystem::create_directories(std::filesystem::path(link).parent_path());
        std::filesystem::create_symlink(port, link);
        return link;
    }
    // The port's adapter in a hub, which has a serial number whatever the adapter has.
    void plug(const std::string& port, const std::string& serial) const {
        const std::filesystem::path tty = std::filesystem::path(port).filename();
        const std::filesystem::path hub = system + "/devices/usb1/1-1";
        const std::filesystem::path device = hub / ("1-1." + tty.string());
        const std::filesystem::path interface = device / "1:1.0" / tty;
        std::filesystem::create_directories(interface);
        const std::filesystem::path named = system + "/class/tty/" + tty.string();
        std::filesystem::create_directories(named);
        std::filesystem::create_symlink(interface, named / "device");
        std::ofstream(hub / "idVendor") << "1d6b\n";
        std::ofstream(hub / "serial") << "0000:00:14.0\n";
        std::ofstream(device / "idVendor") << "1a86\n";
        if (!serial.empty()) {
            std::ofstream(device / "serial") << serial << "\n";
        }
    }
    std::string stable_name(const std::string& path) const { return link::stable_name(path, devices, system); }
};

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

TEST_CASE("serial: nothing of what another program had set is left") {
    Pty pty;
    const int other = ::open(pty.path().c_str(), O_RDWR | O_NOCTTY);
    REQUIRE(other >= 0);
    termios odd{};
    REQUIRE(::tcgetattr(other, &odd) == 0);
    odd.c_iflag |= IXON | IXOFF | IXANY | INPCK | ISTRIP | IGNPAR | IMAXBEL | IUTF8;
    odd.c_oflag |= OPOST | ONLCR | XTABS;
    odd.c_lflag |= NOFLSH | TOSTOP | ECHOCTL;
    odd.c_cflag |= CSTOPB | PARODD | CMSPAR | CRTSCTS | HUPCL;
    REQUIRE(::tcsetattr(other, TCSANOW, &odd) == 0);
    const SerialPort port(pty.path());
    termios settings{};
    REQUIRE(::tcgetattr(other, &settings) == 0);
    CHECK(settings.c_iflag == 0);
    CHECK(settings.c_oflag == 0);
    CHECK(settings.c_lflag == 0);
    CHECK((settings.c_cflag & ~static_cast<tcflag_t>(CBAUD | CIBAUD)) == (CS8 | CREAD | CLOCAL));
    ::close(other);
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
    const FakeMachine machine;
    auto first = std::make_unique<Pty>();
    Pty bystander;
    machine.plug(first->path(), "0001");
    machine.plug(bystander.path(), "0002");
    const std::string name = machine.name("id", "usb-Some_Adapter_0001-if00", first->path());
    machine.name("id", "usb-Other_Adapter_0002-if00", bystander.path());
    machine.name("id", "usb-A_Dead_Link", "/dev/ttyNONE");
    machine.name("path", "pci-0000:00:14.0-usb-0:1.1:1.0", first->path());

    const std::string stable = machine.stable_name(first->path());
    CHECK(stable == name);
    CHECK(machine.stable_name(name) == name);
    CHECK(machine.stable_name("/dev/ttyNONE") == "/dev/ttyNONE");
    CHECK(link::stable_name(first->path(), machine.devices + "-not", machine.system) == first->path());

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

TEST_CASE("serial: two adapters that only their sockets tell apart are found by those") {
    const FakeMachine machine;
    const Pty left;
    const Pty right;
    const Pty builtin;
    machine.plug(left.path(), "");
    machine.plug(right.path(), "");
    const std::string shared = machine.name("id", "usb-1a86_USB_Serial-if00-port0", left.path());
    CHECK(machine.stable_name(left.path()) == left.path());  // by its number, rather than by what may become another's
    const std::string left_socket = machine.name("path", "pci-0000:00:14.0-usb-0:1:1.0-port0", left.path());
    const std::string right_socket = machine.name("path", "pci-0000:00:14.0-usb-0:2:1.0-port0", right.path());
    CHECK(machine.stable_name(left.path()) == left_socket);
    CHECK(machine.stable_name(right.path()) == right_socket);
    CHECK(machine.stable_name(shared) == shared);  // somebody chose it
    CHECK(machine.stable_name(builtin.path()) == builtin.path());
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
