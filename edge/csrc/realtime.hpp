// Real-time rights of the calling thread and process, as far as the system grants them.
#pragma once

#include <string>

namespace edgearm {

// Asks for SCHED_FIFO at `priority` for the calling thread. Empty when granted, otherwise what to grant.
std::string request_fifo(int priority);

// Keeps this process's pages in memory. Empty when granted, otherwise what to grant.
std::string request_locked_memory();

// Touches the stack the thread is going to use, so that no page fault comes later.
void prefault_stack() noexcept;

}  // namespace edgearm
