#include "memory_state.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "disk.hpp"
#include "error.hpp"

namespace edgearm {

namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& got,
                         const std::string& fix) {
    throw Error(Error::Kind::task, "subtask memory: " + what, expected, got, fix);
}

void check_length(const char* name, std::string_view text, std::size_t most) {
    if (text.size() > most) {
        refuse(std::string(name) + " is too long", "at most " + std::to_string(most) + " bytes",
               std::to_string(text.size()) + " bytes: " + std::string(text.substr(0, 40)) + "…", "shorten it");
    }
}

void check_pose(const RememberedPose& pose) {
    for (const double value : {pose.x, pose.y, pose.z, pose.yaw}) {
        if (!std::isfinite(value)) {
            refuse("a pose is not finite", "metres and radians", std::to_string(value), "check the joints");
        }
    }
}

// Writes words and texts one behind the other.
class Writer {
public:
    explicit Writer(std::span<std::uint8_t> to) : to_(to) {}

    template <typename Word>
    void word(Word value) {
        put(to_.data() + used_, value);
        used_ += sizeof(Word);
    }

    void text(std::string_view text) {
        word(static_cast<std::uint16_t>(text.size()));
        std::copy(text.begin(), text.end(), to_.data() + used_);
        used_ += text.size();
    }

    std::span<const std::uint8_t> done() const { return to_.first(used_); }

private:
    std::span<std::uint8_t> to_;
    std::size_t used_ = 0;
};

// The record's checks fitted, so what does not fit here was written by another program than this one.
class Reader {
public:
    explicit Reader(std::span<const std::uint8_t> from) : left_(from) {}

    template <typename Word>
    Word word() {
        return get<Word>(take(sizeof(Word)).data());
    }

    double number() { return std::bit_cast<double>(word<std::uint64_t>()); }

    std::string_view text() {
        const auto bytes = take(word<std::uint16_t>());
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    bool all_read() const { return left_.empty(); }

    [[noreturn]] static void refuse_record(const std::string& got) {
        throw Error(Error::Kind::config, "the journal holds a record that this version does not know",
                    "a change of the subtask memory", got, "go on with the version that made it, or start a new task");
    }

private:
    std::span<const std::uint8_t> take(std::size_t count) {
        if (count > left_.size()) {
            refuse_record("one that ends too early");
        }
        const auto bytes = left_.first(count);
        left_ = left_.subspan(count);
        return bytes;
    }

    std::span<const std::uint8_t> left_;
};

bool has_pose(Change::Kind kind) {
    return kind == Change::Kind::grasped || kind == Change::Kind::released;
}

}  // namespace

std::span<const std::uint8_t> Change::encode(std::span<std::uint8_t> to) const {
    Writer writer(to);
    writer.word(static_cast<std::uint8_t>(kind));
    writer.word(static_cast<std::uint64_t>(now_ns));
    writer.text(first);
    writer.text(second);
    if (has_pose(kind)) {
        for (const double value : {pose.x, pose.y, pose.z, pose.yaw}) {
            writer.word(std::bit_cast<std::uint64_t>(value));
        }
    }
    return writer.done();
}

Change Change::decode(std::span<const std::uint8_t> bytes) {
    Reader reader(bytes);
    Change change;
    const auto kind = reader.word<std::uint8_t>();
    if (kind < static_cast<std::uint8_t>(Kind::clear) || kind > static_cast<std::uint8_t>(Kind::conclude)) {
        Reader::refuse_record("kind " + std::to_string(kind));
    }
    change.kind = static_cast<Kind>(kind);
    change.now_ns = static_cast<std::int64_t>(reader.word<std::uint64_t>());
    change.first = reader.text();
    change.second = reader.text();
    if (has_pose(change.kind)) {
        for (double* value : {&change.pose.x, &change.pose.y, &change.pose.z, &change.pose.yaw}) {
            *value = reader.number();
        }
    }
    if (!reader.all_read()) {
        Reader::refuse_record("one with more in it");
    }
    return change;
}

