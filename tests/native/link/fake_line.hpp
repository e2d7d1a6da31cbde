// A line whose other end is a function: what it answers to each line that was written can be read at once. Silence does
// not take time here: a read with nothing to read has waited until its deadline.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <string>

#include "byte_link.hpp"

namespace edgearm::test {

class FakeLine final : public link::ByteLink {
public:
    using Answer = std::function<std::string(const std::string& line)>;

    explicit FakeLine(Answer answer) : answer_(std::move(answer)) {}

    const std::string& path() const noexcept override { return path_; }

    using ByteLink::write;
    link::Io write(std::span<const std::uint8_t> bytes, std::int64_t, std::size_t& count) noexcept override {
        count = 0;
        if (gone) {
            return link::Io::gone;
        }
        for (const std::uint8_t byte : bytes) {
            if (room == 0) {
                return link::Io::timeout;
            }
            room -= 1;
            count += 1;
            written += static_cast<char>(byte);
            line_ += static_cast<char>(byte);
            if (byte == '\r') {
                say(answer_ ? answer_(line_.substr(0, line_.size() - 1)) : "");
                line_.clear();
            }
        }
        return link::Io::ok;
    }

    link::Io read(std::span<std::uint8_t> into, std::int64_t, std::size_t& count) noexcept override {
        count = 0;
        if (gone) {
            return link::Io::gone;
        }
        count = std::min({into.size(), incoming_.size(), piece});
        std::copy_n(incoming_.begin(), count, into.begin());
        incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(count));
        return count > 0 ? link::Io::ok : link::Io::timeout;
    }

    void discard_input() noexcept override { incoming_.clear(); }

    void say(const std::string& text) { incoming_.insert(incoming_.end(), text.begin(), text.end()); }

    std::string written;
    bool gone = false;
    std::size_t room = 1'000'000;   // bytes that are still taken
    std::size_t piece = 1'000'000;  // the most one read gives

private:
    Answer answer_;
    std::string path_ = "a line";
    std::string line_;
    std::deque<std::uint8_t> incoming_;
};

}  // namespace edgearm::test
