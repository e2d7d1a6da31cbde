// What the subtask memory holds: plain data of a fixed size, and the changes that may be made to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace edgearm {

// A text of at most `Capacity` bytes; unused ones are zero, so that equal texts are equal bytes.
template <std::size_t Capacity>
class FixedText {
public:
    static constexpr std::size_t kCapacity = Capacity;

    std::string_view view() const noexcept { return {bytes_.data(), size_}; }
    bool empty() const noexcept { return size_ == 0; }

    // The caller has checked the length.
    void assign(std::string_view text) noexcept {
        bytes_.fill('\0');
        std::memcpy(bytes_.data(), text.data(), text.size());
        size_ = static_cast<std::uint16_t>(text.size());
    }

private:
    std::uint16_t size_ = 0;
    std::array<char, Capacity> bytes_{};
};

using TaskText = FixedText<510>;
using CallText = FixedText<126>;
using ObjectText = FixedText<62>;
using WordText = FixedText<14>;  // an outcome, an ending

struct RememberedPose {  // metres and radians in the base frame
    double x = 0;
    double y = 0;
    double z = 0;
    double yaw = 0;
};

struct CallRecord {
    CallText call;
    ObjectText object;
    WordText outcome;  // empty while the call runs
    std::int64_t begin_ns = 0;
    std::int64_t end_ns = 0;
};

struct ObjectRecord {
    ObjectText object;
    bool was_grasped = false;
    bool was_released = false;
    RememberedPose first_grasp;
    RememberedPose last_release;
};

// One change, as asked for or as read from a journal. The texts belong to whoever made it.
struct Change {
    enum class Kind : std::uint8_t { clear = 1, begin, end, grasped, released, conclude };

    static constexpr std::size_t kLongest = 1 + 8 + 2 * 2 + TaskText::kCapacity + ObjectText::kCapacity + 4 * 8;

    Kind kind{};
    std::int64_t now_ns = 0;
    std::string_view first{};   // task, call, outcome, object, ending
    std::string_view second{};  // begin: the object
    RememberedPose pose{};

    // Writes it as bytes into `to`, which has room for kLongest; the number of bytes used.
    std::span<const std::uint8_t> encode(std::span<std::uint8_t> to) const;
    // Throws Error when the bytes are none that encode() writes. The texts point into `bytes`.
    static Change decode(std::span<const std::uint8_t> bytes);
};

struct MemoryState {
    static constexpr std::size_t kCalls = 256;
    static constexpr std::size_t kObjects = 32;

    std::uint64_t changes = 0;  // made so far
    TaskText task;
    WordText ending;  // how the task ended, empty while it goes on
    ObjectText held;  // what was grasped last and not released since
    std::uint32_t call_count = 0;
    std::uint32_t object_count = 0;
    std::array<CallRecord, kCalls> call_records{};
    std::array<ObjectRecord, kObjects> object_records{};

    std::span<const CallRecord> calls() const { return {call_records.data(), call_count}; }  // the last may still run
    std::span<const ObjectRecord> objects() const { return {object_records.data(), object_count}; }
    bool running() const { return call_count > 0 && calls().back().outcome.empty(); }
    const ObjectRecord* find(std::string_view object) const;

    // Throws Error when the change is not to be made now; it is then not to be applied.
    void check(const Change& change) const;
    void apply(const Change& change) noexcept;
};

}  // namespace edgearm
