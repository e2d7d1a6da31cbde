#include "servo_bus.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "allocations.hpp"

namespace edgearm::test {

namespace {

constexpr std::uint16_t kModel = 777;

int word(const std::uint8_t* bytes) {
    return bytes[0] | bytes[1] << 8;
}

void set_word(std::uint8_t* bytes, int value) {
    bytes[0] = static_cast<std::uint8_t>(value & 0xFF);
    bytes[1] = static_cast<std::uint8_t>(value >> 8);
}

}  // namespace

ServoBus::ServoBus(const Ticks& position) {
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) {
        throw std::runtime_error("no pty");
    }
    port_ = ::ptsname(master_);
    slave_ = ::open(port_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    termios settings{};
    ::tcgetattr(slave_, &settings);
    ::cfmakeraw(&settings);
    ::tcsetattr(slave_, TCSANOW, &settings);
    for (std::size_t i = 0; i < kJoints; ++i) {
        set_word(&registers_[i][FEETECH_MODEL_NUMBER], kModel);
        set_word(&registers_[i][FEETECH_PRESENT_POSITION], position[i]);
    }
    goals_.reserve(100'000);
    thread_ = std::thread(&ServoBus::serve, this);
}

ServoBus::~ServoBus() {
    ending_ = true;
    thread_.join();
    ::close(slave_);
    ::close(master_);
}

std::vector<Ticks> ServoBus::goals() const {
    const std::lock_guard guard(mutex_);
    return goals_;
}

Ticks ServoBus::torque() const {
    const std::lock_guard guard(mutex_);
    Ticks values{};
    for (std::size_t i = 0; i < kJoints; ++i) {
        values[i] = registers_[i][FEETECH_TORQUE_ENABLE];
    }
    return values;
}

void ServoBus::hold() {
    const std::lock_guard guard(mutex_);
    for (Registers& servo : registers_) {
        std::copy_n(&servo[FEETECH_PRESENT_POSITION], 2, &servo[FEETECH_GOAL_POSITION]);
        servo[FEETECH_TORQUE_ENABLE] = 1;
    }
}

void ServoBus::place(std::size_t servo, int position) {
    const std::lock_guard guard(mutex_);
    set_word(&registers_[servo][FEETECH_PRESENT_POSITION], position);
}

void ServoBus::serve() noexcept {
    excuse_this_thread();
    feetech_parser parser;
    feetech_parser_init(&parser, FEETECH_MAX_PARAMS);
    std::array<std::uint8_t, 256> incoming{};
    std::vector<std::uint8_t> out;
    while (!ending_) {
        pollfd waiting{master_, POLLIN, 0};
        if (::poll(&waiting, 1, 5) <= 0) {
            continue;
        }
        const ssize_t got = ::read(master_, incoming.data(), incoming.size());
        std::size_t at = 0;
        while (got > 0 && at < static_cast<std::size_t>(got)) {
            at += feetech_parser_push(&parser, incoming.data() + at, static_cast<std::size_t>(got) - at);
            feetech_frame request{};
            while (feetech_parser_next(&parser, &request)) {
                out.clear();
                answer(request, out);
                if (!out.empty() && ::write(master_, out.data(), out.size()) < 0) {
                    return;
                }
            }
        }
    }
}

void ServoBus::answer(const feetech_frame& request, std::vector<std::uint8_t>& out) {
    const std::lock_guard guard(mutex_);
    const std::uint8_t* params = request.params;
    switch (request.code) {
        case FEETECH_PING:
            reply(request.id - 1u, 0, 0, out);
            break;
        case FEETECH_READ:
            reply(request.id - 1u, params[0], params[1], out);
            break;
        case FEETECH_WRITE:
            if (request.id == no_torque_id && params[0] == FEETECH_TORQUE_ENABLE && params[1] == 1) {
                break;
            }
            store(request.id, params[0], params + 1, request.count - 1);
            reply(request.id - 1u, 0, 0, out);
            break;
        case FEETECH_SYNC_READ:
            for (std::size_t i = 2; i < request.count; ++i) {
                reply(params[i] - 1u, params[0], params[1], out);
            }
            break;
        case FEETECH_SYNC_WRITE: {
            const std::size_t length = params[1];
            Ticks goals{};
            for (std::size_t i = 2; i + length < request.count; i += length + 1) {
                store(params[i], params[0], params + i + 1, length);
                goals[params[i] - 1u] = word(params + i + 1);
            }
            if (params[0] == FEETECH_GOAL_POSITION) {
                goals_.push_back(goals);
            }
            break;
        }
        default:
            break;
    }
}

void ServoBus::reply(std::size_t servo, std::size_t address, std::size_t length, std::vector<std::uint8_t>& out) {
    const auto id = static_cast<std::uint8_t>(servo + 1);
    if (servo >= kJoints || id == silent_id) {
        return;
    }
    std::array<std::uint8_t, FEETECH_MAX_FRAME> frame{};
    const std::size_t size =
        feetech_status(id, 0, registers_[servo].data() + address, length, frame.data(), frame.size());
    if (flip_replies > 0) {
        flip_replies -= 1;
        frame[size - 1] ^= 0x10;
    }
    out.insert(out.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
}

void ServoBus::store(std::uint8_t id, std::size_t address, const std::uint8_t* data, std::size_t length) {
    Registers& servo = registers_[id - 1u];
    std::copy_n(data, length, servo.begin() + static_cast<std::ptrdiff_t>(address));
    if (servo[FEETECH_TORQUE_ENABLE] == 1) {
        set_word(&servo[FEETECH_PRESENT_POSITION], word(&servo[FEETECH_GOAL_POSITION]));
    }
}

}  // namespace edgearm::test
