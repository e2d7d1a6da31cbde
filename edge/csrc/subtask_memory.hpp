// What was called, how it ended, and where the tool was when an object was grasped or released.
//
// Three readers: the planner (transcript), the policy (goal pose of the current call) and the person. Capacity is
// fixed; a full memory is an error, never a silently forgotten line. With a journal every change is on the disk before
// the call returns, and opening the journal again restores the memory.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "journal.hpp"

namespace edgearm {

struct RememberedPose {  // metres and radians in the base frame
    double x = 0;
    double y = 0;
    double z = 0;
    double yaw = 0;
};

struct CallRecord {
    std::string call;
    std::string object;
    std::string outcome;  // empty while the call runs
    std::int64_t begin_ns = 0;
    std::int64_t end_ns = 0;
};

class SubtaskMemory {
public:
    static constexpr std::size_t kCalls = 256;
    static constexpr std::size_t kObjects = 32;
    static constexpr std::size_t kText = 512;  // bytes of any text

    // Without a journal when `journal_path` is empty. Throws Error.
    explicit SubtaskMemory(const std::string& journal_path);

    // Each throws Error, and then nothing changed, when the memory is full, a text is too long, or the order of calls
    // is wrong (begin while a call runs, end while none does).
    void clear(const std::string& task);  // forgets everything and starts a task
    void begin(const std::string& call, const std::string& object, std::int64_t now_ns);
    void end(const std::string& outcome, std::int64_t now_ns);
    void grasped(const std::string& object, const RememberedPose& pose);
    void released(const std::string& object, const RememberedPose& pose);

    std::string task() const;
    std::vector<CallRecord> calls() const;  // oldest first; the last may still run
    // Where the object was when it was first grasped in this task.
    std::optional<RememberedPose> place_of(const std::string& object) const;
    // Where it was last released in this task.
    std::optional<RememberedPose> released_at(const std::string& object) const;
    std::vector<std::pair<std::string, RememberedPose>> places() const;
    std::size_t cut_bytes() const { return journal_ ? journal_->cut_bytes() : 0; }

private:
    enum class Kind : std::uint8_t { clear = 1, begin, end, grasped, released };

    struct Change {
        Kind kind{};
        std::int64_t now_ns = 0;
        std::string first;
        std::string second;
        RememberedPose pose{};
    };

    struct Remembered {
        std::string object;
        std::optional<RememberedPose> first_grasp;
        std::optional<RememberedPose> last_release;
    };

    static std::vector<std::uint8_t> encode(const Change& change);
    static Change decode(Journal::Record record);

    void commit(const Change& change);  // check, write down, apply
    void check(const Change& change) const;
    void apply(const Change& change);
    const Remembered* find(const std::string& object) const;
    bool running() const { return !calls_.empty() && calls_.back().outcome.empty(); }

    mutable std::mutex mutex_;
    std::string task_;
    std::vector<CallRecord> calls_;
    std::vector<Remembered> objects_;
    std::unique_ptr<Journal> journal_;
};

}  // namespace edgearm
