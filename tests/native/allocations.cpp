#include "allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

// Constant-initialised, in the program's own thread storage: counting allocates nothing.
std::atomic<std::uint64_t> counted{0};
thread_local std::uint64_t here = 0;
thread_local bool excused = false;

void count() noexcept {
    here += 1;
    if (!excused) {
        counted.fetch_add(1, std::memory_order_relaxed);
    }
}

}  // namespace

namespace edgearm::test {

std::uint64_t allocations_here() noexcept {
    return here;
}

std::uint64_t allocations() noexcept {
    return counted.load(std::memory_order_relaxed);
}

void excuse_this_thread() noexcept {
    excused = true;
}

}  // namespace edgearm::test

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

// new ends in malloc, so that counting here counts both.
extern "C" {

void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);

void* malloc(std::size_t size) {
    count();
    return __libc_malloc(size);
}

void* calloc(std::size_t number, std::size_t size) {
    count();
    return __libc_calloc(number, size);
}

void* realloc(void* memory, std::size_t size) {
    count();
    return __libc_realloc(memory, size);
}
}

#else

void* operator new(std::size_t size) {
    count();
    if (void* memory = std::malloc(size)) {
        return memory;
    }
    throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
    std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

#endif
