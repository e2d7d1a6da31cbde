// What Damiao motors are told, read from the frames that were sent, under a clock that the test moves: four steps of
// the loop, then one bus cycle.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "control_loop.hpp"
#include "damiao_arm.hpp"
#include "error.hpp"
#include "motor_bus.hpp"
#include "toy_arm.hpp"

using namespace edgearm;
using link::CanFrame;
using test::Motor;
using test::MotorBus;

namespace {

constexpr std::int64_t kStep = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

Arm motor_arm(double timeout_s = 0.1) {
    ArmSpec spec = test::toy_arm().spec();
    spec.drive = Drive::damiao;
    spec.motor_timeout_s = timeout_s;
    for (std::size_t i = 0; i < kJoints; ++i) {
        const auto master = static_cast<std::uint16_t>(MotorBus::kMaster + i + 1);
        spec.motors.push_back({master, "DM4310", 12.5, 30, 10, 30, 1, i == 2 ? 0.5 : 0.0, i == 1});
    }
    return Arm(spec);
}

enum class Kind { read, write, refresh, enable, disable, clear, command };

Kind kind_of(const CanFrame& frame) {
    if (frame.id == DAMIAO_REGISTER_ID) {
        return frame.data[2] == 0x33 ? Kind::read : frame.data[2] == 0x55 ? Kind::write : Kind::refresh;
    }
    const bool order = std::all_of(frame.data.begin(), frame.data.begin() + 7, [](int byte) { return byte == 0xFF; });
    return !order                            ? Kind::command
           : frame.data[7] == DAMIAO_ENABLE  ? Kind::enable
           : frame.data[7] == DAMIAO_DISABLE ? Kind::disable
                                             : Kind::clear;
}

std::size_t count(const std::vector<CanFrame>& frames, Kind kind) {
    return static_cast<std::size_t>(
        std::count_if(frames.begin(), frames.end(), [=](const CanFrame& frame) { return kind_of(frame) == kind; }));
}

// What one motor was commanded, oldest first.
std::vector<float> commands(const MotorBus& bus, std::size_t joint) {
    std::vector<float> positions;
    for (const CanFrame& frame : bus.sent) {
        if (frame.id == joint + 1 && kind_of(frame) == Kind::command) {
            damiao_command command{};
            damiao_command_unpack(&bus.motors[joint].limits, frame.data.data(), frame.length, &command);
            positions.push_back(command.position);
        }
    }
    return positions;
}

struct Bench {
    MotorBus bus;
    LinkStats stats;
    const Arm arm;
    DamiaoArm link{arm, test::port_on(bus), stats};
    ControlLoop loop{arm, {}};
    std::int64_t now = 0;
    std::optional<Joints> feedback;

    explicit Bench(double timeout_s = 0.1) : arm(motor_arm(timeout_s)) {
        feedback = link.engage();
        loop.start();
        cycles(5);
        REQUIRE(loop.published().state == State::ready);
    }

    void cycles(int number) {
        for (int i = 0; i < number; ++i) {
            for (int k = 0; k < 4; ++k) {
                loop.step(now += kStep, feedback ? &*feedback : nullptr);
                feedback.reset();
            }
            const Goals goals{loop.published().commanded, loop.published().velocity};
            CHECK(link.cycle(&goals, monotonic_ns() + kSecond, feedback) == Io::ok);
        }
    }

    Offer move(double step, std::size_t horizon = 16) {
        const Chunk chunk = test::leaving(loop.published().commanded, now, step, horizon, 0.1);
        return loop.offer(chunk);
    }

    std::string error(std::size_t joint) const { return describe_error(arm, stats.errors[joint]); }
};

Error refusal(MotorBus& bus) {
    const Arm arm = motor_arm();
    LinkStats stats;
    try {
        DamiaoArm link(arm, test::port_on(bus), stats);
    } catch (const Error& error) {
        return error;
    }
    FAIL("it was not refused");
    return {Error::Kind::arm, "", "", "", ""};
}

}  // namespace

