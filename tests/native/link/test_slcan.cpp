#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <optional>

#include "fake_line.hpp"
#include "frames.hpp"
#include "link_error.hpp"
#include "slcan.hpp"

using namespace edgearm::link;
using edgearm::test::FakeLine;

namespace {

constexpr std::int64_t kFar = INT64_MAX;

std::string acknowledge(const std::string&) {
    return "\r";
}

CanFrame frame_of(std::uint32_t id) {
    CanFrame frame;
    frame.id = id;
    return frame;
}

std::optional<Error> refusal(FakeLine& line, SlcanConfig config = {}) {
    try {
        SlcanLink link(line, config);
    } catch (const Error& error) {
        return error;
    }
    return std::nullopt;
}

}  // namespace

TEST_CASE("slcan: opening closes what was open, sets the rates, opens; the end closes again") {
    FakeLine line(acknowledge);
    {
        SlcanLink link(line, {.bit_rate = 500'000, .data_bit_rate = 5'000'000});
        CHECK(link.acknowledges());
        CHECK(line.written == "C\rC\rS6\rY5\rO\r");
    }
    CHECK(line.written == "C\rC\rS6\rY5\rO\rC\r");
}

TEST_CASE("slcan: a channel left open, half a line left in the adapter, a C that is refused: it opens all the same") {
    int closes = 0;
    FakeLine line([&](const std::string& said) -> std::string {
        if (said != "C") {
            return "\r";
        }
        closes += 1;
        return closes == 1 ? "t1230\rt1230\r" : "t1230\r\a";  // the first C only ended the half line
    });
    line.piece = 1;
    const SlcanLink link(line);
    CHECK(link.acknowledges());
    CHECK(line.written == "C\rC\rS8\rO\r");
    CHECK(link.counters().refused == 0);
}

TEST_CASE("slcan: what does not open says why") {
    SUBCASE("silence") {
        FakeLine line([](const std::string&) { return ""; });
        const auto error = refusal(line);
        REQUIRE(error);
        CHECK(error->cause == Error::Cause::wrong);
        CHECK(error->what() == std::string("no slcan adapter answers on a line"));
    }
    SUBCASE("a refused rate") {
        FakeLine line([](const std::string& said) { return said[0] == 'Y' ? "\a" : "\r"; });
        const auto error = refusal(line, {.data_bit_rate = 2'000'000});
        REQUIRE(error);
        CHECK(error->cause == Error::Cause::unsupported);
        CHECK(error->expected == "CR for the command Y2");
        CHECK(error->got == "BELL");
    }
    SUBCASE("a rate without a word") {
        FakeLine line(acknowledge);
        const auto error = refusal(line, {.bit_rate = 800'000});
        REQUIRE(error);
        CHECK(error->cause == Error::Cause::unsupported);
        CHECK(error->expected.find("1000000") != std::string::npos);
        CHECK(line.written.empty());
    }
    SUBCASE("a line that is gone") {
        FakeLine line(acknowledge);
        line.gone = true;
        CHECK(refusal(line)->cause == Error::Cause::missing);
    }
}

TEST_CASE("slcan: firmware that never acknowledges is known by its answer and nothing is waited for") {
    FakeLine line([](const std::string& said) { return said == "V" ? "b158aa7 github.com/somebody/firmware\r" : ""; });
    SlcanLink link(line);
    CHECK(!link.acknowledges());
    for (int i = 0; i < 100; ++i) {
        CHECK(link.send(frame_of(1), kFar) == Io::ok);
    }
    CHECK(link.counters().sent == 100);
    CHECK(link.counters().unanswered == 0);
}

TEST_CASE("slcan: with a window of one, the result is about this frame") {
    std::string answer = "\r";
    FakeLine line([&](const std::string&) { return answer; });
    SlcanLink link(line, {.window = 1});
    CHECK(link.send(frame_of(1), kFar) == Io::ok);
    answer = "\a";
    CHECK(link.send(frame_of(2), kFar) == Io::refused);
    answer = "z\r";
    CHECK(link.send(frame_of(3), kFar) == Io::ok);
    answer = "";
    CHECK(link.send(frame_of(4), kFar) == Io::timeout);  // lost: told once, and the next one goes
    answer = "\r";
    CHECK(link.send(frame_of(5), kFar) == Io::ok);
    CHECK(link.counters().sent == 5);
    CHECK(link.counters().refused == 1);
    CHECK(link.counters().unanswered == 1);
}

TEST_CASE("slcan: with a wider window, a refusal is told later, and lost acknowledgements stop nothing for good") {
    std::string answer = "\a";
    FakeLine line([&](const std::string& said) { return said[0] == 't' ? answer : "\r"; });
    SlcanLink link(line, {.window = 4});
    CHECK(link.send(frame_of(1), kFar) == Io::ok);
    answer = "";
    CHECK(link.send(frame_of(2), kFar) == Io::refused);  // the first one was
    CHECK(link.send(frame_of(3), kFar) == Io::ok);
    CHECK(link.send(frame_of(4), kFar) == Io::ok);
    CHECK(link.send(frame_of(5), kFar) == Io::ok);
    CHECK(link.send(frame_of(6), kFar) == Io::timeout);  // four without an answer
    CHECK(link.counters().sent == 5);
    CHECK(link.counters().unanswered == 4);
    CHECK(link.send(frame_of(7), kFar) == Io::ok);
}

TEST_CASE("slcan: a line that was cut by a deadline is finished before the next one begins") {
    FakeLine line(acknowledge);
    SlcanLink link(line);
    line.written.clear();
    line.room = 0;
    CHECK(link.send(frame_of(0x111), kFar) == Io::timeout);  // nothing went, and nothing of it ever will
    line.room = 3;
    CHECK(link.send(frame_of(0x123), kFar) == Io::timeout);
    CHECK(link.send(frame_of(0x456), kFar) == Io::timeout);
    CHECK(line.written == "t12");
    line.room = 100;
    CHECK(link.send(frame_of(0x789), kFar) == Io::ok);
    CHECK(line.written == "t1230\rt7890\r");
    CHECK(link.counters().sent == 2);
}

TEST_CASE("slcan: a frame that cannot be carried is refused before a byte is written") {
    FakeLine line(acknowledge);
    SlcanLink link(line);
    line.written.clear();
    auto frames = edgearm::test::impossible_frames();
    CanFrame fd;
    fd.fd = true;  // the link was opened without a data bit rate
    frames.push_back(fd);
    for (const CanFrame& frame : frames) {
        CHECK(link.send(frame, kFar) == Io::refused);
    }
    CHECK(line.written.empty());
    CHECK(link.counters().refused == frames.size());
}

TEST_CASE("slcan: frames come in order, also those between acknowledgements; damage is told and skipped") {
    FakeLine line([](const std::string& said) { return said[0] == 't' ? "t0010\r\rt0020\r" : "\r"; });
    SlcanLink link(line);
    line.piece = 2;
    CanFrame frame;
    CHECK(link.receive(frame, kFar) == Io::timeout);
    CHECK(link.send(frame_of(7), kFar) == Io::ok);
    line.say("t00\x80\rT000000030\r");
    for (const std::uint32_t id : {1u, 2u}) {
        CHECK(link.receive(frame, kFar) == Io::ok);
        CHECK(frame.id == id);
    }
    CHECK(link.receive(frame, kFar) == Io::corrupt);
    CHECK(link.receive(frame, kFar) == Io::ok);
    CHECK(frame.extended);
    CHECK(frame.id == 3);
    CHECK(link.receive(frame, kNoWait) == Io::timeout);
    CHECK(link.counters().received == 3);
    CHECK(link.counters().corrupt == 1);
    CHECK(link.state() == BusState::unknown);
    line.gone = true;
    CHECK(link.receive(frame, kFar) == Io::gone);
    CHECK(link.send(frame_of(1), kFar) == Io::gone);
}

TEST_CASE("slcan: frames that nobody takes: the newest are kept") {
    FakeLine line(acknowledge);
    SlcanLink link(line);
    for (std::uint32_t id = 0; id < 300; ++id) {
        constexpr std::array<char, 17> kDigits{"0123456789ABCDEF"};
        line.say(std::string("t") + kDigits[id >> 8] + kDigits[id >> 4 & 15] + kDigits[id & 15] + "0\r");
    }
    for (int i = 0; i < 10; ++i) {
        CHECK(link.send(frame_of(1), kFar) == Io::ok);
    }
    CanFrame frame;
    for (std::uint32_t id = 300 - 256; id < 300; ++id) {
        REQUIRE(link.receive(frame, kFar) == Io::ok);
        CHECK(frame.id == id);
    }
    CHECK(link.receive(frame, kFar) == Io::timeout);
    CHECK(link.counters().overruns == 44);
}
