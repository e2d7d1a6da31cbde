/* The firmware as a program: edgearm_firmware_host --bus TTY [--upward TTY] [--grace MS]
 *
 * Without --upward it makes a pty and prints its path. Standard input holds the buttons: 'S' presses the emergency
 * stop, 'R' lets go, 'H' makes the loop hang until the watchdog ends it; the program ends with its standard input. The
 * watchdog is another process, so that nothing that happens to the firmware happens to it; it starts the firmware anew.
 * With --grace the clock waits so long for a computer that has armed the arm, and for the servos, before it counts
 * their silence: for tests on a machine that is too busy to be in time for a motor.
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
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "firmware.h"
#include "hal.h"

enum { WATCHDOG_US = 400000, LOOK_US = 20000, QUIET_US = 1000000, FAILED = 1, USAGE = 2 };

static int upward_port;
static int slave = -1; /* of the pty that is the upward port */
static int bus_port;
static bool pressed;
static bool by_watchdog;
static uint32_t grace_us;
static uint32_t upward_us;       /* when the computer was last heard, by the machine's clock */
static uint32_t bus_us;          /* and the servos, or asked */
static size_t answered;          /* bytes since they were asked */
static volatile unsigned *kicks; /* shared with the watchdog */
static firmware fw;

static uint32_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

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
    const size_t got = take(upward_port, to, most);
    upward_us = got > 0 ? now_us() : upward_us;
    return got;
}

bool hal_upward_send(const uint8_t *bytes, size_t count)
{
    return give(upward_port, bytes, count);
}

size_t hal_bus_read(uint8_t *to, size_t most)
{
    const size_t got = take(bus_port, to, most);
    bus_us = got > 0 ? now_us() : bus_us;
    answered += got;
    return got;
}

bool hal_bus_send(const uint8_t *bytes, size_t count)
{
    bus_us = now_us();
    answered = 0;
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

/* A client that was killed has left its exclusive use behind, which a pty keeps as long as anybody has it open: others
 * than root could not open it again. One that lives, however quiet, is told by the lock that it holds. */
static void forget_dead_client(void)
{
    static uint32_t last_us;
    const uint32_t real_us = now_us();
    if (slave < 0 || real_us - upward_us < QUIET_US || real_us - last_us < QUIET_US) {
        return;
    }
    last_us = real_us;
    if (flock(slave, LOCK_EX | LOCK_NB) == 0) {
        ioctl(slave, TIOCNXCL);
        flock(slave, LOCK_UN);
    }
}

/* Not all servos have answered the last question, and those that will still have time. */
static bool servos_late(uint32_t real_us)
{
    enum { ANSWER = SERVO_BLOCK + FEETECH_OVERHEAD, MOST_US = 200000 };
    return answered < so101_table.count * (size_t)ANSWER && real_us - bus_us < MOST_US;
}

/* The computer has been silent for two ticks of the firmware's clock while the arm is armed, and still has time. */
static bool computer_late(uint32_t clock_us, uint32_t real_us)
{
    static uint32_t last_us, heard_us;
    if (last_us != upward_us) {
        last_us = upward_us;
        heard_us = clock_us;
    }
    const bool armed = fw.gate.arm == BRIDGE_READY || fw.gate.arm == BRIDGE_RUNNING;
    return armed && clock_us - heard_us >= 2u * so101_table.tick_us && real_us - upward_us < grace_us;
}

/* The firmware's clock after the machine's has come to `real_us`. */
static uint32_t next_us(uint32_t clock_us, uint32_t real_us)
{
    static uint32_t last_us;
    uint32_t passed_us = real_us - last_us;
    last_us = real_us;
    if (grace_us == 0) {
        return real_us;
    }
    if (computer_late(clock_us, real_us) || servos_late(real_us)) {
        passed_us = 0;
    }
    return clock_us + (passed_us < so101_table.tick_us ? passed_us : so101_table.tick_us);
}

static void run(void)
{
    uint32_t clock_us = now_us();
    firmware_init(&fw, &so101_table, clock_us);
    for (;;) {
        struct pollfd waiting[] = {{STDIN_FILENO, POLLIN, 0}, {upward_port, POLLIN, 0}, {bus_port, POLLIN, 0}};
        const uint32_t left_us = fw.due_us - (grace_us == 0 ? now_us() : clock_us);
        const int wait_ms = left_us <= so101_table.tick_us ? (int)(left_us + 999) / 1000 : 0;
        poll(waiting, 3, wait_ms);
        if ((waiting[0].revents & (POLLIN | POLLHUP)) != 0) {
            push_buttons();
        }
        if ((waiting[2].revents & (POLLHUP | POLLERR)) != 0) {
            fprintf(stderr, "the servo bus is gone: connect its adapter and start again\n");
            exit(FAILED);
        }
        forget_dead_client();
        clock_us = next_us(clock_us, now_us());
        firmware_poll(&fw, clock_us);
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
        } else if (now_us() - since > WATCHDOG_US + grace_us) {
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
    slave = open_raw(ptsname(master));
    fcntl(master, F_SETFL, O_NONBLOCK);
    printf("%s\n", ptsname(master));
    fflush(stdout);
    return master;
}

int main(int count, char **words)
{
    const char *bus = NULL;
    const char *upward = NULL;
    const char *grace = NULL;
    for (int i = 1; i + 1 < count; i += 2) {
        bus = strcmp(words[i], "--bus") == 0 ? words[i + 1] : bus;
        upward = strcmp(words[i], "--upward") == 0 ? words[i + 1] : upward;
        grace = strcmp(words[i], "--grace") == 0 ? words[i + 1] : grace;
    }
    grace_us = grace == NULL ? 0 : (uint32_t)strtoul(grace, NULL, 10) * 1000u;
    if (bus == NULL || count != 3 + 2 * (upward != NULL) + 2 * (grace != NULL)) {
        fprintf(stderr, "usage: %s --bus TTY [--upward TTY] [--grace MS]\n", words[0]);
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