TEST_CASE("damiao: limits that are not the described ones are refused with motor, register and both values") {
    MotorBus bus;
    bus.motors[3].limits.velocity = 10;
    bus.motors[4].limits.torque = 7;
    const Error error = refusal(bus);
    CHECK(error.kind == Error::Kind::arm);
    CHECK(error.expected ==
          "motor 4 (joint3), DM4310, register 22 VMAX 30 rad/s; motor 5 (joint4), DM4310, register 23 "
          "TMAX 10 N m");
    CHECK(error.got ==
          "motor 4 (joint3), DM4310, register 22 VMAX 10 rad/s; motor 5 (joint4), DM4310, register 23 TMAX "
          "7 N m");
    CHECK(error.fix.find("correct the arm description") != std::string::npos);
    CHECK(count(bus.sent, Kind::read) == bus.sent.size());  // nothing else was said to any motor
}

TEST_CASE("damiao: a motor that is missing, in another mode, or has a fault is named, and none is switched on") {
    MotorBus bus;
    SUBCASE("missing") {
        bus.motors[2].silent = true;
        CHECK(refusal(bus).got == "silence from 3 (joint2)");
    }
    SUBCASE("another mode") {
        bus.motors[2].mode = 2;
        CHECK(refusal(bus).got == "3 (joint2) is in mode 2");
    }
    SUBCASE("a fault") {
        bus.motors[2].status = DAMIAO_OVERVOLTAGE;
        CHECK(refusal(bus).got == "motor 3 (joint2) reports overvoltage");
    }
    CHECK(count(bus.sent, Kind::enable) + count(bus.sent, Kind::command) + count(bus.sent, Kind::write) == 0);
}

TEST_CASE("damiao: motors go on only after they were read, with a command for where they stand before and after") {
    MotorBus bus;
    for (Motor& motor : bus.motors) {
        motor.position = 0.25f;
    }
    const Arm arm = motor_arm();
    LinkStats stats;
    DamiaoArm link(arm, test::port_on(bus), stats);
    CHECK(count(bus.sent, Kind::read) + count(bus.sent, Kind::refresh) == bus.sent.size());
    CHECK(count(bus.sent, Kind::read) == 4 * kJoints);
    bus.sent.clear();
    const Joints pose = link.engage();
    CHECK(pose[0] == doctest::Approx(0.25).epsilon(0.01));
    CHECK(pose[1] == doctest::Approx(-0.25).epsilon(0.01));  // turns against the joint
    CHECK(pose[2] == doctest::Approx(-0.25).epsilon(0.01));  // is at 0.5 when the joint is at 0
    for (std::size_t i = 0; i < kJoints; ++i) {
        std::vector<Kind> own;
        for (const CanFrame& frame : bus.sent) {
            if (frame.id == i + 1) {
                own.push_back(kind_of(frame));
            }
        }
        const auto enabled = std::find(own.begin(), own.end(), Kind::enable);
        REQUIRE(enabled != own.end());
        CHECK(enabled != own.begin());
        CHECK(*(enabled - 1) == Kind::command);
        CHECK(*(enabled + 1) == Kind::command);
        CHECK(bus.motors[i].status == DAMIAO_ON);
        CHECK(bus.motors[i].timeout == 2000);  // 0.1 s
        CHECK(bus.motors[i].position == doctest::Approx(0.25).epsilon(0.01));
        for (const float position : commands(bus, i)) {
            CHECK(position == doctest::Approx(0.25).epsilon(0.01));
        }
    }
}

