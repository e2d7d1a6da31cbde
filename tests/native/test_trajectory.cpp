#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "quintic.hpp"
#include "toy_arm.hpp"
#include "trajectory.hpp"

using namespace edgearm;

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kPeriod = 50 * kMs;

// Joint 0 walks at random, with stretches at rest and jumps; the others lie still.
Chunk random_chunk(std::mt19937& random, std::size_t horizon) {
    std::uniform_real_distribution<double> step(-0.2, 0.2);
    Chunk chunk;
    chunk.horizon = horizon;
    chunk.period_ns = kPeriod;
    double at = step(random);
    for (std::size_t knot = 0; knot < horizon; ++knot) {
        at += random() % 3 == 0 ? 0 : step(random);
        chunk.joints[knot][0] = at;
    }
    return chunk;
}

// Of an arm that can follow anything, so that every knot is one that is followed.
Trajectory::Limits no_limits() {
    Trajectory::Limits limits;
    limits.fill({-100, 100, 1e9, 1e9, 1e9});
    return limits;
}

double position(const Trajectory& trajectory, std::int64_t now) {
    return trajectory.at(now)[0];
}

// Differences of position over 0.1 ms, one-sided: order 1 and 2 of the motion before (-1) or after (+1) `now`.
struct Slopes {
    double velocity;
    double acceleration;
};
Slopes slopes(const Trajectory& trajectory, std::int64_t now, int side) {
    constexpr double kStep = 1e-4;
    double p[4];
    for (int i = 0; i < 4; ++i) {
        p[i] = position(trajectory, now + side * i * kMs / 10);
    }
    const double velocity = (-11 * p[0] + 18 * p[1] - 9 * p[2] + 2 * p[3]) / (6 * kStep) * side;
    return {velocity, (2 * p[0] - 5 * p[1] + 4 * p[2] - p[3]) / (kStep * kStep)};
}

}  // namespace

TEST_CASE("a quintic has at both ends what it was made from") {
    const Quintic segment({0.3, -1.5, 4}, {0.5, 0.2, -7}, 0.08);
    CHECK(segment.position(0) == doctest::Approx(0.3));
    CHECK(segment.velocity(0) == doctest::Approx(-1.5));
    CHECK(segment.acceleration(0) == doctest::Approx(4));
    CHECK(segment.position(1) == doctest::Approx(0.5));
    CHECK(segment.velocity(1) == doctest::Approx(0.2));
    CHECK(segment.acceleration(1) == doctest::Approx(-7));
    // Rest to rest in one second: 10 u^3 - 15 u^4 + 6 u^5, fastest half-way.
    const Quintic rest({0, 0, 0}, {1, 0, 0}, 1);
    CHECK(rest.position(0.25) == doctest::Approx(10 / 64.0 - 15 / 256.0 + 6 / 1024.0));
    CHECK(rest.velocity(0.5) == doctest::Approx(1.875));
}

TEST_CASE("random chunks: through every knot, with continuous velocity and acceleration, and inside the knots' span") {
    std::mt19937 random(5);
    double velocity_step = 0;
    double acceleration_step = 0;
    double outside = 0;
    double missed = 0;
    for (int round = 0; round < 2000; ++round) {
        const std::size_t horizon = 2 + random() % 15;
        const Chunk chunk = random_chunk(random, horizon);
        Trajectory trajectory(no_limits());
        Motion from;
        from.position = chunk.joints[0];
        REQUIRE(trajectory.join(chunk, from, 0, 0));
        for (std::size_t knot = 0; knot < horizon; ++knot) {
            const double here = chunk.joints[knot][0];
            missed = std::max(missed, std::abs(position(trajectory, chunk.due(knot)) - here));
            if (knot + 1 == horizon) {
                break;
            }
            const double next = chunk.joints[knot + 1][0];
            for (int i = 1; i < 50; ++i) {
                const double there = position(trajectory, chunk.due(knot) + i * kMs);
                outside = std::max({outside, there - std::max(here, next), std::min(here, next) - there});
            }
            const Slopes before = slopes(trajectory, chunk.due(knot), -1);
            const Slopes after = slopes(trajectory, chunk.due(knot), 1);
            velocity_step = std::max(velocity_step, std::abs(before.velocity - after.velocity));
            acceleration_step = std::max(acceleration_step, std::abs(before.acceleration - after.acceleration));
        }
    }
    CHECK(missed < 1e-12);
    CHECK(outside < 1e-12);
    CHECK(velocity_step < 0.01);    // of up to 8 rad/s; a difference over 0.1 ms is no better
    CHECK(acceleration_step < 20);  // of up to 1000 rad/s²
}

TEST_CASE("a motion that moves is joined with its position, velocity and acceleration") {
    std::mt19937 random(6);
    std::uniform_real_distribution<double> some(-1, 1);
    for (int round = 0; round < 500; ++round) {
        const Chunk chunk = random_chunk(random, 16);
        Trajectory trajectory(test::toy_arm().limits());
        Motion from;
        from.position[0] = some(random);
        from.velocity[0] = 2 * some(random);
        from.acceleration[0] = 15 * some(random);
        const std::int64_t now = static_cast<std::int64_t>(random() % 300) * kMs;
        REQUIRE(trajectory.join(chunk, from, now, kPeriod));
        CHECK(position(trajectory, now) == doctest::Approx(from.position[0]).epsilon(1e-12));
        const Slopes after = slopes(trajectory, now, 1);
        CHECK(std::abs(after.velocity - from.velocity[0]) < 0.01);
        CHECK(std::abs(after.acceleration - from.acceleration[0]) < 10);
    }
}

TEST_CASE("a smooth motion is reproduced between its knots") {
    Chunk chunk;
    chunk.horizon = 40;
    chunk.period_ns = kPeriod;
    const auto sine = [](std::int64_t ns) { return 0.5 * std::sin(4 * static_cast<double>(ns) * 1e-9); };
    for (std::size_t knot = 0; knot < chunk.horizon; ++knot) {
        chunk.joints[knot][0] = sine(chunk.due(knot));
    }
    Trajectory trajectory(test::toy_arm().limits());
    Motion from;
    from.velocity[0] = 2;
    REQUIRE(trajectory.join(chunk, from, 0, kPeriod));
    double worst = 0;
    for (std::int64_t now = 2 * kPeriod; now < chunk.due(38); now += kMs) {
        worst = std::max(worst, std::abs(position(trajectory, now) - sine(now)));
    }
    // The most is at the turns, which are cut off at their outermost knot: the sagitta of a period.
    const double sagitta = 0.5 * 4 * 4 * 0.05 * 0.05 / 8;
    CHECK(worst < 1.15 * sagitta);
}
