#include "byte_link.hpp"

#include <poll.h>
#include <time.h>

#include <cerrno>

namespace edgearm::link {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

}  // namespace

std::int64_t monotonic_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * kSecond + now.tv_nsec;
}

Io wait_until_ready(int file, short events, std::int64_t deadline_ns) noexcept {
    for (;;) {
        const std::int64_t left = deadline_ns == kNoWait ? 0 : deadline_ns - monotonic_ns();
        if (left < 0) {
            return Io::timeout;
        }
        pollfd descriptor{file, events, 0};
        const timespec timeout{left / kSecond, left % kSecond};
        const int ready = ::ppoll(&descriptor, 1, &timeout, nullptr);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready < 0 || (descriptor.revents & POLLNVAL) != 0) {
            return Io::gone;
        }
        return ready == 0 ? Io::timeout : Io::ok;
    }
}

}  // namespace edgearm::link
