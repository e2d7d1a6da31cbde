// A raw serial line (a USB adapter or a pty), for one process at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace edgearm {

enum class Io { ok, timeout, gone };

class SerialPort {
public:
    // Opens `path` raw at 1 Mbps. Throws Error(link): missing, not a terminal, or in use by another process.
    explicit SerialPort(std::string path);
    ~SerialPort();
    SerialPort(const SerialPort&) = delete;
    SerialPort& operator=(const SerialPort&) = delete;

    const std::string& path() const { return path_; }

    // Writes all of `bytes` before `deadline_ns` (CLOCK_MONOTONIC).
    Io write(std::span<const std::uint8_t> bytes, std::int64_t deadline_ns) noexcept;
    // Waits until something is there or `deadline_ns` has passed; `count` is then how many bytes came, at least one
    // for Io::ok.
    Io read(std::span<std::uint8_t> into, std::int64_t deadline_ns, std::size_t& count) noexcept;
    // Throws away what has come in and was not read.
    void discard_input() noexcept;

private:
    Io wait(short events, std::int64_t deadline_ns) const noexcept;

    std::string path_;
    int file_ = -1;
};

// CLOCK_MONOTONIC in nanoseconds.
std::int64_t monotonic_ns() noexcept;

}  // namespace edgearm
