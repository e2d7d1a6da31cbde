// Counts what this program allocates, thread by thread, to show which threads allocate nothing.
#pragma once

#include <cstdint>

namespace edgearm::test {

// A sanitizer has shadow memory, whose pages are touched for the first time at any time.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// malloc, calloc, realloc and new of the calling thread so far. Under a sanitizer, which has a malloc of its own: new.
std::uint64_t allocations_here() noexcept;

// The same of all threads together that were not excused.
std::uint64_t allocations() noexcept;

// From now on the calling thread's allocations are not counted in allocations().
void excuse_this_thread() noexcept;

}  // namespace edgearm::test
