#include "serial_port.hpp"

#include <fcntl.h>
#include <linux/serial.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "link_error.hpp"
#include "serial_names.hpp"

namespace edgearm::link {

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
// How long closing waits for what was written last to leave. The system's own patience is 30 s.
constexpr std::int64_t kFarewell = 50 * kMillisecond;

constexpr std::array<std::pair<int, speed_t>, 11> kSpeeds{{{9'600, B9600},
                                                           {57'600, B57600},
                                                           {115'200, B115200},
                                                           {230'400, B230400},
                                                           {460'800, B460800},
                                                           {500'000, B500000},
                                                           {921'600, B921600},
                                                           {1'000'000, B1000000},
                                                           {2'000'000, B2000000},
                                                           {3'000'000, B3000000},
                                                           {4'000'000, B4000000}}};

speed_t speed_of(int baud) {
    const auto found = std::find_if(kSpeeds.begin(), kSpeeds.end(), [&](const auto& row) { return row.first == baud; });
    if (found == kSpeeds.end()) {
        std::string known;
        for (const auto& row : kSpeeds) {
            known += (known.empty() ? "" : ", ") + std::to_string(row.first);
        }
        throw Error(Error::Cause::unsupported, "a serial port cannot run at " + std::to_string(baud) + " baud", known,
                    std::to_string(baud), "name one of these rates");
    }
    return found->second;
}

// How long a lock may outlive its holder: a process that the holder has just started keeps it until its program begins.
constexpr int kLockTries = 20;
constexpr timespec kLockPause{0, 5 * kMillisecond};

bool lock(int file) noexcept {
    for (int attempt = 1; ::flock(file, LOCK_EX | LOCK_NB) != 0; ++attempt) {
        if (errno != EWOULDBLOCK || attempt == kLockTries) {
            return false;
        }
        ::nanosleep(&kLockPause, nullptr);
    }
    return true;
}

// What to do about an errno of open, flock or tcgetattr.
Error refusal(const std::string& path, int reason) {
    using Cause = Error::Cause;
    std::string got = std::strerror(reason);
    const auto error = [&](Cause cause, const std::string& what, const std::string& fix) {
        return Error(cause, what, "a serial port that no other process uses", got, fix);
    };
    switch (reason) {
        case ENOENT:
        case ENXIO:
        case ENODEV:
            return error(Cause::missing, "port " + path + " does not exist",
                         "plug in the adapter, or name another port");
        case EACCES:
            return error(Cause::denied, "port " + path + " may not be opened",
                         "join the group that owns it (often dialout)");
        case EBUSY:
        case EWOULDBLOCK:
            if (const std::string holder = holder_of(path); !holder.empty()) {
                got = "in use by " + holder;
            }
            return error(Cause::busy, "port " + path + " is busy", "end the other program that uses it");
        case ENOTTY:
            return error(Cause::wrong, path + " is not a serial port", "name a serial port such as /dev/ttyACM0");
        default:
            return error(Cause::broken, "port " + path + " cannot be opened", "check the adapter and the path");
    }
}

// Drivers of USB adapters gather bytes for some milliseconds unless told not to. A pty, and an adapter whose driver has
// no such setting, say that they do not know it, and lose nothing.
bool ask_low_latency(int file) noexcept {
    serial_struct settings{};
    if (::ioctl(file, TIOCGSERIAL, &settings) != 0) {
        return false;
    }
    settings.flags |= ASYNC_LOW_LATENCY;
    return ::ioctl(file, TIOCSSERIAL, &settings) == 0;
}

}  // namespace

SerialPort::SerialPort(std::string path, int baud) : path_(std::move(path)), stable_path_(stable_name(path_)) {
    const speed_t speed = speed_of(baud);
    file_ = ::open(path_.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (file_ < 0) {
        throw refusal(path_, errno);
    }
    // flock keeps out every process that asks, also root's; TIOCEXCL those that do not ask.
    termios settings{};
    if (::tcgetattr(file_, &settings) != 0 || !lock(file_)) {
        const int reason = errno;
        ::close(file_);
        throw refusal(path_, reason);
    }
    ::ioctl(file_, TIOCEXCL);
    // Whole words: cfmakeraw leaves flow control, parity and stop bits as the program before has set them.
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    settings.c_cflag = CS8 | CREAD | CLOCAL;
    settings.c_cc[VMIN] = 0;
    settings.c_cc[VTIME] = 0;
    ::cfsetspeed(&settings, speed);
    if (::tcsetattr(file_, TCSANOW, &settings) != 0) {
        const int reason = errno;
        ::ioctl(file_, TIOCNXCL);
        ::close(file_);
        throw refusal(path_, reason);
    }
    low_latency_ = ask_low_latency(file_);
}

SerialPort::~SerialPort() {
    // An adapter that takes nothing any more would keep close waiting.
    const std::int64_t deadline = monotonic_ns() + kFarewell;
    int queued = 0;
    while (::ioctl(file_, TIOCOUTQ, &queued) == 0 && queued > 0) {
        if (monotonic_ns() > deadline) {
            ::tcflush(file_, TCOFLUSH);
            break;
        }
        ::poll(nullptr, 0, 1);
    }
    // A pty outlives us: without this nobody could open it again.
    ::ioctl(file_, TIOCNXCL);
    ::close(file_);
}

Io SerialPort::lost(int reason) noexcept {
    lost_errno_ = reason;
    return Io::gone;
}

Io SerialPort::write(std::span<const std::uint8_t> bytes, std::int64_t deadline_ns, std::size_t& count) noexcept {
    count = 0;
    while (count < bytes.size()) {
        const ssize_t written = ::write(file_, bytes.data() + count, bytes.size() - count);
        if (written > 0) {
            count += static_cast<std::size_t>(written);
        } else if (written < 0 && errno != EAGAIN && errno != EINTR) {
            return lost(errno);
        } else if (const Io result = wait_until_ready(file_, POLLOUT, deadline_ns); result != Io::ok) {
            return result == Io::gone ? lost(errno) : result;
        } else if (monotonic_ns() >= deadline_ns) {
            return Io::timeout;
        }
    }
    return Io::ok;
}

Io SerialPort::read(std::span<std::uint8_t> into, std::int64_t deadline_ns, std::size_t& count) noexcept {
    count = 0;
    for (;;) {
        if (const Io result = wait_until_ready(file_, POLLIN, deadline_ns); result != Io::ok) {
            return result == Io::gone ? lost(errno) : result;
        }
        const ssize_t got = ::read(file_, into.data(), into.size());
        if (got > 0) {
            count = static_cast<std::size_t>(got);
            return Io::ok;
        }
        // Ready with nothing to read is how a terminal says that its other end is gone; some say it with EIO.
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            return lost(got == 0 ? 0 : errno);
        }
        if (monotonic_ns() >= deadline_ns) {
            return Io::timeout;
        }
    }
}

void SerialPort::discard_input() noexcept {
    ::tcflush(file_, TCIFLUSH);
}

void SerialPort::discard_output() noexcept {
    ::tcflush(file_, TCOFLUSH);
}

}  // namespace edgearm::link
