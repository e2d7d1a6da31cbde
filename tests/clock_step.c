/* A wall clock that somebody sets forward and back all the time, for programs that this is loaded into (LD_PRELOAD):
 * every quarter of a second of CLOCK_MONOTONIC it is an hour ahead, then an hour behind. Who waits for a time of day,
 * or measures with it, then waits an hour, or not at all. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { STEP_S = 3600, QUARTER_NS = 250000000 };

static long offset_s(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_nsec / QUARTER_NS % 2 != 0 ? STEP_S : -STEP_S;
}

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec* now) {
    const int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && is_wall(clock)) {
        now->tv_sec += offset_s();
    }
    return result;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
    struct timespec wall;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &wall);
    now->tv_sec = wall.tv_sec;
    now->tv_usec = wall.tv_nsec / 1000;
    return 0;
}

time_t time(time_t* now) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    if (now != NULL) {
        *now = wall.tv_sec;
    }
    return wall.tv_sec;
}
