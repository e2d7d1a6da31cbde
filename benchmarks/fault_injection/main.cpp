// Injects faults and says what came of them, as JSON; benchmarks/faults.py makes a table of it.
//
//     fault_injection [injections [frames [seed]]]      10^4 of either unless told; 10^6 and 10^8 are the full run
//
// Exits with 1 when a row that is promised does not hold.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "faults.hpp"

using namespace edgearm::faults;

namespace {

std::uint64_t argument(int count, char** arguments, int at, std::uint64_t otherwise) {
    return count > at ? std::strtoull(arguments[at], nullptr, 0) : otherwise;
}

void print(const Row& row, const char* comma) {
    std::printf("    {\"path\": \"%s\", \"fault\": \"%s\", \"injections\": %" PRIu64 ", \"outside\": %" PRIu64
                ", \"jumps\": %" PRIu64 ", \"stale\": %" PRIu64 ", \"holds\": %" PRIu64 ", \"aborts\": ",
                row.path.c_str(), row.fault.c_str(), row.injections, row.outside, row.jumps, row.stale, row.holds);
    row.isolated ? std::printf("%" PRIu64, row.aborts) : std::printf("null");
    std::printf(", \"undetected\": %" PRIu64 ", \"promised\": %s}%s\n", row.undetected, row.promised ? "true" : "false",
                comma);
}

}  // namespace

int main(int count, char** arguments) {
    const std::uint64_t injections = argument(count, arguments, 1, 10'000);
    const std::uint64_t frames = argument(count, arguments, 2, 10'000);
    const std::uint64_t seed = argument(count, arguments, 3, 1);
    std::vector<Row> rows = run_direct(injections / 2, seed);
    for (Row& row : run_bridge(injections - injections / 2, seed)) {
        rows.push_back(row);
    }
    bool kept = true;
    std::printf("{\n  \"seed\": %" PRIu64 ",\n  \"rows\": [\n", seed);
    for (const Row& row : rows) {
        kept = kept && row.kept();
        print(row, &row == &rows.back() ? "" : ",");
    }
    std::printf("  ],\n  \"detection\": [\n");
    const std::vector<Detection> detections = run_detection(frames, seed);
    for (const Detection& d : detections) {
        kept = kept && (d.undetected == 0 || d.code.rfind("bridge", 0) != 0);
        std::printf("    {\"code\": \"%s\", \"damage\": \"%s\", \"frames\": %" PRIu64 ", \"undetected\": %" PRIu64
                    "}%s\n",
                    d.code.c_str(), d.damage.c_str(), d.frames, d.undetected, &d == &detections.back() ? "" : ",");
    }
    std::printf("  ],\n  \"kept\": %s\n}\n", kept ? "true" : "false");
    return kept ? EXIT_SUCCESS : EXIT_FAILURE;
}
