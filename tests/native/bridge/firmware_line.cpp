#include "firmware_line.hpp"

#include <algorithm>
#include <stdexcept>

extern "C" {
#include "hal.h"
}

namespace edgearm::test {

namespace {

constexpr std::uint32_t kPollUs = 200;
constexpr std::uint32_t kPatienceUs = 100'000;  // what a wait for a byte takes at most

Machine* machine = nullptr;

class Line final : public link::ByteLink {
public:
    explicit Line(Machine& of) : machine_(of) {}

    const std::string& path() const noexcept override { return path_; }

    using ByteLink::write;
    Io write(std::span<const std::uint8_t> bytes, std::int64_t, std::size_t& count) noexcept override {
        count = 0;
        if (machine_.gone) {
            return Io::gone;
        }
        count = bytes.size();
        machine_.sent += count;
        if (machine_.impostor) {
            say(*machine_.impostor);
        } else if (!machine_.deaf) {
            std::array<std::uint8_t, BRIDGE_SERIAL_MAX_FRAME> frame{};
            std::copy(bytes.begin(), bytes.end(), frame.begin());
            if (machine_.damage_up > 0) {
                machine_.damage_up -= 1;
                frame[count / 2] ^= 0x10;
            }
            machine_.up.push(frame.data(), count);
        }
        return Io::ok;
    }

    Io read(std::span<std::uint8_t> into, std::int64_t deadline_ns, std::size_t& count) noexcept override {
        count = 0;
        if (machine_.gone) {
            return Io::gone;
        }
        for (std::uint32_t waited = 0; machine_.down.empty(); waited += kPollUs) {
            if (deadline_ns == link::kNoWait || waited >= kPatienceUs || monotonic_ns() > deadline_ns) {
                return Io::timeout;
            }
            machine_.run(kPollUs);
        }
        count = machine_.down.pull(into.data(), into.size());
        return Io::ok;
    }

    void discard_input() noexcept override {
        std::array<std::uint8_t, 256> bytes{};
        while (machine_.down.pull(bytes.data(), bytes.size()) > 0) {
        }
    }

private:
    void say(const bridge_message& message) {
        std::array<std::uint8_t, BRIDGE_MAX_LENGTH> bytes{};
        std::array<std::uint8_t, BRIDGE_SERIAL_MAX_FRAME> frame{};
        const std::size_t length = bridge_encode(&message, bytes.data());
        machine_.down.push(frame.data(), bridge_serial_frame(bytes.data(), length, frame.data()));
    }

    Machine& machine_;
    std::string path_ = "a line";
};

}  // namespace

void Pipe::push(const std::uint8_t* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        bytes_[end_++ % bytes_.size()] = bytes[i];
    }
}

std::size_t Pipe::pull(std::uint8_t* into, std::size_t most) {
    std::size_t count = 0;
    while (count < most && begin_ != end_) {
        into[count++] = bytes_[begin_++ % bytes_.size()];
    }
    return count;
}

