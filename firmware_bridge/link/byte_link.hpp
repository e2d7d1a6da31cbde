// A line that carries bytes. Whoever speaks a protocol on one knows this interface and not which line it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace edgearm::link {

// How a transfer ended. A line of bytes gives the first three; frames can also be damaged or refused.
enum class Io {
    ok,
    timeout,  // silence until the deadline
    gone,     // hung up, unplugged or in error: it does not come back by waiting, the link has to be opened again
    corrupt,  // something came and could not be read
    refused,  // the other side understood and would not
};

// CLOCK_MONOTONIC in nanoseconds, the clock of every deadline here.
std::int64_t monotonic_ns() noexcept;

// As a deadline: what is there already is taken, nothing is waited for. A deadline that has passed takes nothing, so
// that a line that never falls silent keeps nobody for ever.
inline constexpr std::int64_t kNoWait = 0;

// Waits until `file` is ready for `events` (poll's) or has an error to tell. Io::ok says that a transfer may be tried;
// only that tells a hang-up from data.
Io wait_until_ready(int file, short events, std::int64_t deadline_ns) noexcept;

class ByteLink {
public:
    virtual ~ByteLink() = default;

    // What a person calls this line.
    virtual const std::string& path() const noexcept = 0;

    // Writes all of `bytes` before the deadline; `count` is how many were taken, also when that was not all.
    virtual Io write(std::span<const std::uint8_t> bytes, std::int64_t deadline_ns, std::size_t& count) noexcept = 0;
    // Waits until something is there or the deadline has passed; `count` is then how many bytes came, at least one for
    // Io::ok.
    virtual Io read(std::span<std::uint8_t> into, std::int64_t deadline_ns, std::size_t& count) noexcept = 0;
    // Throws away what has come in and was not read.
    virtual void discard_input() noexcept = 0;
    // The same of what was written and has not gone out; a line that keeps nothing has nothing to do.
    virtual void discard_output() noexcept {}

    Io write(std::span<const std::uint8_t> bytes, std::int64_t deadline_ns) noexcept {
        std::size_t count = 0;
        return write(bytes, deadline_ns, count);
    }
};

}  // namespace edgearm::link