TEST_CASE("damiao: the motors go where a chunk says, and one lost frame changes no goal") {
    Bench undisturbed;
    Bench disturbed;
    REQUIRE(undisturbed.move(0.03).verdict);
    REQUIRE(disturbed.move(0.03).verdict);
    undisturbed.cycles(40);
    disturbed.cycles(40);
    const std::uint64_t whole = disturbed.stats.exchanges;
    disturbed.bus.motors[4].drop_answers = 1;
    undisturbed.cycles(260);
    disturbed.cycles(260);
    CHECK(disturbed.stats.timeouts == 1);
    CHECK(disturbed.stats.exchanges == whole + 259);
    CHECK(disturbed.loop.published().counters.holds_feedback == 0);
    for (std::size_t i = 0; i < kJoints; ++i) {
        CHECK(commands(disturbed.bus, i) == commands(undisturbed.bus, i));
    }
    const double end = disturbed.loop.published().commanded[0];
    CHECK(end > 16 * 0.03 - 0.001);
    CHECK(disturbed.bus.motors[0].position == doctest::Approx(end).epsilon(0.002));
    CHECK(disturbed.bus.motors[1].position == doctest::Approx(-end).epsilon(0.002));
    CHECK(disturbed.bus.motors[2].position == doctest::Approx(end).epsilon(0.002));  // began at -0.5
}

TEST_CASE("damiao: a silent motor: its position ages, hold after three cycles, then fault; the others stay on") {
    Bench bench;
    REQUIRE(bench.move(0.02, 64).verdict);
    bench.cycles(60);
    bench.bus.motors[3].silent = true;
    bench.cycles(3);
    CHECK(bench.loop.published().state == State::running);
    bench.cycles(1);
    CHECK(bench.loop.published().hold_cause == HoldCause::feedback);
    bench.cycles(50);
    CHECK(bench.loop.published().fault_cause == FaultCause::watchdog);
    CHECK(bench.loop.published().at_rest);
    for (const Motor& motor : bench.bus.motors) {
        CHECK(motor.status == DAMIAO_ON);
    }
    const std::vector<float> told = commands(bench.bus, 0);
    CHECK(told.back() == told[told.size() - 20]);
}

TEST_CASE("damiao: a motor that reports a fault, or goes off by itself, is named and not believed") {
    std::uint8_t status = DAMIAO_OFF;
    std::string words = "switched off by itself";
    SUBCASE("off") {}
    SUBCASE("overvoltage") {
        status = DAMIAO_OVERVOLTAGE;
        words = "overvoltage";
    }
    SUBCASE("overload") {
        status = DAMIAO_OVERLOAD;
        words = "overload";
    }
    SUBCASE("lost commands") {
        status = DAMIAO_LOST_COMMANDS;
        words = "no command in time, switched off";
    }
    SUBCASE("a number that is in no table") {
        status = 7;
        words = "unknown status 7";
    }
    Bench bench;
    REQUIRE(bench.move(0.02, 64).verdict);
    bench.cycles(60);
    CHECK(bench.error(2).empty());
    bench.bus.motors[2].status = status;
    bench.cycles(1);
    CHECK(bench.error(2) == words);
    CHECK(bench.error(1).empty());
    bench.cycles(3);
    CHECK(bench.loop.published().hold_cause == HoldCause::feedback);
    bench.cycles(50);
    CHECK(bench.loop.published().state == State::fault);
    bench.bus.motors[2].status = DAMIAO_OFF;  // the fault is over: it stays off, and nobody switches it on
    bench.cycles(20);
    CHECK(count(bench.bus.sent, Kind::enable) == kJoints);
    CHECK(bench.loop.published().state == State::fault);
}

TEST_CASE("damiao: an answer that is late is not taken for a new one") {
    Bench bench;
    bench.cycles(1);
    std::deque<CanFrame> late;
    bench.bus.motors[0].position = 0.01f;
    for (int i = 0; i < 5; ++i) {
        bench.bus.answers = late;  // of the cycle before: they came after its end
        const std::uint64_t stray = bench.stats.stray;
        bench.bus.motors[5].silent = true;
        bench.cycles(1);
        CHECK(bench.stats.stray == stray + late.size());
        bench.bus.motors[5].silent = false;
        CanFrame answer;
        answer.id = MotorBus::kMaster + 6;
        answer.length = DAMIAO_FRAME;
        const damiao_feedback row{6, DAMIAO_ON, 0, 0, 0, 30, 30};
        damiao_feedback_pack(&bench.bus.motors[5].limits, &row, answer.data.data());
        late = {answer};
    }
    CHECK(!bench.feedback);
    bench.cycles(1);
    CHECK((bench.loop.published().flags & kFeedbackLate) != 0);
}

