#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "duration_histogram.hpp"

using edgearm::DurationHistogram;

TEST_CASE("percentiles agree with sorting, within the width of a bucket") {
    std::mt19937_64 random(7);
    std::lognormal_distribution<double> duration(10, 2);
    DurationHistogram histogram;
    std::vector<std::int64_t> samples;
    for (int i = 0; i < 20'000; ++i) {
        samples.push_back(static_cast<std::int64_t>(duration(random)));
        histogram.add(samples.back());
    }
    std::sort(samples.begin(), samples.end());
    for (const double share : {0.5, 0.9, 0.99, 0.999, 0.9999}) {
        const auto exact = static_cast<double>(samples[static_cast<std::size_t>(share * 20'000)]);
        CHECK(static_cast<double>(histogram.percentile_ns(share)) >= exact);
        CHECK(static_cast<double>(histogram.percentile_ns(share)) <= exact * (1 + 1.0 / 128) + 1);
    }
    CHECK(histogram.max_ns() == static_cast<std::uint64_t>(samples.back()));
    CHECK(histogram.count() == 20'000);
    const auto sum = std::accumulate(samples.begin(), samples.end(), std::int64_t{0});
    CHECK(histogram.mean_ns() == static_cast<std::uint64_t>(sum / 20'000));
}

TEST_CASE("up to 0.13 ms no bucket is wider than a microsecond") {
    DurationHistogram histogram;
    for (std::int64_t value = 0; value < 131'072; ++value) {
        histogram.add(value);
    }
    for (const DurationHistogram::Bucket& bucket : histogram.buckets()) {
        CHECK(bucket.count <= 1'000);
    }
}

TEST_CASE("the buckets hold every sample, at most their width below the upper edge, shortest first") {
    DurationHistogram histogram;
    const std::vector<std::int64_t> samples{0, 1, 127, 128, 129, 4'095, 4'096, 1'000'000, 123'456'789'012};
    for (const std::int64_t sample : samples) {
        histogram.add(sample);
        histogram.add(sample);
    }
    const std::vector<DurationHistogram::Bucket> buckets = histogram.buckets();
    REQUIRE(buckets.size() == samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const auto sample = static_cast<std::uint64_t>(samples[i]);
        CHECK(buckets[i].count == 2);
        CHECK(buckets[i].longest_ns >= sample);
        CHECK(buckets[i].longest_ns - sample <= sample / 128);
    }
}

TEST_CASE("waking early counts as not late, and an empty histogram has no durations") {
    DurationHistogram histogram;
    CHECK(histogram.percentile_ns(0.99) == 0);
    CHECK(histogram.mean_ns() == 0);
    CHECK(histogram.buckets().empty());
    histogram.add(-5);
    CHECK(histogram.percentile_ns(0.5) == 0);
}
