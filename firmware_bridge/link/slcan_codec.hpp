// The text that slcan adapters speak (Lawicel's ASCII protocol, with the CAN FD letters of CANable firmware): one line
// a frame, ended by CR; an adapter acknowledges with CR, or refuses with BELL, which ends no line.
//
//   tIIIL..  TIIIIIIIIL..  data frame, 11 and 29 bits of identifier     rIIIL  RIIIIIIIIL  the same, remote
//   dIIIL..  DIIIIIIIIL..  CAN FD                                       bIIIL..  BIIIIIIIIL..  CAN FD, bit rate switch
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "can_link.hpp"

namespace edgearm::link {

inline constexpr std::uint8_t kCarriageReturn = '\r';
inline constexpr std::uint8_t kBell = 0x07;

// Letter, identifier, length, data, time stamp, CR.
inline constexpr std::size_t kSlcanLongestLine = 1 + 8 + 1 + 2 * CanFrame::kFdBytes + 4 + 1;

using SlcanLine = std::array<std::uint8_t, kSlcanLongestLine>;

// Writes the frame's line, CR included. Returns its length; 0 for a frame that no bus can carry.
std::size_t slcan_format(const CanFrame& frame, SlcanLine& line) noexcept;

// Reads one line without its CR. False when it is no frame: damaged, cut short, or longer than the frame it announces.
// A time stamp of four digits at its end is passed over.
bool slcan_parse(std::span<const std::uint8_t> line, CanFrame& frame) noexcept;

enum class SlcanEvent {
    none,         // the line goes on
    frame,        // a frame came
    acknowledge,  // the adapter did what it was told
    refuse,       // it would not
    answer,       // a line that answers a question (version, serial number, status)
    corrupt,      // a line that is none of these
};

// Finds lines in whatever pieces they come in. Bytes that no line can hold spoil the line they are in: it is dropped as
// a whole and the next one begins behind its CR.
class SlcanParser {
public:
    // Takes one byte; `frame` is written for SlcanEvent::frame only.
    SlcanEvent push(std::uint8_t byte, CanFrame& frame) noexcept;
    void reset() noexcept;

private:
    SlcanEvent finish(CanFrame& frame) noexcept;

    SlcanLine line_{};
    std::size_t length_ = 0;
    bool spoilt_ = false;
};

}  // namespace edgearm::link
