#include "feetech_bus.hpp"

#include <algorithm>

namespace edgearm {

namespace {

using Buffer = std::array<std::uint8_t, FEETECH_MAX_FRAME>;

}  // namespace

FeetechBus::FeetechBus(link::ByteLink& line) : line_(line) {
    feetech_parser_init(&parser_, kReplyParams);
}

void FeetechBus::begin() noexcept {
    // What is still on the line answers an earlier request.
    line_.discard_input();
    feetech_parser_reset(&parser_);
    incoming_at_ = incoming_end_ = 0;
}

Io FeetechBus::next_frame(feetech_frame& frame, std::int64_t deadline_ns) noexcept {
    for (;;) {
        const std::uint32_t corrupt = parser_.corrupt;
        const bool found = feetech_parser_next(&parser_, &frame);
        counters_.corrupt += parser_.corrupt - corrupt;
        if (found) {
            return Io::ok;
        }
        if (incoming_at_ == incoming_end_) {
            incoming_at_ = 0;
            if (const Io result = line_.read(incoming_, deadline_ns, incoming_end_); result != Io::ok) {
                return result;
            }
        }
        incoming_at_ += feetech_parser_push(&parser_, incoming_.data() + incoming_at_, incoming_end_ - incoming_at_);
    }
}

Reply FeetechBus::transact(std::uint8_t id, std::span<const std::uint8_t> request, std::size_t params,
                           std::int64_t timeout_ns, int tries) {
    Reply reply;
    for (int attempt = 0; attempt < tries; ++attempt) {
        begin();
        const std::int64_t deadline = monotonic_ns() + timeout_ns;
        reply.io = line_.write(request, deadline);
        feetech_frame frame{};
        while (reply.io == Io::ok && (reply.io = next_frame(frame, deadline)) == Io::ok) {
            if (frame.id == id && frame.count == params) {
                counters_.replies += 1;
                reply.error = frame.code;
                reply.params.assign(frame.params, frame.params + frame.count);
                return reply;
            }
            counters_.stray += 1;
        }
        if (reply.io == Io::gone) {
            return reply;
        }
        counters_.timeouts += 1;
    }
    return reply;
}

Reply FeetechBus::ping(std::uint8_t id, std::int64_t timeout_ns, int tries) {
    Buffer request;
    const std::size_t size = feetech_ping(id, request.data(), request.size());
    return transact(id, {request.data(), size}, 0, timeout_ns, tries);
}

Reply FeetechBus::read(std::uint8_t id, std::uint8_t address, std::uint8_t length, std::int64_t timeout_ns, int tries) {
    Buffer request;
    const std::size_t size = feetech_read(id, address, length, request.data(), request.size());
    return transact(id, {request.data(), size}, length, timeout_ns, tries);
}

Reply FeetechBus::write(std::uint8_t id, std::uint8_t address, std::span<const std::uint8_t> data,
                        std::int64_t timeout_ns, int tries) {
    Buffer request;
    const std::size_t size = feetech_write(id, address, data.data(), data.size(), request.data(), request.size());
    return transact(id, {request.data(), size}, 0, timeout_ns, tries);
}

Io FeetechBus::sync_write(std::uint8_t address, std::span<const std::uint8_t> ids, std::span<const std::uint16_t> words,
                          std::int64_t deadline_ns) noexcept {
    Buffer data;
    for (std::size_t i = 0; i < words.size(); ++i) {
        data[2 * i] = static_cast<std::uint8_t>(words[i] & 0xFF);
        data[2 * i + 1] = static_cast<std::uint8_t>(words[i] >> 8);
    }
    Buffer request;
    const std::size_t size =
        feetech_sync_write(address, 2, ids.data(), data.data(), ids.size(), request.data(), request.size());
    return line_.write({request.data(), size}, deadline_ns);
}

Io FeetechBus::sync_read(std::uint8_t address, std::span<const std::uint8_t> ids, std::span<WordReply> replies,
                         std::int64_t deadline_ns) noexcept {
    std::fill(replies.begin(), replies.end(), WordReply{});
    Buffer request;
    const std::size_t size = feetech_sync_read(address, 2, ids.data(), ids.size(), request.data(), request.size());
    begin();
    Io result = line_.write({request.data(), size}, deadline_ns);
    std::size_t missing = ids.size();
    feetech_frame frame{};
    while (missing > 0 && result == Io::ok && (result = next_frame(frame, deadline_ns)) == Io::ok) {
        const auto found = std::find(ids.begin(), ids.end(), frame.id);
        const auto at = static_cast<std::size_t>(found - ids.begin());
        if (found == ids.end() || frame.count != 2 || replies[at].came) {
            counters_.stray += 1;
            continue;
        }
        replies[at] = {true, frame.code, static_cast<std::uint16_t>(frame.params[0] | frame.params[1] << 8)};
        counters_.replies += 1;
        missing -= 1;
    }
    counters_.timeouts += missing;
    return result == Io::gone ? Io::gone : Io::ok;
}

}  // namespace edgearm
