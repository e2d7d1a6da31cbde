// A raw serial line (a USB adapter or a pty), for one process at a time.
#pragma once

#include "byte_link.hpp"

namespace edgearm::link {

class SerialPort final : public ByteLink {
public:
    static constexpr int kServoBaud = 1'000'000;

    // Opens `path` raw, and asks the driver to hand bytes over at once where it knows how. Throws Error: missing, not a
    // terminal, a rate it does not know, or in use by another process, which is named where the system tells.
    explicit SerialPort(std::string path, int baud = kServoBaud);
    ~SerialPort() override;
    SerialPort(const SerialPort&) = delete;
    SerialPort& operator=(const SerialPort&) = delete;

    const std::string& path() const noexcept override { return path_; }
    // The name to open this adapter by next time. An adapter that was unplugged may come back as another ttyUSB, and
    // another may get its number: its name in /dev/serial/by-id stays, or without a serial number that of its socket in
    // by-path. `path` itself where there is none.
    const std::string& stable_path() const noexcept { return stable_path_; }
    // The driver was told not to gather bytes before it hands them over. A USB adapter that does gather adds up to
    // 16 ms to every reply.
    bool low_latency() const noexcept { return low_latency_; }
    // After Io::gone: the system's error number, 0 when the other end hung up without one.
    int lost_errno() const noexcept { return lost_errno_; }

    using ByteLink::write;
    Io write(std::span<const std::uint8_t> bytes, std::int64_t deadline_ns, std::size_t& count) noexcept override;
    Io read(std::span<std::uint8_t> into, std::int64_t deadline_ns, std::size_t& count) noexcept override;
    void discard_input() noexcept override;
    void discard_output() noexcept override;

private:
    Io lost(int reason) noexcept;

    std::string path_;
    std::string stable_path_;
    int file_ = -1;
    bool low_latency_ = false;
    int lost_errno_ = 0;
};

}  // namespace edgearm::link
