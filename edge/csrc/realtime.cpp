#include "realtime.hpp"

#include <fcntl.h>
#include <link.h>
#include <linux/capability.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace edgearm {

std::string request_fifo(int priority) {
    const sched_param parameters{priority};
    const int reason = ::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &parameters);
    if (reason == 0) {
        return "";
    }
    const std::string wanted = std::to_string(priority);
    return "SCHED_FIFO " + wanted + " refused (" + std::strerror(reason) + "): grant LimitRTPRIO=" + wanted +
           " in the systemd unit, 'rtprio " + wanted + "' in /etc/security/limits.d, or CAP_SYS_NICE";
}

namespace {

// The limit on locked memory is not for those who hold CAP_IPC_LOCK, and a container may have that without the right
// to raise limits.
bool exempt_from_lock_limit() noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3]{};
    return ::syscall(SYS_capget, &header, held) == 0 && (held[0].effective & (1u << CAP_IPC_LOCK)) != 0;
}

}  // namespace

std::string request_locked_memory() {
    // Under a limit a lock that succeeds now would make a later allocation fail: better not to have it. Pages are
    // locked as they are touched, because models are mapped whole and read in part.
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    const bool limited = limit.rlim_cur != RLIM_INFINITY;
    const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    if (limited && !exempt_from_lock_limit() && ::setrlimit(RLIMIT_MEMLOCK, &unlimited) != 0) {
        return "locked memory is limited: grant LimitMEMLOCK=infinity in the systemd unit, 'memlock unlimited' in "
               "/etc/security/limits.d, or CAP_IPC_LOCK";
    }
    if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        return std::string("mlockall refused (") + std::strerror(errno) +
               "): grant LimitMEMLOCK=infinity in the systemd unit, or CAP_IPC_LOCK";
    }
    return "";
}

void release_memory() noexcept {
    ::munlockall();
#ifdef __GLIBC__
    ::malloc_trim(0);
#endif
}

void share_memory_pools() noexcept {
#ifdef __GLIBC__
    ::mallopt(M_ARENA_MAX, 1);
#endif
}

std::string request_cpu(int cpu) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    const int reason = ::pthread_setaffinity_np(::pthread_self(), sizeof(only), &only);
    return reason == 0 ? "" : std::strerror(reason);
}

int cpu_count() noexcept {
    return static_cast<int>(std::clamp(::sysconf(_SC_NPROCESSORS_CONF), 1L, long{CPU_SETSIZE}));
}

AwakeCores::AwakeCores() : file_(::open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC)) {
    const std::int32_t microseconds = 0;
    if (file_ < 0 || ::write(file_, &microseconds, sizeof(microseconds)) != sizeof(microseconds)) {
        refusal_ = std::string("cores may sleep, /dev/cpu_dma_latency refused (") + std::strerror(errno) +
                   "): grant write access with the udev rule KERNEL==\"cpu_dma_latency\", GROUP=\"realtime\", "
                   "MODE=\"0660\"";
    }
}

AwakeCores::~AwakeCores() {
    if (file_ >= 0) {
        ::close(file_);  // the request ends with the descriptor
    }
}

void sleep_until(std::int64_t deadline_ns) noexcept {
    constexpr std::int64_t kSecond = 1'000'000'000;
    const timespec deadline{deadline_ns / kSecond, deadline_ns % kSecond};
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
    }
}

void prefault_stack() noexcept {
    constexpr std::size_t kBytes = 256 * 1024;
    volatile unsigned char stack[kBytes];
    for (std::size_t i = 0; i < kBytes; i += 1024) {
        stack[i] = 0;
    }
    static_cast<void>(stack[kBytes - 1]);
}

namespace {

// A page is read wherever it begins, be that between two variables, which AddressSanitizer would call an error.
[[gnu::no_sanitize_address]] void read_byte(std::uintptr_t address) noexcept {
    static_cast<void>(*reinterpret_cast<const volatile unsigned char*>(address));
}

}  // namespace

void prefault_code() noexcept {
    const auto touch = [](dl_phdr_info* object, std::size_t, void*) {
        const auto begin = [&](const auto& part) { return object->dlpi_addr + part.p_vaddr; };
        const auto* first = object->dlpi_phdr;
        const auto* last = first + object->dlpi_phnum;
        const bool ours = std::any_of(first, last, [&](const auto& part) {
            return part.p_type == PT_LOAD &&
                   reinterpret_cast<std::uintptr_t>(&prefault_code) - begin(part) < part.p_memsz;
        });
        if (ours || std::strstr(object->dlpi_name, "/libm.so") != nullptr) {
            for (const auto* part = first; part != last; ++part) {
                constexpr std::size_t kPage = 4096;  // aarch64 has pages of 16 and 64 KiB as well
                const bool readable = part->p_type == PT_LOAD && (part->p_flags & PF_R) != 0;
                for (std::size_t at = 0; readable && at < part->p_memsz; at += kPage) {
                    read_byte(begin(*part) + at);
                }
                // A part begins within a page, so that its last page may lie behind the last step.
                if (readable && part->p_memsz > 0) {
                    read_byte(begin(*part) + part->p_memsz - 1);
                }
            }
        }
        return 0;
    };
    ::dl_iterate_phdr(touch, nullptr);
}

std::uint64_t thread_page_faults() noexcept {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return static_cast<std::uint64_t>(usage.ru_minflt) + static_cast<std::uint64_t>(usage.ru_majflt);
}

}  // namespace edgearm
