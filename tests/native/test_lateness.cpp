#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "lateness.hpp"

TEST_CASE("percentiles agree with sorting, within the width of a bucket") {
    std::mt19937_64 random(7);
    std::lognormal_distribution<double> lateness(10, 2);
    edgearm::Lateness histogram;
    std::vector<std::int64_t> samples;
    for (int i = 0; i < 20'000; ++i) {
        samples.push_back(static_cast<std::int64_t>(lateness(random)));
        histogram.add(samples.back());
    }
    std::sort(samples.begin(), samples.end());
    for (const double share : {0.5, 0.9, 0.99, 0.999}) {
        const auto exact = static_cast<double>(samples[static_cast<std::size_t>(share * 20'000)]);
        CHECK(static_cast<double>(histogram.percentile_ns(share)) >= exact);
        CHECK(static_cast<double>(histogram.percentile_ns(share)) <= exact * 1.07 + 1);
    }
    CHECK(histogram.max_ns() == static_cast<std::uint64_t>(samples.back()));
    CHECK(histogram.count() == 20'000);
}

TEST_CASE("waking early counts as not late, and an empty histogram has no lateness") {
    edgearm::Lateness histogram;
    CHECK(histogram.percentile_ns(0.99) == 0);
    histogram.add(-5);
    CHECK(histogram.percentile_ns(0.5) == 0);
}
