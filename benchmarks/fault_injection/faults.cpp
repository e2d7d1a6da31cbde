#include "faults.hpp"

#include <algorithm>

namespace edgearm::faults {

std::uint64_t Random::next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

std::vector<Carried> inject(Kind kind, const Bytes& frame, std::size_t first, std::size_t last, Random& random) {
    Bytes data = frame;
    switch (kind) {
        case Kind::bit_flip:
            data[random.below(data.size())] ^= static_cast<std::uint8_t>(1U << random.below(8));
            return {{data}};
        case Kind::byte_swap: {
            std::vector<std::size_t> pairs;
            for (std::size_t at = first; at < last; ++at) {
                if (data[at] != data[at + 1]) {
                    pairs.push_back(at);
                }
            }
            if (!pairs.empty()) {
                const std::size_t at = pairs[random.below(pairs.size())];
                std::swap(data[at], data[at + 1]);
            }
            return {{data}};
        }
        case Kind::truncation:
            data.resize(random.below(data.size()));
            return {{data}};
        case Kind::drop:
            return {};
        case Kind::duplicate:
            return {{data}, {data}};
        case Kind::reorder:
            return {{data, kLate, false}};
        case Kind::delay:
            return {{data, kLate, true}};
        case Kind::noise: {
            Bytes noise(1 + random.below(12));
            std::generate(noise.begin(), noise.end(), [&] { return static_cast<std::uint8_t>(random.next()); });
            noise.insert(noise.end(), data.begin(), data.end());
            return {{noise}};
        }
    }
    return {{data}};
}

void Line::send(const Bytes& frame, std::int64_t now_ns, std::size_t first, std::size_t last) {
    std::vector<Carried> pieces{{frame}};
    if (skip_ > 0 && --skip_ == 0) {
        pieces = inject(kind_, frame, first, last, random_);
        injected_ += 1;
    } else if (share_ > 0 && random_.chance(share_)) {
        const auto kind =
            static_cast<Kind>(dense_kind_ >= 0 ? static_cast<std::uint64_t>(dense_kind_) : random_.below(kKinds));
        pieces = inject(kind, frame, first, last, random_);
        injected_ += 1;
    }
    for (Carried& piece : pieces) {
        const std::int64_t due = std::max(now_ns, in_order_ns_) + piece.late_ns;
        if (piece.holds) {
            in_order_ns_ = due;
        }
        const auto later = std::find_if(way_.begin(), way_.end(), [&](const OnTheWay& o) { return o.due_ns > due; });
        way_.insert(later, {due, std::move(piece.data)});
    }
}

Bytes Line::receive(std::int64_t now_ns) {
    if (way_.empty() || way_.front().due_ns > now_ns) {
        return {};
    }
    Bytes data = std::move(way_.front().data);
    way_.erase(way_.begin());
    return data.empty() ? receive(now_ns) : data;
}

std::int64_t Line::next_ns() const {
    return way_.empty() ? -1 : way_.front().due_ns;
}

void Line::discard(std::int64_t now_ns) {
    std::erase_if(way_, [&](const OnTheWay& o) { return o.due_ns <= now_ns; });
}

}  // namespace edgearm::faults
