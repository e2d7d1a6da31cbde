#include "slcan.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "link_error.hpp"

namespace edgearm::link {

namespace {

constexpr std::int64_t kFarewell = 50'000'000;

// 7 is left out: it is 800 kbit/s for some firmware and 750 for other.
constexpr std::array<std::pair<int, const char*>, 8> kBitRates{{{10'000, "S0\r"},
                                                                {20'000, "S1\r"},
                                                                {50'000, "S2\r"},
                                                                {100'000, "S3\r"},
                                                                {125'000, "S4\r"},
                                                                {250'000, "S5\r"},
                                                                {500'000, "S6\r"},
                                                                {1'000'000, "S8\r"}}};
constexpr std::array<std::pair<int, const char*>, 4> kDataBitRates{
    {{1'000'000, "Y1\r"}, {2'000'000, "Y2\r"}, {4'000'000, "Y4\r"}, {5'000'000, "Y5\r"}}};

template <class Rates>
const char* word_for(const Rates& rates, int rate, const char* what) {
    std::string known;
    for (const auto& [value, word] : rates) {
        if (value == rate) {
            return word;
        }
        known += (known.empty() ? "" : ", ") + std::to_string(value);
    }
    throw Error(Error::Cause::unsupported, std::string("slcan has no word for this ") + what, known,
                std::to_string(rate), "use one of these rates for the motors, or SocketCAN");
}

}  // namespace

SlcanLink::SlcanLink(ByteLink& line, SlcanConfig config) : line_(line), config_(config) {
    if (config.window < 1) {
        throw Error(Error::Cause::unsupported, "slcan window cannot be used", "1 or more",
                    std::to_string(config.window), "leave it at its default");
    }
    open();
}

SlcanLink::~SlcanLink() {
    const std::int64_t deadline = monotonic_ns() + kFarewell;
    if (finish_line(deadline) == Io::ok &&
        line_.write({reinterpret_cast<const std::uint8_t*>("C\r"), 2}, deadline) == Io::ok && acknowledges_) {
        unanswered_ += 1;
        await_answers(0, deadline);
    }
}

// --- opening ---------------------------------------------------------------------------------------------------------

void SlcanLink::open() {
    const char* bit_rate = word_for(kBitRates, config_.bit_rate, "bit rate");
    const char* data_bit_rate =
        config_.data_bit_rate == 0 ? nullptr : word_for(kDataBitRates, config_.data_bit_rate, "data bit rate");
    // An earlier user may have died in the middle of a line and left the channel open. The first C ends that line, the
    // second is heard. A bare CR would not do: there is firmware that takes it for "the last frame again".
    const bool first = ask("C\r", false);
    const bool second = ask("C\r", false);
    acknowledges_ = first || second;
    if (!first || !second) {
        settle();
    }
    // Silence: no adapter, or one that never acknowledges and can only be recognised by its answer to a question.
    if (!acknowledges_ && !ask("V\r", true)) {
        throw Error(Error::Cause::wrong, "no slcan adapter answers on " + path(),
                    "CR or BELL for the command C, or a line for V", "silence",
                    "check that the adapter runs slcan firmware and that this is its port");
    }
    command(bit_rate, "set its bit rate to " + std::to_string(config_.bit_rate));
    if (data_bit_rate != nullptr) {
        command(data_bit_rate, "set its data bit rate to " + std::to_string(config_.data_bit_rate));
    }
    command("O\r", "open its channel");
    counters_ = {};
    held_count_ = 0;
    unanswered_ = 0;
    refusal_ = damage_ = false;
}

// True when it was acknowledged or refused, or with `any_line` answered by whatever is a line.
bool SlcanLink::ask(const char* text, bool any_line) {
    line_.discard_input();
    parser_.reset();
    const std::int64_t deadline = monotonic_ns() + config_.answer_timeout_ns;
    last_answer_ = SlcanEvent::none;
    line_came_ = false;
    Io result = line_.write({reinterpret_cast<const std::uint8_t*>(text), std::strlen(text)}, deadline);
    // A channel that was left open still hands over frames: what comes need not be the answer.
    while (result == Io::ok && last_answer_ == SlcanEvent::none && !(any_line && line_came_)) {
        result = take(deadline);
    }
    if (result == Io::gone) {
        throw Error(Error::Cause::missing, "port " + path() + " is gone", "an adapter that stays connected",
                    "no such device", "check the cable and the adapter's power");
    }
    return last_answer_ != SlcanEvent::none || (any_line && line_came_);
}

// Waits until the line is quiet: an answer that is only late must not be taken for that of the next command.
void SlcanLink::settle() {
    const std::int64_t latest = monotonic_ns() + 4 * config_.answer_timeout_ns;
    while (monotonic_ns() < latest && take(monotonic_ns() + config_.answer_timeout_ns) == Io::ok) {
    }
}

void SlcanLink::command(const char* text, const std::string& doing) {
    if (!acknowledges_) {
        const std::int64_t deadline = monotonic_ns() + config_.answer_timeout_ns;
        line_.write({reinterpret_cast<const std::uint8_t*>(text), std::strlen(text)}, deadline);
        return;
    }
    if (!ask(text, false) || last_answer_ == SlcanEvent::refuse) {
        const std::string word(text, std::strlen(text) - 1);
        throw Error(Error::Cause::unsupported, "the adapter on " + path() + " did not " + doing,
                    "CR for the command " + word, last_answer_ == SlcanEvent::refuse ? "BELL" : "silence",
                    "check what its firmware can do, and plug it in again");
    }
}

// --- frames ----------------------------------------------------------------------------------------------------------

// Reads once and sorts what came.
Io SlcanLink::take(std::int64_t deadline_ns) noexcept {
    std::size_t count = 0;
    if (const Io result = line_.read(incoming_, deadline_ns, count); result != Io::ok) {
        return result;
    }
    CanFrame frame;
    for (std::size_t i = 0; i < count; ++i) {
        const SlcanEvent event = parser_.push(incoming_[i], frame);
        switch (event) {
            case SlcanEvent::none:
                break;
            case SlcanEvent::frame:
                hold(frame);
                break;
            case SlcanEvent::answer:
                line_came_ = true;
                break;
            case SlcanEvent::corrupt:
                counters_.corrupt += 1;
                damage_ = line_came_ = true;
                break;
            case SlcanEvent::refuse:
                counters_.refused += 1;
                refusal_ = true;
                [[fallthrough]];
            case SlcanEvent::acknowledge:
                unanswered_ = std::max(0, unanswered_ - 1);
                last_answer_ = event;
                break;
        }
    }
    return Io::ok;
}

// When nobody takes them the oldest goes: of a motor's feedback the newest is wanted.
void SlcanLink::hold(const CanFrame& frame) noexcept {
    if (held_count_ == kHeldFrames) {
        first_ = (first_ + 1) % kHeldFrames;
        held_count_ -= 1;
        counters_.overruns += 1;
    }
    held_[(first_ + held_count_) % kHeldFrames] = frame;
    held_count_ += 1;
}

Io SlcanLink::finish_line(std::int64_t deadline_ns) noexcept {
    std::size_t count = 0;
    const Io result = line_.write({outgoing_.data() + outgoing_at_, outgoing_end_ - outgoing_at_}, deadline_ns, count);
    outgoing_at_ += count;
    return result;
}

// Until at most `most` frames are without an answer.
Io SlcanLink::await_answers(int most, std::int64_t deadline_ns) noexcept {
    while (unanswered_ > most) {
        const Io result = take(deadline_ns);
        if (result == Io::timeout) {
            // They were lost. Counted, and forgotten: waiting for them again would stop every frame from now on.
            counters_.unanswered += static_cast<std::uint64_t>(unanswered_);
            unanswered_ = 0;
        }
        if (result != Io::ok) {
            return result;
        }
    }
    return Io::ok;
}

Io SlcanLink::send(const CanFrame& frame, std::int64_t deadline_ns) noexcept {
    if (!is_valid(frame) || (frame.fd && config_.data_bit_rate == 0)) {
        counters_.refused += 1;
        return Io::refused;
    }
    Io result = finish_line(deadline_ns);
    if (result == Io::ok && acknowledges_) {
        result = take(kNoWait);
        result = result == Io::gone ? result : await_answers(config_.window - 1, deadline_ns);
    }
    if (result != Io::ok) {
        return result;
    }
    outgoing_at_ = 0;
    outgoing_end_ = slcan_format(frame, outgoing_);
    result = finish_line(deadline_ns);
    if (outgoing_at_ == 0) {
        outgoing_end_ = 0;  // nothing of it went: nothing of it is to go later, in place of a newer command
        return result;
    }
    counters_.sent += 1;
    if (acknowledges_) {
        unanswered_ += 1;
        if (result == Io::ok && config_.window == 1) {
            result = await_answers(0, deadline_ns);
        }
    }
    if (result == Io::ok && std::exchange(refusal_, false)) {
        return Io::refused;
    }
    return result;
}

Io SlcanLink::receive(CanFrame& frame, std::int64_t deadline_ns) noexcept {
    for (bool looked = false;; looked = true) {
        if (held_count_ > 0) {
            frame = held_[first_];
            first_ = (first_ + 1) % kHeldFrames;
            held_count_ -= 1;
            counters_.received += 1;
            return Io::ok;
        }
        if (std::exchange(damage_, false)) {
            return Io::corrupt;
        }
        if (looked && deadline_ns == kNoWait) {
            return Io::timeout;
        }
        if (const Io result = take(deadline_ns); result != Io::ok) {
            return result;
        }
    }
}

}  // namespace edgearm::link
