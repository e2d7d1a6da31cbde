#include "realtime.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

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

std::string request_locked_memory() {
    // Under a limit a lock that succeeds now would make a later allocation fail: better not to have it. Pages are
    // locked as they are touched, because models are mapped whole and read in part.
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    const bool limited = limit.rlim_cur != RLIM_INFINITY;
    const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    if (limited && ::setrlimit(RLIMIT_MEMLOCK, &unlimited) != 0) {
        return "locked memory is limited: grant LimitMEMLOCK=infinity in the systemd unit, 'memlock unlimited' in "
               "/etc/security/limits.d, or CAP_IPC_LOCK";
    }
    if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        return std::string("mlockall refused (") + std::strerror(errno) +
               "): grant LimitMEMLOCK=infinity in the systemd unit, or CAP_IPC_LOCK";
    }
    return "";
}

void prefault_stack() noexcept {
    constexpr std::size_t kBytes = 256 * 1024;
    volatile unsigned char stack[kBytes];
    for (std::size_t i = 0; i < kBytes; i += 1024) {
        stack[i] = 0;
    }
    static_cast<void>(stack[kBytes - 1]);
}

}  // namespace edgearm
