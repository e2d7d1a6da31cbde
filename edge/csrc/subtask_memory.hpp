// What was called, how it ended, and where the tool was when an object was grasped or released.
//
// Four readers: the planner (transcript), the policy (goal pose of the current call), the person, and the control loop,
// which may read at any time without waiting (`try_read`). Capacity is fixed and taken at construction; a full memory
// is an error, never a silently forgotten line. With a journal every change is on the disk before the call returns, and
// opening the journal again restores the memory.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "journal.hpp"
#include "memory_state.hpp"
#include "seq_latch.hpp"

namespace edgearm {

class SubtaskMemory {
public:
    // Without a journal when `journal_path` is empty. Throws Error.
    explicit SubtaskMemory(const std::string& journal_path);

    // What a journal holds, in a memory without one; the journal is neither changed nor locked. Throws Error.
    static std::unique_ptr<SubtaskMemory> peek(const std::string& journal_path);

    // Changes, from any thread; with a journal they wait for the disk. Each throws Error, and then nothing changed,
    // when the memory is full, a text is too long, the order of calls is wrong (begin while a call runs, end while none
    // does), or the journal cannot be written.
    void clear(std::string_view task);  // forgets everything and starts a task
    void begin(std::string_view call, std::string_view object, std::int64_t now_ns);
    void end(std::string_view outcome, std::int64_t now_ns);
    void grasped(std::string_view object, const RememberedPose& pose);
    void released(std::string_view object, const RememberedPose& pose);
    void conclude(std::string_view ending, std::int64_t now_ns);  // the task is over; another begin() takes it up again

    // The state after the newest change that is on the disk. `try_read` takes a bounded number of steps whatever the
    // writers do, and is false when a change was published meanwhile: for the control loop, which then keeps what it
    // had until the next cycle. `read` tries until it has one.
    bool try_read(MemoryState& to) const noexcept { return published_.try_read(to); }
    void read(MemoryState& to) const noexcept { published_.read(to); }

    // What opening the journal, or peek(), found.
    const Journal::Recovery& recovery() const { return recovery_; }

private:
    SubtaskMemory() = default;

    void restore(Journal::Record record);
    void commit(const Change& change);  // check, write down, apply, publish

    std::mutex writing_;
    MemoryState state_;  // the writers'; readers have the published one
    SeqLatch<MemoryState> published_;
    std::array<std::uint8_t, Change::kLongest> bytes_{};
    std::optional<Journal> journal_;
    Journal::Recovery recovery_;
};

}  // namespace edgearm
