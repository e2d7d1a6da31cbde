/* The firmware as a program: edgearm_firmware_host --bus TTY [--upward TTY] [--slower TIMES]
 *
 * Without --upward it makes a pty and prints its path. Standard input holds the buttons: 'S' presses the emergency
 * stop, 'R' lets go, 'H' makes the loop hang until the watchdog ends it; the program ends with its standard input. The
 * watchdog is another process, so that nothing that happens to the firmware happens to it; it starts the firmware anew.
 * --slower 10 counts a tenth of the time that passes: for a machine that is too busy to be in time for a motor.
 */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS and B1000000 are no part of POSIX */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "firmware.h"
#include "hal.h"

enum { WATCHDOG_US = 400000, LOOK_US = 20000, FAILED = 1, USAGE = 2 };

static int upward_port;
static int bus_port;
static bool pressed;
static bool by_watchdog;
static unsigned slower = 1;
static volatile unsigned *kicks; /* shared with the watchdog */
static firmware fw;

/* --- hal.h ---------------------------------------------------------------------------------------------------------
 */

static size_t take(int port, uint8_t *to, size_t most)
{
    const ssize_t got = read(port, to, most);
    return got > 0 ? (size_t)got : 0;
}

/* A pty takes all or, when nobody reads it, nothing or a part: then the frame is damaged, as on any line. */
static bool give(int port, const uint8_t *bytes, size_t count)
{
    return write(port, bytes, count) == (ssize_t)count;
}

size_t hal_upward_read(uint8_t *to, size_t most)
{
    return take(upward_port, to, most);
}

bool hal_upward_send(const uint8_t *bytes, size_t count)
{
    return give(upward_port, bytes, count);
}

size_t hal_bus_read(uint8_t *to, size_t most)
{
    return take(bus_port, to, most);
}

bool hal_bus_send(const uint8_t *bytes, size_t count)
{
    return give(bus_port, bytes, count);
}

bool hal_stop_pressed(void)
{
    return pressed;
}

bool hal_watchdog_reset(void)
{
    return by_watchdog;
}

void hal_kick_watchdog(void)
{
    *kicks += 1;
}

/* --- the machine ---------------------------------------------------------------------------------------------------
 */

static uint32_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)(((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u) / slower);
}

static void push_buttons(void)
{
    uint8_t button;
    const ssize_t got = read(STDIN_FILENO, &button, 1);
    if (got == 0) {
        exit(0);
    }
    if (got == 1) {
        pressed = button == 'S' || (pressed && button != 'R');
        while (button == 'H') {
            pause();
        }
    }
}

static void run(void)
{
    firmware_init(&fw, &so101_table, now_us());
    for (;;) {
        struct pollfd waiting[] = {{STDIN_FILENO, POLLIN, 0}, {upward_port, POLLIN, 0}, {bus_port, POLLIN, 0}};
        const uint32_t left_us = fw.due_us - now_us();
        const int wait_ms = left_us <= so101_table.tick_us ? (int)(left_us * slower + 999) / 1000 : 0;
        poll(waiting, 3, wait_ms);
        if ((waiting[0].revents & (POLLIN | POLLHUP)) != 0) {
            push_buttons();
        }
        if ((waiting[2].revents & (POLLHUP | POLLERR)) != 0) {
            fprintf(stderr, "the servo bus is gone: connect its adapter and start again\n");
            exit(FAILED);
        }
        firmware_poll(&fw, now_us());
    }
}

static void nap(void)
{
    const struct timespec time = {0, LOOK_US * 1000L};
    nanosleep(&time, NULL);
}

/* Returns the firmware's exit status, or -1 when it hung and was ended. */
static int watch(pid_t child)
{
    unsigned seen = *kicks;
    uint32_t since = now_us();
    for (;;) {
        int status = 0;
        if (waitpid(child, &status, WNOHANG) == child) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
        }
        if (*kicks != seen) {
            seen = *kicks;
            since = now_us();
        } else if (now_us() - since > WATCHDOG_US) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        nap();
    }
}

static int open_raw(const char *path)
{
    const int port = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    struct termios settings;
    if (port < 0 || tcgetattr(port, &settings) != 0) {
        fprintf(stderr, "%s: expected a tty, got: %s\n", path, strerror(errno));
        exit(FAILED);
    }
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    settings.c_cflag = CS8 | CREAD | CLOCAL;
    settings.c_cc[VMIN] = 0;
    settings.c_cc[VTIME] = 0;
    cfsetispeed(&settings, B1000000);
    cfsetospeed(&settings, B1000000);
    tcsetattr(port, TCSANOW, &settings);
    return port;
}

/* The slave stays open here, so that a computer may come and go. */
static int make_pty(void)
{
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        perror("no pty");
        exit(FAILED);
    }
    open_raw(ptsname(master));
    fcntl(master, F_SETFL, O_NONBLOCK);
    printf("%s\n", ptsname(master));
    fflush(stdout);
    return master;
}

int main(int count, char **words)
{
    const char *bus = NULL;
    const char *upward = NULL;
    const char *times = NULL;
    for (int i = 1; i + 1 < count; i += 2) {
        bus = strcmp(words[i], "--bus") == 0 ? words[i + 1] : bus;
        upward = strcmp(words[i], "--upward") == 0 ? words[i + 1] : upward;
        times = strcmp(words[i], "--slower") == 0 ? words[i + 1] : times;
    }
    slower = times == NULL ? 1 : (unsigned)strtoul(times, NULL, 10);
    if (bus == NULL || slower < 1 || slower > 1000 || count != 3 + 2 * (upward != NULL) + 2 * (times != NULL)) {
        fprintf(stderr, "usage: %s --bus TTY [--upward TTY] [--slower TIMES, 1 to 1000]\n", words[0]);
        return USAGE;
    }
    bus_port = open_raw(bus);
    upward_port = upward == NULL ? make_pty() : open_raw(upward);
    kicks = mmap(NULL, sizeof *kicks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (kicks == MAP_FAILED) {
        perror("no shared memory for the watchdog");
        return FAILED;
    }
    for (;;) {
        const pid_t child = fork();
        if (child == 0) {
            run();
        }
        const int status = child < 0 ? FAILED : watch(child);
        if (status >= 0) {
            return status;
        }
        by_watchdog = true;
    }
}
