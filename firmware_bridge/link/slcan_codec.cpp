#include "slcan_codec.hpp"

#include <algorithm>

namespace edgearm::link {

namespace {

constexpr std::size_t kStampDigits = 4;

std::uint8_t digit_of(std::uint32_t nibble) noexcept {
    return static_cast<std::uint8_t>("0123456789ABCDEF"[nibble & 0xF]);
}

// -1 when it is no digit.
int nibble_of(std::uint8_t digit) noexcept {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return -1;
}

bool are_digits(std::span<const std::uint8_t> text) noexcept {
    return std::all_of(text.begin(), text.end(), [](std::uint8_t digit) { return nibble_of(digit) >= 0; });
}

std::uint8_t letter_of(const CanFrame& frame) noexcept {
    const char small = frame.remote ? 'r' : !frame.fd ? 't' : frame.bit_rate_switch ? 'b' : 'd';
    return static_cast<std::uint8_t>(frame.extended ? small - 'a' + 'A' : small);
}

bool is_frame_letter(std::uint8_t letter) noexcept {
    constexpr std::array<char, 8> kLetters{'t', 'T', 'r', 'R', 'd', 'D', 'b', 'B'};
    return std::find(kLetters.begin(), kLetters.end(), letter) != kLetters.end();
}

}  // namespace

std::size_t slcan_format(const CanFrame& frame, SlcanLine& line) noexcept {
    if (!is_valid(frame)) {
        return 0;
    }
    std::size_t at = 0;
    line[at++] = letter_of(frame);
    for (int shift = frame.extended ? 28 : 8; shift >= 0; shift -= 4) {
        line[at++] = digit_of(frame.id >> shift);
    }
    line[at++] = digit_of(static_cast<std::uint32_t>(length_code(frame.length)));
    if (!frame.remote) {
        for (const std::uint8_t byte : frame.bytes()) {
            line[at++] = digit_of(byte >> 4);
            line[at++] = digit_of(byte);
        }
    }
    line[at++] = kCarriageReturn;
    return at;
}

bool slcan_parse(std::span<const std::uint8_t> line, CanFrame& frame) noexcept {
    if (line.empty() || !is_frame_letter(line[0]) || !are_digits(line.subspan(1))) {
        return false;
    }
    CanFrame read;
    read.extended = line[0] < 'a';
    const auto letter = static_cast<char>(read.extended ? line[0] - 'A' + 'a' : line[0]);
    read.remote = letter == 'r';
    read.fd = letter == 'd' || letter == 'b';
    read.bit_rate_switch = letter == 'b';

    const std::size_t id_digits = read.extended ? 8 : 3;
    if (line.size() < 1 + id_digits + 1) {
        return false;
    }
    for (const std::uint8_t digit : line.subspan(1, id_digits)) {
        read.id = read.id << 4 | static_cast<std::uint32_t>(nibble_of(digit));
    }
    read.length = kFdLengths[static_cast<std::size_t>(nibble_of(line[1 + id_digits]))];
    if (!is_valid(read)) {
        return false;
    }
    const auto digits = line.subspan(1 + id_digits + 1);
    const std::size_t expected = read.remote ? 0 : 2u * read.length;
    if (digits.size() != expected && digits.size() != expected + kStampDigits) {
        return false;
    }
    for (std::size_t i = 0; i < expected / 2; ++i) {
        read.data[i] = static_cast<std::uint8_t>(nibble_of(digits[2 * i]) << 4 | nibble_of(digits[2 * i + 1]));
    }
    frame = read;
    return true;
}

void SlcanParser::reset() noexcept {
    length_ = 0;
    spoilt_ = false;
}

SlcanEvent SlcanParser::push(std::uint8_t byte, CanFrame& frame) noexcept {
    if (byte == kCarriageReturn) {
        const SlcanEvent event = finish(frame);
        reset();
        return event;
    }
    if (byte == kBell) {
        // It stands alone. What was read of a line before it has lost its end.
        reset();
        return SlcanEvent::refuse;
    }
    // Some firmware writes CR LF.
    if (byte == '\n' && length_ == 0) {
        return SlcanEvent::none;
    }
    if (byte < ' ' || byte > '~' || length_ == line_.size()) {
        spoilt_ = true;
    } else {
        line_[length_++] = byte;
    }
    return SlcanEvent::none;
}

SlcanEvent SlcanParser::finish(CanFrame& frame) noexcept {
    if (spoilt_) {
        return SlcanEvent::corrupt;
    }
    const std::span<const std::uint8_t> line(line_.data(), length_);
    // An adapter that tells acceptance of frames apart writes z, or Z for 29 bits, before the CR.
    if (line.empty() || (line.size() == 1 && (line[0] == 'z' || line[0] == 'Z'))) {
        return SlcanEvent::acknowledge;
    }
    if (is_frame_letter(line[0])) {
        return slcan_parse(line, frame) ? SlcanEvent::frame : SlcanEvent::corrupt;
    }
    const bool letter = (line[0] >= 'A' && line[0] <= 'Z') || (line[0] >= 'a' && line[0] <= 'z');
    return letter ? SlcanEvent::answer : SlcanEvent::corrupt;
}

}  // namespace edgearm::link
