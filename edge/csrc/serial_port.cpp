#include "serial_port.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

// What to do about an errno of open, flock or tcgetattr.
Error link_error(const std::string& path, int reason) {
    const auto error = [&](const std::string& what, const std::string& fix) {
        return Error(Error::Kind::link, what, "a serial port that no other process uses", std::strerror(reason), fix);
    };
    switch (reason) {
        case ENOENT:
        case ENXIO:
        case ENODEV:
            return error("port " + path + " does not exist", "plug in the adapter, or name another port");
        case EACCES:
            return error("port " + path + " may not be opened", "join the group that owns it (often dialout)");
        case EBUSY:
        case EWOULDBLOCK:
            return error("port " + path + " is busy", "end the other program that uses it");
        case ENOTTY:
            return error(path + " is not a serial port", "name a serial port such as /dev/ttyACM0");
        default:
            return error("port " + path + " cannot be opened", "check the adapter and the path");
    }
}

}  // namespace

std::int64_t monotonic_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * kSecond + now.tv_nsec;
}

SerialPort::SerialPort(std::string path) : path_(std::move(path)) {
    file_ = ::open(path_.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (file_ < 0) {
        throw link_error(path_, errno);
    }
    // flock keeps out every process that asks, also root's; TIOCEXCL those that do not ask.
    termios settings{};
    if (::tcgetattr(file_, &settings) != 0 || ::flock(file_, LOCK_EX | LOCK_NB) != 0) {
        const int reason = errno;
        ::close(file_);
        throw link_error(path_, reason);
    }
    ::ioctl(file_, TIOCEXCL);
    ::cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~static_cast<tcflag_t>(CRTSCTS | HUPCL);
    settings.c_cc[VMIN] = 0;
    settings.c_cc[VTIME] = 0;
    ::cfsetspeed(&settings, B1000000);
    if (::tcsetattr(file_, TCSANOW, &settings) != 0) {
        const int reason = errno;
        ::ioctl(file_, TIOCNXCL);
        ::close(file_);
        throw link_error(path_, reason);
    }
}

SerialPort::~SerialPort() {
    // A pty outlives us: without this nobody could open it again.
    ::ioctl(file_, TIOCNXCL);
    ::close(file_);
}

Io SerialPort::wait(short events, std::int64_t deadline_ns) const noexcept {
    for (;;) {
        const std::int64_t left = deadline_ns - monotonic_ns();
        if (left <= 0) {
            return Io::timeout;
        }
        pollfd descriptor{file_, events, 0};
        const timespec timeout{left / kSecond, left % kSecond};
        const int ready = ::ppoll(&descriptor, 1, &timeout, nullptr);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready < 0 || (ready > 0 && (descriptor.revents & events) == 0)) {
            return Io::gone;  // hung up, or the descriptor is in error
        }
        return ready == 0 ? Io::timeout : Io::ok;
    }
}

Io SerialPort::write(std::span<const std::uint8_t> bytes, std::int64_t deadline_ns) noexcept {
    while (!bytes.empty()) {
        const ssize_t written = ::write(file_, bytes.data(), bytes.size());
        if (written > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        } else if (written == 0 || errno == EAGAIN || errno == EINTR) {
            if (const Io result = wait(POLLOUT, deadline_ns); result != Io::ok) {
                return result;
            }
        } else {
            return Io::gone;
        }
    }
    return Io::ok;
}

Io SerialPort::read(std::span<std::uint8_t> into, std::int64_t deadline_ns, std::size_t& count) noexcept {
    count = 0;
    for (;;) {
        if (const Io result = wait(POLLIN, deadline_ns); result != Io::ok) {
            return result;
        }
        const ssize_t got = ::read(file_, into.data(), into.size());
        if (got > 0) {
            count = static_cast<std::size_t>(got);
            return Io::ok;
        }
        // Readable with nothing to read is how a terminal says that its other end is gone.
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            return Io::gone;
        }
    }
}

void SerialPort::discard_input() noexcept {
    ::tcflush(file_, TCIFLUSH);
}

}  // namespace edgearm
