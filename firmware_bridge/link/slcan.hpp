// A CAN bus behind an adapter that speaks slcan on a serial line.
#pragma once

#include <array>

#include "can_link.hpp"
#include "slcan_codec.hpp"

namespace edgearm::link {

struct SlcanConfig {
    int bit_rate = 1'000'000;
    int data_bit_rate = 0;  // of CAN FD; 0: the bus is classic and CAN FD frames are refused
    // Frames that may be on their way to the adapter without its acknowledgement. With 1, send() waits for each, and
    // its result is about the very frame; with more, a refusal is told by a later call. A USB adapter answers after a
    // millisecond, so that a bus of motors at 500 Hz needs more than 1.
    int window = 16;
    std::int64_t answer_timeout_ns = 500'000'000;  // of each command while opening
};

class SlcanLink final : public CanLink {
public:
    // Closes whatever channel an earlier user left open, sets the rates and opens the channel. `line` must outlive the
    // link. Throws Error: rates that slcan has no word for, a line that is gone, silent, or refuses.
    explicit SlcanLink(ByteLink& line, SlcanConfig config = {});
    // Closes the channel, so that an adapter that stays plugged in leaves the bus alone.
    ~SlcanLink() override;
    SlcanLink(const SlcanLink&) = delete;
    SlcanLink& operator=(const SlcanLink&) = delete;

    const std::string& path() const noexcept override { return line_.path(); }
    // Some firmware never acknowledges. Found out while opening; refusals then go unnoticed.
    bool acknowledges() const noexcept { return acknowledges_; }

    // After Io::timeout a frame may be half written; its rest goes before the next frame, because an adapter is not to
    // be trusted with half a line.
    Io send(const CanFrame& frame, std::int64_t deadline_ns) noexcept override;
    Io receive(CanFrame& frame, std::int64_t deadline_ns) noexcept override;
    // slcan tells it on request only, and not every firmware does: a bus that is off shows as refused frames.
    BusState state() const noexcept override { return BusState::unknown; }

private:
    static constexpr std::size_t kHeldFrames = 256;

    void open();
    void command(const char* text, const std::string& doing);
    void settle();
    bool ask(const char* text, bool any_line);
    Io take(std::int64_t deadline_ns) noexcept;
    void hold(const CanFrame& frame) noexcept;
    Io finish_line(std::int64_t deadline_ns) noexcept;
    Io await_answers(int most, std::int64_t deadline_ns) noexcept;

    ByteLink& line_;
    const SlcanConfig config_;
    bool acknowledges_ = true;

    SlcanParser parser_;
    std::array<std::uint8_t, 512> incoming_{};
    SlcanEvent last_answer_ = SlcanEvent::none;  // the last acknowledgement or refusal
    bool line_came_ = false;                     // one that was neither, nor a frame
    int unanswered_ = 0;
    bool refusal_ = false;  // came, and was not told yet
    bool damage_ = false;   // the same

    SlcanLine outgoing_{};
    std::size_t outgoing_at_ = 0;
    std::size_t outgoing_end_ = 0;

    // Frames that came while acknowledgements were read, oldest first from `first_`.
    std::array<CanFrame, kHeldFrames> held_{};
    std::size_t first_ = 0;
    std::size_t held_count_ = 0;
};

}  // namespace edgearm::link
