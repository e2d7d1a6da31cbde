// Real-time rights of the calling thread and process, as far as the system grants them.
#pragma once

#include <cstdint>
#include <string>

namespace edgearm {

// Asks for SCHED_FIFO at `priority` for the calling thread. Empty when granted, otherwise what to grant.
std::string request_fifo(int priority);

// Keeps this process's pages in memory. Empty when granted, otherwise what to grant.
std::string request_locked_memory();

// For when no loop runs: nothing is locked any more, and what malloc keeps for later goes back to the system, which it
// cannot give while it is locked.
void release_memory() noexcept;

// For a process whose threads come and go, called before most of them do: they share one of malloc's pools. Otherwise
// each may open one of its own, up to eight for every core, and what one pool keeps is of no use to the others. The
// loop allocates nothing and so waits for nobody.
void share_memory_pools() noexcept;

// Keeps the calling thread on one core. Empty when done, otherwise why not.
std::string request_cpu(int cpu);

// The cores this machine has; a core may still be closed to this process.
int cpu_count() noexcept;

// Holds /dev/cpu_dma_latency at 0 while it lives: no core goes into a sleep that takes long to wake from.
class AwakeCores {
public:
    AwakeCores();
    ~AwakeCores();
    AwakeCores(const AwakeCores&) = delete;
    AwakeCores& operator=(const AwakeCores&) = delete;

    // Empty while it is held, otherwise what to grant.
    const std::string& refusal() const { return refusal_; }

private:
    int file_ = -1;
    std::string refusal_;
};

// Until CLOCK_MONOTONIC has reached `deadline_ns`.
void sleep_until(std::int64_t deadline_ns) noexcept;

// Touches the stack the thread is going to use, so that no page fault comes later.
void prefault_stack() noexcept;

// Touches the code and constants of this library and of the mathematics library, so that no page fault comes when a
// part of them is used for the first time.
void prefault_code() noexcept;

// Page faults of the calling thread since it began, those that needed the disk and those that did not.
std::uint64_t thread_page_faults() noexcept;

}  // namespace edgearm