TEST_CASE("damiao: a position that the joint cannot have reached is not believed") {
    Bench bench;
    bench.bus.motors[1].wrong_by = 0.5f;
    bench.cycles(1);
    CHECK(bench.stats.implausible == 1);
    CHECK(!bench.feedback);
    bench.bus.motors[1].wrong_by = 0;
    bench.cycles(1);
    CHECK(bench.feedback);
}

TEST_CASE("damiao: a bus that nobody answers on gets no command that could be sent later") {
    Bench bench;
    REQUIRE(bench.move(0.02, 64).verdict);
    bench.cycles(60);
    bench.bus.sent.clear();
    bench.bus.unplugged = true;
    bench.cycles(20);
    CHECK(count(bench.bus.sent, Kind::command) == kJoints);  // of the cycle in which it went
    CHECK(count(bench.bus.sent, Kind::refresh) == 19 * kJoints);
    bench.bus.unplugged = false;
    bench.bus.sent.clear();
    bench.cycles(2);
    CHECK(count(bench.bus.sent, Kind::command) == kJoints);
}

TEST_CASE("damiao: after the release every motor is off, and nothing but questions is sent") {
    Bench bench;
    REQUIRE(bench.move(0.02, 64).verdict);
    bench.cycles(60);
    CHECK(bench.link.release());
    for (const Motor& motor : bench.bus.motors) {
        CHECK(motor.status == DAMIAO_OFF);
    }
    bench.bus.sent.clear();
    for (int i = 0; i < 20; ++i) {
        CHECK(bench.link.cycle(nullptr, monotonic_ns() + kSecond, bench.feedback) == Io::ok);
    }
    CHECK(bench.feedback);
    CHECK(count(bench.bus.sent, Kind::refresh) == bench.bus.sent.size());
    CHECK(bench.error(0).empty());  // off because it was told so
    bench.bus.motors[5].silent = true;
    CHECK(!bench.link.release());
}

TEST_CASE("damiao: an engage that fails switches off what it switched on, and nothing else") {
    MotorBus bus;
    bus.motors[1].status = DAMIAO_ON;  // holds itself up since an earlier run
    bus.motors[4].deaf_to_enable = true;
    const Arm arm = motor_arm();
    LinkStats stats;
    DamiaoArm link(arm, test::port_on(bus), stats);
    CHECK(bus.motors[1].status == DAMIAO_ON);
    CHECK_THROWS_AS(link.engage(), Error);
    CHECK(bus.motors[0].status == DAMIAO_OFF);
    CHECK(bus.motors[1].status == DAMIAO_ON);
    CHECK(bus.motors[3].status == DAMIAO_OFF);
}

TEST_CASE("damiao: motors that went off for want of commands are cleared by the next start, and by nothing else") {
    MotorBus bus;
    bus.motors[0].status = DAMIAO_LOST_COMMANDS;
    const Arm arm = motor_arm();
    LinkStats stats;
    DamiaoArm link(arm, test::port_on(bus), stats);
    std::optional<Joints> measured;
    CHECK(link.cycle(nullptr, monotonic_ns() + kSecond, measured) == Io::ok);
    CHECK(measured);  // where it is may be known
    CHECK(bus.motors[0].status == DAMIAO_LOST_COMMANDS);
    link.engage();
    CHECK(bus.motors[0].status == DAMIAO_ON);
}

TEST_CASE("damiao: a link that is gone says so") {
    Bench bench;
    bench.bus.gone = true;
    const Goals goals{bench.loop.published().commanded, {}};
    CHECK(bench.link.cycle(&goals, monotonic_ns() + kSecond, bench.feedback) == Io::gone);
    CHECK(!bench.link.release());
}

TEST_CASE("damiao: a port without a slash is an interface of the kernel") {
    try {
        open_can("can99");
        FAIL("there is no such interface");
    } catch (const Error& error) {
        CHECK(error.kind == Error::Kind::link);
    }
}
