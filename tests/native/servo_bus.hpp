// Six servos on a pty, served by a thread of the test: real frames through the C codec, registers, acknowledgements.
// A servo with torque stands where its goal is. Slower or faster than a real line, never kinder: it can fall silent,
// damage replies, and disappear.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "arm.hpp"

extern "C" {
#include "feetech.h"
}

namespace edgearm::test {

using Ticks = std::array<int, kJoints>;

class ServoBus {
public:
    explicit ServoBus(const Ticks& position = {2048, 2048, 2048, 2048, 2048, 2048});
    ~ServoBus();
    ServoBus(const ServoBus&) = delete;
    ServoBus& operator=(const ServoBus&) = delete;

    const std::string& port() const { return port_; }

    std::atomic<int> silent_id{0};     // this servo hears and does not answer; 0: none
    std::atomic<int> no_torque_id{0};  // this one neither obeys nor answers when it is to switch torque on; 0: none
    std::atomic<int> flip_replies{0};  // so many coming replies have one bit flipped

    // What the servos were told, oldest first: the goals of every sync_write that arrived whole.
    std::vector<Ticks> goals() const;
    Ticks torque() const;
    void hold();  // every servo, where it stands
    void place(std::size_t servo, int position);

private:
    using Registers = std::array<std::uint8_t, 128>;

    void serve() noexcept;
    void answer(const feetech_frame& request, std::vector<std::uint8_t>& out);
    void reply(std::size_t servo, std::size_t address, std::size_t length, std::vector<std::uint8_t>& out);
    void store(std::uint8_t id, std::size_t address, const std::uint8_t* data, std::size_t length);

    int master_ = -1;
    int slave_ = -1;  // kept open, so that a client may come and go
    std::string port_;
    mutable std::mutex mutex_;
    std::array<Registers, kJoints> registers_{};
    std::vector<Ticks> goals_;
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

}  // namespace edgearm::test