Machine::Machine(const arm_table& of) : table(of) {
    if (machine != nullptr) {
        throw std::logic_error("one machine at a time");
    }
    machine = this;
    servo_line_init(&line, 2048);
    line.free_us = now_us;
    box_start(&table, now_us);
    run(40'000);
}

Machine::~Machine() {
    servo_line_free(&line);
    machine = nullptr;
}

void Machine::run(std::uint32_t us) {
    for (std::uint32_t done = 0; done < us; done += kPollUs) {
        now_us += kPollUs;
        if (reset_at_us && now_us - *reset_at_us < kPollUs) {
            reset_at_us.reset();
            reset(false);
        }
        tapped = tap_at_us && now_us - *tap_at_us < kPollUs;
        servo_line_step(&line, kPollUs);
        box_poll(now_us);
    }
}

void Machine::reset(bool by_watchdog) {
    watchdog_reset = by_watchdog;
    now_us = 12'345;
    line.carried = 0;
    line.free_us = now_us;
    box_start(&table, now_us);
}

std::size_t Machine::told(std::size_t from) const {
    std::size_t count = 0;
    for (std::size_t i = from; i < line.written; ++i) {
        count += line.writes[i].address >= FEETECH_TORQUE_ENABLE;
    }
    return count;
}

std::vector<int> Machine::goals(std::size_t servo, std::size_t from) const {
    std::vector<int> values;
    for (std::size_t i = from; i < line.written; ++i) {
        const servo_write& write = line.writes[i];
        if (write.servo == servo && write.address == FEETECH_GOAL_POSITION) {
            values.push_back(write.value);
        }
    }
    return values;
}

bool Machine::torque() const {
    return std::all_of(std::begin(line.servos), std::begin(line.servos) + table.count,
                       [](const emulated_servo& servo) { return servo.registers[FEETECH_TORQUE_ENABLE] == 1; });
}

bool Machine::any_torque() const {
    return std::any_of(std::begin(line.servos), std::end(line.servos),
                       [](const emulated_servo& servo) { return servo.registers[FEETECH_TORQUE_ENABLE] == 1; });
}

BridgePort port_on(Machine& of) {
    return {std::make_unique<Line>(of), "a line"};
}

Arm so101() {
    struct Row {
        const char* name;
        double lower, upper, velocity, acceleration, jerk;
    };
    constexpr std::array<Row, kJoints> kRows{{{"shoulder_pan", -1.91986, 1.91986, 3, 39, 7800},
                                              {"shoulder_lift", -1.74533, 1.74533, 3, 39, 7800},
                                              {"elbow_flex", -1.69, 1.69, 3, 39, 7800},
                                              {"wrist_flex", -1.65806, 1.65806, 3, 39, 7800},
                                              {"wrist_roll", -2.74385, 2.84121, 4, 39, 7800},
                                              {"gripper", -0.17453, 1.74533, 4, 40, 8000}}};
    ArmSpec spec;
    spec.name = "so101";
    spec.drive = Drive::bridge;
    spec.model_number = 777;
    spec.ticks_per_turn = 4096;
    spec.bridge_tick_us = 4000;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const Row& row = kRows[i];
        spec.joints.push_back({row.name,
                               static_cast<std::uint8_t>(i + 1),
                               {0, 0, 0.1},
                               {1, 0, 0, 0},
                               {0, 0, 1},
                               row.lower,
                               row.upper,
                               row.velocity,
                               row.acceleration,
                               row.jerk,
                               i + 1 == kJoints});
    }
    return Arm(spec);
}

}  // namespace edgearm::test

// --- hal.h -----------------------------------------------------------------------------------------------------------

using edgearm::test::machine;

size_t hal_upward_read(uint8_t* to, size_t most) {
    return machine->up.pull(to, most);
}

bool hal_upward_send(const uint8_t* bytes, size_t count) {
    if (machine->mute || machine->impostor) {
        return true;
    }
    if (!machine->stuck) {
        std::copy_n(bytes, count, machine->last.begin());
        machine->last_length = count;
    }
    if (machine->stuck) {
        machine->down.push(machine->last.data(), machine->last_length);
    } else if (machine->damage_down > 0) {
        machine->damage_down -= 1;
        machine->down.push(bytes, count / 2);
        const auto wrong = static_cast<std::uint8_t>(bytes[count / 2] ^ 0x10);
        machine->down.push(&wrong, 1);
        machine->down.push(bytes + count / 2 + 1, count - count / 2 - 1);
    } else {
        machine->down.push(bytes, count);
    }
    return true;
}

size_t hal_bus_read(uint8_t* to, size_t most) {
    return servo_line_read(&machine->line, machine->now_us, to, most);
}

bool hal_bus_send(const uint8_t* bytes, size_t count) {
    servo_line_hear(&machine->line, machine->now_us, bytes, count);
    return true;
}

bool hal_stop_pressed(void) {
    return machine->pressed || machine->tapped;
}

bool hal_watchdog_reset(void) {
    return machine->watchdog_reset;
}

void hal_kick_watchdog(void) {}
