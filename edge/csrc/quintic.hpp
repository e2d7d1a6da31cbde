// One segment of a motion: the polynomial of degree five with position, velocity and acceleration given at both ends.
#pragma once

#include <array>
#include <cstddef>

namespace edgearm {

// Of one joint, at one time: joint units, and those per second and per second squared.
struct Knot {
    double position = 0;
    double velocity = 0;
    double acceleration = 0;
};

// In Bézier form: the curve lies between the lowest and the highest of its control points.
class Quintic {
public:
    // `length` seconds from `a` to `b`.
    Quintic(const Knot& a, const Knot& b, double length)
        : length_(length),
          control_{a.position,
                   a.position + length * a.velocity / 5,
                   a.position + length * (0.4 * a.velocity + length * a.acceleration / 20),
                   b.position - length * (0.4 * b.velocity - length * b.acceleration / 20),
                   b.position - length * b.velocity / 5,
                   b.position} {}

    // At fraction `u` of the length.
    double position(double u) const { return value(control_, u); }
    double velocity(double u) const { return value(derivative(control_), u); }
    double acceleration(double u) const { return value(derivative(derivative(control_)), u); }

private:
    template <std::size_t N>
    static double value(std::array<double, N> points, double u) {  // de Casteljau
        for (std::size_t left = N - 1; left > 0; --left) {
            for (std::size_t i = 0; i < left; ++i) {
                points[i] += u * (points[i + 1] - points[i]);
            }
        }
        return points[0];
    }

    template <std::size_t N>
    std::array<double, N - 1> derivative(const std::array<double, N>& points) const {
        std::array<double, N - 1> result{};
        for (std::size_t i = 0; i + 1 < N; ++i) {
            result[i] = (points[i + 1] - points[i]) * static_cast<double>(N - 1) / length_;
        }
        return result;
    }

    double length_;
    std::array<double, 6> control_;
};

}  // namespace edgearm
