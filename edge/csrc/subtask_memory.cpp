#include "subtask_memory.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "error.hpp"

namespace edgearm {

namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& got,
                         const std::string& fix) {
    throw Error(Error::Kind::task, "subtask memory: " + what, expected, got, fix);
}

void put_u64(std::vector<std::uint8_t>& to, std::uint64_t value) {
    for (int i = 0; i < 8; ++i) {
        to.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

void put_text(std::vector<std::uint8_t>& to, const std::string& text) {
    put_u64(to, text.size());
    to.insert(to.end(), text.begin(), text.end());
}

// Reads what encode() wrote; the record's CRC has been checked, so a short one is a program's mistake.
class Reader {
public:
    explicit Reader(Journal::Record record) : left_(record) {}

    std::uint64_t u64() {
        const Journal::Record bytes = take(8);
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < 8; ++i) {
            value |= std::uint64_t{bytes[i]} << (8 * i);
        }
        return value;
    }

    double number() { return std::bit_cast<double>(u64()); }

    std::string text() {
        const Journal::Record bytes = take(u64());
        return {bytes.begin(), bytes.end()};
    }

private:
    Journal::Record take(std::uint64_t count) {
        if (count > left_.size()) {
            throw Error(Error::Kind::config, "journal record is too short", std::to_string(count) + " bytes",
                        std::to_string(left_.size()), "the journal is of another version: move it away");
        }
        const Journal::Record bytes = left_.first(count);
        left_ = left_.subspan(count);
        return bytes;
    }

    Journal::Record left_;
};

}  // namespace

SubtaskMemory::SubtaskMemory(const std::string& journal_path) {
    calls_.reserve(kCalls);
    objects_.reserve(kObjects);
    if (!journal_path.empty()) {
        journal_ = std::make_unique<Journal>(journal_path, [this](Journal::Record record) {
            const Change change = decode(record);
            check(change);
            apply(change);
        });
    }
}

std::vector<std::uint8_t> SubtaskMemory::encode(const Change& change) {
    std::vector<std::uint8_t> bytes;
    put_u64(bytes, static_cast<std::uint64_t>(change.kind));
    put_u64(bytes, static_cast<std::uint64_t>(change.now_ns));
    put_text(bytes, change.first);
    put_text(bytes, change.second);
    for (const double value : {change.pose.x, change.pose.y, change.pose.z, change.pose.yaw}) {
        put_u64(bytes, std::bit_cast<std::uint64_t>(value));
    }
    return bytes;
}

SubtaskMemory::Change SubtaskMemory::decode(Journal::Record record) {
    Reader reader(record);
    Change change;
    change.kind = static_cast<Kind>(reader.u64());
    change.now_ns = static_cast<std::int64_t>(reader.u64());
    change.first = reader.text();
    change.second = reader.text();
    change.pose = {reader.number(), reader.number(), reader.number(), reader.number()};
    return change;
}

void SubtaskMemory::check(const Change& change) const {
    for (const std::string* text : {&change.first, &change.second}) {
        if (text->size() > kText) {
            refuse("a text is too long", "at most " + std::to_string(kText) + " bytes", std::to_string(text->size()),
                   "shorten it");
        }
    }
    switch (change.kind) {
        case Kind::clear:
            break;
        case Kind::begin:
            if (running()) {
                refuse("a call is still running", "end() before the next begin()", calls_.back().call, "end it first");
            }
            if (calls_.size() == kCalls) {
                refuse("full", "at most " + std::to_string(kCalls) + " calls a task", "one more",
                       "clear() for a new task");
            }
            break;
        case Kind::end:
            if (!running()) {
                refuse("no call is running", "begin() before end()", "end(" + change.first + ")", "begin a call first");
            }
            if (change.first.empty()) {
                refuse("an outcome is missing", "a text such as ok", "an empty text", "say how the call ended");
            }
            break;
        case Kind::grasped:
        case Kind::released:
            if (find(change.first) == nullptr && objects_.size() == kObjects) {
                refuse("full", "at most " + std::to_string(kObjects) + " objects a task", change.first,
                       "clear() for a new task");
            }
            for (const double value : {change.pose.x, change.pose.y, change.pose.z, change.pose.yaw}) {
                if (!std::isfinite(value)) {
                    refuse("a pose is not finite", "metres and radians", std::to_string(value), "check the joints");
                }
            }
            break;
    }
}

void SubtaskMemory::apply(const Change& change) {
    switch (change.kind) {
        case Kind::clear:
            task_ = change.first;
            calls_.clear();
            objects_.clear();
            break;
        case Kind::begin:
            calls_.push_back({change.first, change.second, "", change.now_ns, 0});
            break;
        case Kind::end:
            calls_.back().outcome = change.first;
            calls_.back().end_ns = change.now_ns;
            break;
        case Kind::grasped:
        case Kind::released: {
            const Remembered* known = find(change.first);
            Remembered& object = known != nullptr ? objects_[static_cast<std::size_t>(known - objects_.data())]
                                                  : objects_.emplace_back(Remembered{change.first, {}, {}});
            if (change.kind == Kind::released) {
                object.last_release = change.pose;
            } else if (!object.first_grasp) {
                object.first_grasp = change.pose;
            }
            break;
        }
    }
}

void SubtaskMemory::commit(const Change& change) {
    const std::lock_guard guard(mutex_);
    check(change);
    if (journal_) {
        journal_->append(encode(change));
    }
    apply(change);
}

void SubtaskMemory::clear(const std::string& task) {
    commit({Kind::clear, 0, task, "", {}});
}

void SubtaskMemory::begin(const std::string& call, const std::string& object, std::int64_t now_ns) {
    commit({Kind::begin, now_ns, call, object, {}});
}

void SubtaskMemory::end(const std::string& outcome, std::int64_t now_ns) {
    commit({Kind::end, now_ns, outcome, "", {}});
}

void SubtaskMemory::grasped(const std::string& object, const RememberedPose& pose) {
    commit({Kind::grasped, 0, object, "", pose});
}

void SubtaskMemory::released(const std::string& object, const RememberedPose& pose) {
    commit({Kind::released, 0, object, "", pose});
}

const SubtaskMemory::Remembered* SubtaskMemory::find(const std::string& object) const {
    const auto found =
        std::find_if(objects_.begin(), objects_.end(), [&](const Remembered& entry) { return entry.object == object; });
    return found == objects_.end() ? nullptr : &*found;
}

std::string SubtaskMemory::task() const {
    const std::lock_guard guard(mutex_);
    return task_;
}

std::vector<CallRecord> SubtaskMemory::calls() const {
    const std::lock_guard guard(mutex_);
    return calls_;
}

std::optional<RememberedPose> SubtaskMemory::place_of(const std::string& object) const {
    const std::lock_guard guard(mutex_);
    const Remembered* known = find(object);
    return known == nullptr ? std::nullopt : known->first_grasp;
}

std::optional<RememberedPose> SubtaskMemory::released_at(const std::string& object) const {
    const std::lock_guard guard(mutex_);
    const Remembered* known = find(object);
    return known == nullptr ? std::nullopt : known->last_release;
}

std::vector<std::pair<std::string, RememberedPose>> SubtaskMemory::places() const {
    const std::lock_guard guard(mutex_);
    std::vector<std::pair<std::string, RememberedPose>> found;
    for (const Remembered& entry : objects_) {
        if (entry.first_grasp) {
            found.emplace_back(entry.object, *entry.first_grasp);
        }
    }
    return found;
}

}  // namespace edgearm