const ObjectRecord* MemoryState::find(std::string_view object) const {
    const auto all = objects();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const ObjectRecord& entry) { return entry.object.view() == object; });
    return found == all.end() ? nullptr : &*found;
}

void MemoryState::check(const Change& change) const {
    switch (change.kind) {
        case Change::Kind::clear:
            check_length("a task", change.first, TaskText::kCapacity);
            break;
        case Change::Kind::begin:
            check_length("a call", change.first, CallText::kCapacity);
            check_length("an object", change.second, ObjectText::kCapacity);
            if (change.first.empty()) {
                refuse("a call is missing", "a text such as done()", "an empty text", "say what is called");
            }
            if (running()) {
                refuse("a call is still running", "end() before the next begin()",
                       std::string(calls().back().call.view()), "end it first");
            }
            if (call_count == kCalls) {
                refuse("full", "at most " + std::to_string(kCalls) + " calls a task", "one more",
                       "clear() for a new task");
            }
            break;
        case Change::Kind::end:
            check_length("an outcome", change.first, WordText::kCapacity);
            if (!running()) {
                refuse("no call is running", "begin() before end()", "end(" + std::string(change.first) + ")",
                       "begin a call first");
            }
            if (change.first.empty()) {
                refuse("an outcome is missing", "a text such as ok", "an empty text", "say how the call ended");
            }
            break;
        case Change::Kind::grasped:
        case Change::Kind::released:
            check_length("an object", change.first, ObjectText::kCapacity);
            if (find(change.first) == nullptr && object_count == kObjects) {
                refuse("full", "at most " + std::to_string(kObjects) + " objects a task", std::string(change.first),
                       "clear() for a new task");
            }
            check_pose(change.pose);
            break;
        case Change::Kind::conclude:
            check_length("an ending", change.first, WordText::kCapacity);
            if (running()) {
                refuse("a call is still running", "end() before conclude()", std::string(calls().back().call.view()),
                       "end it first");
            }
            if (change.first.empty()) {
                refuse("an ending is missing", "a text such as finished", "an empty text", "say how the task ended");
            }
            break;
    }
}

void MemoryState::apply(const Change& change) noexcept {
    changes += 1;
    switch (change.kind) {
        case Change::Kind::clear:
            // Counts alone would leave old texts behind what is in use: no harm, but no plain picture of the state.
            std::fill_n(call_records.begin(), call_count, CallRecord{});
            std::fill_n(object_records.begin(), object_count, ObjectRecord{});
            call_count = object_count = 0;
            held.assign("");
            ending.assign("");
            task.assign(change.first);
            break;
        case Change::Kind::begin: {
            CallRecord& record = call_records[call_count++];
            record.call.assign(change.first);
            record.object.assign(change.second);
            record.begin_ns = change.now_ns;
            ending.assign("");  // a task that was given up goes on
            break;
        }
        case Change::Kind::end:
            call_records[call_count - 1].outcome.assign(change.first);
            call_records[call_count - 1].end_ns = change.now_ns;
            break;
        case Change::Kind::grasped:
        case Change::Kind::released: {
            const ObjectRecord* known = find(change.first);
            ObjectRecord& record =
                object_records[known != nullptr ? static_cast<std::size_t>(known - object_records.data())
                                                : object_count++];
            record.object.assign(change.first);
            if (change.kind == Change::Kind::grasped) {
                record.first_grasp = record.was_grasped ? record.first_grasp : change.pose;
                record.was_grasped = true;
                held.assign(change.first);
            } else {
                record.last_release = change.pose;
                record.was_released = true;
                if (held.view() == change.first) {
                    held.assign("");
                }
            }
            break;
        }
        case Change::Kind::conclude:
            ending.assign(change.first);
            break;
    }
}

}  // namespace edgearm
