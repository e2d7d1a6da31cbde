// The memory beside a reader that must not wait: whole states only, no allocation, whatever the writers do.
#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "allocations.hpp"
#include "error.hpp"
#include "subtask_memory.hpp"

using namespace edgearm;

namespace {

constexpr std::uint64_t kRounds = 40;
constexpr std::uint64_t kCallsARound = 3;

// clear, then three times: begin, grasped, released, end. 13 changes a round.
constexpr std::uint64_t kChangesARound = 1 + 4 * kCallsARound;

void write_round(SubtaskMemory& memory, std::uint64_t round) {
    const auto number = static_cast<double>(round);
    memory.clear("task " + std::to_string(round));
    for (std::uint64_t i = 0; i < kCallsARound; ++i) {
        const std::string name = std::to_string(round) + " " + std::to_string(i);
        memory.begin("pick " + name, "cube " + name, static_cast<std::int64_t>(round));
        memory.grasped("cube " + name, {number, number, number, number});
        memory.released("cube " + name, {-number, -number, -number, -number});
        memory.end("ok " + std::to_string(i), static_cast<std::int64_t>(round + i));
    }
}

// Whether a state is the very one after its number of changes: every field follows from that number.
bool follows(const MemoryState& state) {
    if (state.changes == 0) {
        return state.task.empty() && state.call_count == 0 && state.object_count == 0;
    }
    const std::uint64_t round = (state.changes - 1) / kChangesARound;
    const std::uint64_t step = (state.changes - 1) % kChangesARound;  // 0 is clear
    const auto number = static_cast<double>(round);
    bool good = state.task.view() == "task " + std::to_string(round);
    good = good && state.call_count == (step + 3) / 4 && state.object_count == (step + 2) / 4;
    good = good && state.running() == (step % 4 != 0);
    good = good && state.held.empty() == (step % 4 != 2);
    for (std::uint64_t i = 0; good && i < state.call_count; ++i) {
        const std::string name = std::to_string(round) + " " + std::to_string(i);
        const CallRecord& record = state.calls()[i];
        const bool ended = step >= 4 * (i + 1);
        good = record.call.view() == "pick " + name && record.object.view() == "cube " + name &&
               record.begin_ns == static_cast<std::int64_t>(round) &&
               record.outcome.view() == (ended ? "ok " + std::to_string(i) : "") &&
               record.end_ns == (ended ? static_cast<std::int64_t>(round + i) : 0);
    }
    for (std::uint64_t i = 0; good && i < state.object_count; ++i) {
        const ObjectRecord& record = state.objects()[i];
        const RememberedPose& grasp = record.first_grasp;
        const RememberedPose& release = record.last_release;
        const bool released = step >= 4 * i + 3;
        const double at = released ? -number : 0;
        good = record.object.view() == "cube " + std::to_string(round) + " " + std::to_string(i) &&
               record.was_grasped && record.was_released == released && grasp.x == number && grasp.y == number &&
               grasp.z == number && grasp.yaw == number && release.x == at && release.yaw == at;
    }
    return good;
}

}  // namespace

TEST_CASE("readers beside a writer see only states that were, in their order") {
    SubtaskMemory memory("");
    std::atomic<bool> done{false};
    std::atomic<bool> good{true};
    std::atomic<std::uint64_t> seen{0};
    const auto reader = [&](bool bounded) {
        const auto state = std::make_unique<MemoryState>();
        std::uint64_t last = 0;
        while (!done) {
            if (bounded ? memory.try_read(*state) : (memory.read(*state), true)) {
                good = good && follows(*state) && state->changes >= last;
                last = state->changes;
                seen += 1;
            }
        }
    };
    std::thread one(reader, true);
    std::thread other(reader, false);
    while (seen == 0) {
        std::this_thread::yield();
    }
    for (std::uint64_t round = 0; round < kRounds; ++round) {
        write_round(memory, round);
    }
    done = true;
    one.join();
    other.join();
    CHECK(good);
    const auto state = std::make_unique<MemoryState>();
    memory.read(*state);
    CHECK(state->changes == kRounds * kChangesARound);
    CHECK(follows(*state));
}

TEST_CASE("a reader needs no writer to get on: one that is stopped half-way is read beside, at the first attempt") {
    // A signal's handler runs while its thread stands still, like a real-time thread that took the core from it.
    static SubtaskMemory* memory = nullptr;
    static MemoryState* state = nullptr;
    static std::atomic<int> reads{0};
    static std::atomic<int> failures{0};
    SubtaskMemory stopped("");
    const auto room = std::make_unique<MemoryState>();
    memory = &stopped;
    state = room.get();
    struct sigaction action{};
    action.sa_handler = [](int) {
        failures += memory->try_read(*state) ? 0 : 1;
        reads += 1;
    };
    struct sigaction old{};
    REQUIRE(::sigaction(SIGUSR1, &action, &old) == 0);
    std::atomic<bool> done{false};
    std::thread writer([&] {
        while (!done) {
            stopped.grasped("red cube", {});
        }
    });
    for (int i = 1; i <= 200; ++i) {
        REQUIRE(::pthread_kill(writer.native_handle(), SIGUSR1) == 0);
        while (reads < i) {
            std::this_thread::yield();
        }
    }
    done = true;
    writer.join();
    ::sigaction(SIGUSR1, &old, nullptr);
    CHECK(failures == 0);
}

