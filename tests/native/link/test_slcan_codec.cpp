#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "frames.hpp"
#include "slcan_codec.hpp"

using namespace edgearm::link;
using edgearm::test::frames_of_every_kind;
using edgearm::test::impossible_frames;

namespace {

std::string format(const CanFrame& frame) {
    SlcanLine line{};
    const std::size_t size = slcan_format(frame, line);
    return {line.begin(), line.begin() + static_cast<std::ptrdiff_t>(size)};
}

std::span<const std::uint8_t> bytes(const std::string& text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

bool is_frame(const std::string& line) {
    CanFrame frame;
    return slcan_parse(bytes(line), frame);
}

using Heard = std::vector<std::pair<SlcanEvent, CanFrame>>;

Heard hear(SlcanParser& parser, const std::string& text) {
    Heard heard;
    for (const std::uint8_t byte : bytes(text)) {
        CanFrame frame;
        if (const SlcanEvent event = parser.push(byte, frame); event != SlcanEvent::none) {
            heard.emplace_back(event, frame);
        }
    }
    return heard;
}

std::vector<SlcanEvent> events(const std::string& text) {
    SlcanParser parser;
    std::vector<SlcanEvent> found;
    for (const auto& [event, frame] : hear(parser, text)) {
        found.push_back(event);
    }
    return found;
}

}  // namespace

TEST_CASE("slcan: lines known from elsewhere") {
    CanFrame frame;
    frame.id = 0x100;
    frame.length = 2;
    frame.data[0] = 0x11;
    frame.data[1] = 0x33;
    CHECK(format(frame) == "t10021133\r");
    frame.extended = true;
    CHECK(format(frame) == "T0000010021133\r");
    frame.fd = true;
    CHECK(format(frame) == "D0000010021133\r");
    frame.bit_rate_switch = true;
    CHECK(format(frame) == "B0000010021133\r");
    frame = {};
    frame.id = 0x7FF;
    frame.remote = true;
    frame.length = 8;
    CHECK(format(frame) == "r7FF8\r");
    frame = {};
    frame.fd = true;
    frame.length = 64;
    CHECK(format(frame) == "d000F" + std::string(128, '0') + "\r");
}

TEST_CASE("slcan: a frame of every kind and length comes back, in pieces of one byte, with a stamp, in small letters") {
    SlcanParser parser;
    for (const CanFrame& frame : frames_of_every_kind()) {
        const std::string line = format(frame);
        REQUIRE(!line.empty());
        const std::string text = line.substr(0, line.size() - 1);
        std::string small = text.substr(0, 1);
        for (const char digit : text.substr(1)) {
            small += static_cast<char>(std::tolower(digit));
        }
        for (const std::string& said : {line, text + "BEEF\r", small + "\r"}) {
            const Heard heard = hear(parser, said);
            REQUIRE(heard.size() == 1);
            CHECK(heard[0].first == SlcanEvent::frame);
            CHECK(heard[0].second == frame);
        }
    }
    for (const CanFrame& frame : impossible_frames()) {
        CHECK(format(frame).empty());
    }
}

TEST_CASE("slcan: no line that was cut short, lengthened or damaged is a frame") {
    for (const CanFrame& frame : frames_of_every_kind()) {
        const std::string line = format(frame);
        const std::string text = line.substr(0, line.size() - 1);
        for (std::size_t size = 0; size < text.size(); ++size) {
            CHECK(!is_frame(text.substr(0, size)));
        }
        for (const char* more : {"0", "00", "000", "00000", "000000"}) {
            CHECK(!is_frame(text + more));
        }
        for (std::size_t at = 1; at < text.size(); ++at) {
            std::string damaged = text;
            damaged[at] = at % 2 != 0 ? 'g' : '\x80';
            CHECK(!is_frame(damaged));
        }
    }
    CHECK(!is_frame("t8000"));                         // 12 bits of identifier
    CHECK(!is_frame("T200000000"));                    // 30
    CHECK(!is_frame("t0009" + std::string(18, '0')));  // nine bytes without CAN FD
    CHECK(!is_frame("x0000"));
}

TEST_CASE("slcan: what an adapter says besides frames") {
    using enum SlcanEvent;
    CHECK(events("\r") == std::vector{acknowledge});
    CHECK(events("z\rZ\r") == std::vector{acknowledge, acknowledge});
    CHECK(events("\a") == std::vector{refuse});
    CHECK(events("V1013\rv0100\rNA123\rF00\r") == std::vector{answer, answer, answer, answer});
    CHECK(events("\r\nt1000\r\n\a\r\n") == std::vector{acknowledge, frame, refuse, acknowledge});
    CHECK(events("1.2.3\r") == std::vector{corrupt});
}

TEST_CASE("slcan: after garbage the next whole line is understood") {
    using enum SlcanEvent;
    CHECK(events("\x80\xFF\x01garbage\rt1230\r") == std::vector{corrupt, frame});
    CHECK(events("\x80\xFFt1230\rt1230\r") == std::vector{corrupt, frame});  // garbage without an end costs one line
    CHECK(events("t12\at1230\r") == std::vector{refuse, frame});
    CHECK(events("t123811\rt1230\r") == std::vector{corrupt, frame});
    CHECK(events("b" + std::string(5'000, '0') + "\rt1230\r") == std::vector{corrupt, frame});
    CHECK(events("\0\0\0") == std::vector<SlcanEvent>{});

    std::mt19937 random(2);
    for (int round = 0; round < 2'000; ++round) {
        SlcanParser parser;
        std::string noise(random() % 300, '\0');
        for (char& byte : noise) {
            byte = static_cast<char>(random());
        }
        hear(parser, noise);
        hear(parser, "\r");
        const Heard heard = hear(parser, "T0ABCDEF12A1B2\r");
        REQUIRE(heard.size() == 1);
        REQUIRE(heard[0].first == frame);
        CHECK(heard[0].second.id == 0x0ABC'DEF1);
    }
}
