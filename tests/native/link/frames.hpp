// Frames for tests: every kind and length a bus carries.
#pragma once

#include <random>
#include <vector>

#include "can_link.hpp"

namespace edgearm::test {

inline std::vector<link::CanFrame> frames_of_every_kind() {
    std::mt19937 random(1);
    std::vector<link::CanFrame> frames;
    const auto add = [&](link::CanFrame frame, std::size_t length) {
        frame.length = static_cast<std::uint8_t>(length);
        for (std::size_t i = 0; i < length && !frame.remote; ++i) {
            frame.data[i] = static_cast<std::uint8_t>(random());
        }
        for (const bool extended : {false, true}) {
            frame.extended = extended;
            for (const std::uint32_t id : {0u, 1u, extended ? 0x1FFF'FFFFu : 0x7FFu, extended ? 0xABC'DEF1u : 0x2A5u}) {
                frame.id = id;
                frames.push_back(frame);
            }
        }
    };
    for (std::size_t length = 0; length <= link::CanFrame::kClassicBytes; ++length) {
        add({}, length);
        link::CanFrame remote;
        remote.remote = true;
        add(remote, length);
    }
    for (const std::uint8_t length : link::kFdLengths) {
        link::CanFrame fd;
        fd.fd = true;
        add(fd, length);
        fd.bit_rate_switch = true;
        add(fd, length);
    }
    return frames;
}

// What no bus carries.
inline std::vector<link::CanFrame> impossible_frames() {
    std::vector<link::CanFrame> frames(7);
    frames[0].id = 0x800;
    frames[1].id = 0x2000'0000;
    frames[1].extended = true;
    frames[2].length = 9;
    frames[3].fd = true;
    frames[3].length = 9;
    frames[4].fd = true;
    frames[4].length = 65;
    frames[5].fd = frames[5].remote = true;
    frames[6].bit_rate_switch = true;
    return frames;
}

}  // namespace edgearm::test