TEST_CASE("writers from several threads take turns") {
    SubtaskMemory memory("");
    const auto write = [&](const std::string& name) {
        for (int i = 0; i < 50; ++i) {
            memory.grasped(name, {});
        }
    };
    std::thread one(write, "red cube");
    write("green cube");
    one.join();
    const auto state = std::make_unique<MemoryState>();
    memory.read(*state);
    CHECK(state->changes == 100);
    CHECK(state->object_count == 2);
}

TEST_CASE("after construction nothing is allocated") {
    char path[] = "/tmp/edgearm-memory-XXXXXX";
    const int made = ::mkstemp(path);
    REQUIRE(made >= 0);
    ::close(made);
    SubtaskMemory memory(path);
    const auto state = std::make_unique<MemoryState>();
    const std::uint64_t before = test::allocations();
    memory.clear("a task");
    for (std::size_t i = 0; i < 8; ++i) {
        memory.begin("pick(\"red cube\")", "red cube", 1);
        memory.grasped("red cube", {1, 2, 3, 4});
        memory.released("red cube", {1, 2, 3, 4});
        memory.end("ok", 2);
        memory.read(*state);
    }
    memory.conclude("finished", 3);
    const std::uint64_t after = test::allocations();
    CHECK(after == before);
    CHECK(state->find("red cube")->first_grasp.z == 3);
    std::remove(path);
}

TEST_CASE("a text of exactly its capacity is kept, one more byte is refused and changes nothing") {
    SubtaskMemory memory("");
    const auto state = std::make_unique<MemoryState>();
    const auto refused = [&](auto&& change) {
        memory.read(*state);
        const std::uint64_t before = state->changes;
        CHECK_THROWS_AS(change(), Error);
        memory.read(*state);
        CHECK(state->changes == before);
    };
    const auto text = [](std::size_t size) { return std::string(size, 't'); };
    refused([&] { memory.clear(text(TaskText::kCapacity + 1)); });
    memory.clear(text(TaskText::kCapacity));
    refused([&] { memory.begin(text(CallText::kCapacity + 1), "", 0); });
    refused([&] { memory.begin("call", text(ObjectText::kCapacity + 1), 0); });
    memory.begin(text(CallText::kCapacity), text(ObjectText::kCapacity), 0);
    refused([&] { memory.end(text(WordText::kCapacity + 1), 0); });
    refused([&] { memory.conclude("finished", 0); });
    memory.end(text(WordText::kCapacity), 0);
    refused([&] { memory.grasped(text(ObjectText::kCapacity + 1), {}); });
    memory.grasped(text(ObjectText::kCapacity), {});
    refused([&] { memory.conclude(text(WordText::kCapacity + 1), 0); });
    refused([&] { memory.conclude("", 0); });
    refused([&] { memory.begin("", "", 0); });
    memory.read(*state);
    CHECK(state->task.view() == text(TaskText::kCapacity));
    CHECK(state->calls()[0].call.view() == text(CallText::kCapacity));
    CHECK(state->held.view() == text(ObjectText::kCapacity));
}

TEST_CASE("every kind of change survives its bytes; other bytes are refused") {
    std::array<std::uint8_t, Change::kLongest> room;
    const std::string task(TaskText::kCapacity, 't');
    const std::string object(ObjectText::kCapacity, 'o');
    for (std::uint8_t kind = 1; kind <= 6; ++kind) {
        const auto bytes = Change{static_cast<Change::Kind>(kind), -5, task, object, {1, -2, 3, -4}}.encode(room);
        const Change read = Change::decode(bytes);
        CHECK(static_cast<std::uint8_t>(read.kind) == kind);
        CHECK(read.now_ns == -5);
        CHECK(read.first == task);
        CHECK(read.second == object);
        const bool posed = kind == 4 || kind == 5;
        CHECK(read.pose.yaw == (posed ? -4 : 0));
        CHECK((bytes.size() == Change::kLongest) == posed);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            REQUIRE_THROWS_AS(Change::decode(bytes.first(size)), Error);
        }
    }
    const auto bytes = Change{Change::Kind::end, 0, "ok"}.encode(room);
    CHECK_THROWS_AS(Change::decode({room.data(), bytes.size() + 1}), Error);
    for (const std::uint8_t kind : {std::uint8_t{0}, std::uint8_t{7}, std::uint8_t{255}}) {
        room[0] = kind;
        CHECK_THROWS_AS(Change::decode(bytes), Error);
    }
}
