/* A computer, the firmware and its servos on one virtual clock. Every function ends the program when something that
 * must always hold does not. */
#ifndef EDGEARM_TESTS_FIRMWARE_BENCH_H
#define EDGEARM_TESTS_FIRMWARE_BENCH_H

#include "check.h"
#include "firmware.h"
#include "servos.h"

enum { POLL_US = 200, TICK = 4000, UPWARD_BYTES = 4096, EXPIRY = 20 };

typedef struct {
    firmware fw;
    servo_line line;
    uint32_t now;
    /* the computer's side */
    uint8_t upward[UPWARD_BYTES]; /* on its way to the firmware */
    size_t sent;
    bridge_parser parser;
    bridge_state state; /* newest */
    bridge_hello reply; /* newest */
    uint32_t states;
    uint32_t replies;
    uint32_t session;
    uint32_t sequence;
    /* the machine's */
    bool pressed;
    bool watchdog_reset;
    bool upward_full;
    bool bus_full;
    uint32_t kicks;
} bench;

extern bench arm; /* the one that the HAL's functions serve */

/* Of an arm with as many joints as there can be: those of the SO-101, and the first two again. What reads or writes
 * beyond the last joint reads or writes beyond an array. */
extern arm_table table;
void make_table(void);

/* Power on, with limp servos at `position`; nothing has been polled yet. */
void power_on(int32_t position);
void power_off(void);
/* CRC-32 of all that servos were told until the last power_off, in all tests: the same on every machine. */
uint32_t everything_told(void);
/* Starts the firmware anew, as a reset does; the servos do not notice. */
void reset(bool by_watchdog);

/* Polls every POLL_US. */
void runs(uint32_t us);

/* The computer sends; it is received with the next poll. */
void sends(const bridge_message *message);
void sends_bytes(const uint8_t *bytes, size_t count);
bridge_order next_order(uint16_t expiry_ms);
void sends_hello(uint32_t session);
void sends_clear(void);
void sends_release(void);
void sends_stop(void);
void sends_command(const bridge_target *targets, uint16_t expiry_ms);

/* A trajectory that the limiter makes, as a computer's own would: toward `goals`, one command a tick. */
typedef struct {
    safety_state joints[SERVOS];
} plan;

plan plan_from_here(void);
bridge_command plan_step(plan *of, const int64_t *goals);
/* Ticks with a command each; what the servos are told in them has to be the plan. */
void follows(plan *of, const int64_t *goals, int ticks);

/* Until the arm is armed and on. */
void arms(void);
/* A session, armed, at full speed. */
plan in_motion(void);
int64_t far_away(int joint);

/* Among what the servos were told since `from`. */
size_t told(size_t from, uint8_t address);
const servo_write *last_told(int servo, uint8_t address);
/* All goals since `from` lie within limits, and so do their first and second differences. */
void stays_within(size_t from);

/* test_*.c */
void test_table(void);
void test_targets(void);
void test_servo_bus(void);
void test_drives(void);
void test_power_up(void);
void test_motion(void);
void test_stop(void);
void test_faults(void);
void test_wire(void);

#endif
