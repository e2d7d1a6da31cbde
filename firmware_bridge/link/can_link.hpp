// Frames on a CAN bus, and a link that carries them. Whoever commands CAN motors knows this interface and not which
// adapter it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "byte_link.hpp"

namespace edgearm::link {

struct CanFrame {
    static constexpr std::uint32_t kLargestStandardId = 0x7FF;
    static constexpr std::uint32_t kLargestExtendedId = 0x1FFF'FFFF;
    static constexpr std::size_t kClassicBytes = 8;
    static constexpr std::size_t kFdBytes = 64;

    std::uint32_t id = 0;
    bool extended = false;         // 29 bits of identifier, not 11
    bool remote = false;           // asks for a frame: a length and no data; there is none of these in CAN FD
    bool fd = false;               // CAN FD
    bool bit_rate_switch = false;  // of CAN FD: the data goes at the data bit rate
    std::uint8_t length = 0;       // bytes of data
    std::array<std::uint8_t, kFdBytes> data{};

    std::span<const std::uint8_t> bytes() const { return {data.data(), length}; }
    friend bool operator==(const CanFrame&, const CanFrame&) = default;
};

// CAN FD has no length between these; what is shorter is padded by whoever gives it a meaning, not here.
inline constexpr std::array<std::uint8_t, 16> kFdLengths{0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64};

// The four bits that stand for a length on the wire, -1 for a length that no frame can have.
constexpr int length_code(std::size_t length) {
    for (std::size_t code = 0; code < kFdLengths.size(); ++code) {
        if (kFdLengths[code] == length) {
            return static_cast<int>(code);
        }
    }
    return -1;
}

// Whether a bus can carry this frame.
constexpr bool is_valid(const CanFrame& frame) {
    const std::uint32_t largest = frame.extended ? CanFrame::kLargestExtendedId : CanFrame::kLargestStandardId;
    const bool sized = frame.fd ? length_code(frame.length) >= 0 : frame.length <= CanFrame::kClassicBytes;
    return frame.id <= largest && sized && !(frame.fd && frame.remote) && !(frame.bit_rate_switch && !frame.fd);
}

// What the adapter's controller makes of the errors it has seen.
enum class BusState {
    unknown,  // the adapter does not tell
    active,   // takes part
    warning,
    passive,  // so many errors that it no longer stops others' frames
    off,      // so many that it left the bus: nothing is sent until it is restarted
};

struct CanCounters {
    std::uint64_t sent = 0;        // frames handed to the adapter
    std::uint64_t received = 0;    // frames taken from it
    std::uint64_t refused = 0;     // frames that it, or this link, would not send
    std::uint64_t corrupt = 0;     // damaged pieces that were thrown away
    std::uint64_t overruns = 0;    // frames lost because nobody took them in time
    std::uint64_t unanswered = 0;  // frames whose acknowledgement never came
    std::uint64_t bus_errors = 0;  // errors that the controller reported
};

// One thread at a time. Nothing allocates, throws or waits past its deadline once a link is open.
class CanLink {
public:
    virtual ~CanLink() = default;

    virtual const std::string& path() const noexcept = 0;

    // Hands one frame over. Io::timeout: it was not, or not whole. Io::refused: the frame cannot be carried, the
    // controller is off the bus, or the adapter refused this frame or an earlier one that it had not answered yet.
    virtual Io send(const CanFrame& frame, std::int64_t deadline_ns) noexcept = 0;
    // The next frame of another node, in the order they came. Io::corrupt: something damaged was skipped; call again.
    virtual Io receive(CanFrame& frame, std::int64_t deadline_ns) noexcept = 0;

    virtual BusState state() const noexcept = 0;
    const CanCounters& counters() const noexcept { return counters_; }

protected:
    CanCounters counters_;
};

}  // namespace edgearm::link
