#include <string.h>

#include "bench.h"

static void somewhere(int64_t *goals)
{
    for (int i = 0; i < SERVOS; ++i) {
        const safety_limits *limits = &table.joints[i].limits;
        goals[i] = limits->lower + (int64_t)((uint64_t)any() * (uint64_t)(limits->upper - limits->lower) >> 32);
    }
}

/* The motion is the planned one, whatever happens to single packets. */
static void damaged_answers_change_nothing(void)
{
    plan moving = in_motion();
    for (int leg = 0; leg < 300; ++leg) {
        int64_t goals[SERVOS];
        somewhere(goals);
        if (leg % 2 == 0) {
            arm.line.flip = 1 + any_below(3);
        } else {
            arm.line.swap = 1 + any_below(3);
        }
        follows(&moving, goals, 6);
        REQUIRE(arm.line.flip == 0);
    }
    REQUIRE(arm.fw.bus.parser.corrupt > 100 && arm.fw.bus.unbelievable > 50);
    power_off();
}

/* Bytes swapped in a position pass the servo's sum. */
static void an_impossible_position_is_not_reported(void)
{
    power_on(2048 + 7);
    runs(10 * TICK);
    for (int round = 0; round < 100; ++round) {
        arm.line.swap = 1;
        runs(TICK);
        runs(TICK);
        for (int i = 0; i < SERVOS; ++i) {
            REQUIRE(arm.state.positions[i] == arm_position(&table.joints[i], 2048 + 7));
        }
    }
    REQUIRE(arm.fw.bus.unbelievable > 50);
    power_off();

    power_on(2048 + 7); /* nor as the first one of all */
    arm.line.swap = SERVOS;
    for (int tick = 0; tick < 40; ++tick) {
        runs(TICK);
        for (int i = 0; i < SERVOS; ++i) {
            REQUIRE((arm.state.stale >> i & 1) != 0 ||
                    arm.state.positions[i] == arm_position(&table.joints[i], 2048 + 7));
        }
    }
    REQUIRE(arm.state.stale == 0);
    power_off();
}

/* A goal that is lost is followed by the next one. */
static void lost_goals_do_not_stop_the_arm(void)
{
    plan moving = in_motion();
    for (int round = 0; round < 100; ++round) {
        int64_t goals[SERVOS];
        somewhere(goals);
        arm.line.lose = 1;
        sends_command(plan_step(&moving, goals).targets, EXPIRY);
        runs(TICK);
        follows(&moving, goals, 3);
    }
    power_off();
}

static void damaged_commands_do_not_stop_the_arm(void)
{
    plan moving = in_motion();
    for (int round = 0; round < 200; ++round) {
        int64_t goals[SERVOS];
        somewhere(goals);
        const size_t before = arm.sent;
        sends_command(plan_step(&moving, goals).targets, EXPIRY);
        arm.upward[before + 1 + any_below((uint32_t)(arm.sent - before - 2))] ^= (uint8_t)(1u << any_below(8));
        runs(TICK);
        REQUIRE(arm.state.arm == BRIDGE_RUNNING && arm.state.faults == 0);
        for (int tick = 0; tick < 3; ++tick) {
            sends_command(plan_step(&moving, goals).targets, EXPIRY);
            runs(TICK);
            REQUIRE(arm.state.arm == BRIDGE_RUNNING && arm.state.faults == 0);
        }
    }
    stays_within(0);
    power_off();
}

/* Noise without end on the upward line keeps no tick from being done. */
static void noise_does_not_delay_a_tick(void)
{
    in_motion();
    const uint32_t kicks = arm.kicks;
    for (int poll = 0; poll < 1000 * TICK / POLL_US; ++poll) {
        uint8_t noise[150];
        for (size_t i = 0; i < sizeof noise; ++i) {
            noise[i] = (uint8_t)any();
        }
        if (arm.sent + sizeof noise <= sizeof arm.upward) {
            sends_bytes(noise, sizeof noise);
        }
        runs(POLL_US);
    }
    REQUIRE(arm.kicks == kicks + 1000);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_EXPIRED);
    stays_within(0);
    power_off();
}

static void the_line_may_echo(void)
{
    power_on(2048);
    arm.line.echo = true;
    arm.line.chatty = true;
    runs(10 * TICK);
    arms();
    plan moving = plan_from_here();
    int64_t goals[SERVOS];
    somewhere(goals);
    follows(&moving, goals, 100);
    REQUIRE(arm.line.collisions <= 2); /* until the servos have been told to answer at once */
    power_off();
}

static void full_lines_are_survived(void)
{
    in_motion();
    arm.upward_full = true;
    arm.bus_full = true;
    runs(100 * TICK);
    arm.upward_full = false;
    runs(TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED);
    REQUIRE(arm.state.faults == (BRIDGE_FAULT_EXPIRED | BRIDGE_FAULT_FEEDBACK));
    arm.bus_full = false;
    runs(100 * TICK);
    arms();
    power_off();
}

/* A watchdog that is fed by a loop that does no ticks would be none. */
static void the_watchdog_is_kicked_by_ticks_alone(void)
{
    power_on(2048);
    runs(TICK);
    const uint32_t kicks = arm.kicks;
    for (int poll = 0; poll < 100000; ++poll) { /* the clock stands still */
        firmware_poll(&arm.fw, arm.now);
    }
    REQUIRE(arm.kicks == kicks);
    runs(100 * TICK);
    REQUIRE(arm.kicks == kicks + 100);
    power_off();
}

/* As much of a line as a poll takes, and the rest with the next one. */
static void a_poll_takes_so_much(void)
{
    enum { POLL_BYTES = 128 };
    for (size_t beyond = 0; beyond < 2; ++beyond) {
        power_on(2048);
        runs(10 * TICK);
        const uint8_t noise[POLL_BYTES] = {0};
        arm.sent = 0;
        sends_hello(5);
        const size_t length = arm.sent;
        arm.sent = 0;
        sends_bytes(noise, POLL_BYTES - length + beyond);
        sends_hello(5);
        runs(POLL_US);
        REQUIRE(arm.fw.gate.session == (beyond == 0 ? 5 : 0));
        runs(POLL_US);
        REQUIRE(arm.fw.gate.session == 5);
        power_off();
    }
}

static void a_frame_may_come_in_two_pieces(void)
{
    power_on(2048);
    runs(10 * TICK);
    for (uint32_t session = 1; session <= 20; ++session) {
        sends_hello(session);
        const size_t rest = arm.sent - session;
        arm.sent = session; /* so many bytes first */
        uint8_t later[BRIDGE_SERIAL_MAX_FRAME];
        memcpy(later, arm.upward + session, rest);
        runs(POLL_US);
        REQUIRE(arm.fw.gate.session == session - 1);
        sends_bytes(later, rest);
        runs(POLL_US);
        REQUIRE(arm.fw.gate.session == session);
    }
    power_off();
}

/* However late a tick comes, the next one is a whole tick later: two in a row would be twice as fast. */
static void a_late_tick_is_not_caught_up_with(void)
{
    const uint32_t late[] = {1, TICK - 1, TICK, TICK + 1, 10 * TICK, UINT32_C(1) << 30, (UINT32_C(1) << 31) - 1};
    for (size_t i = 0; i < sizeof late / sizeof *late; ++i) {
        power_on(2048);
        runs(10 * TICK);
        const uint32_t kicks = arm.kicks;
        const uint32_t due = arm.fw.due_us;
        arm.now = due + late[i];
        firmware_poll(&arm.fw, arm.now);
        REQUIRE(arm.kicks == kicks + 1);
        const uint32_t next = late[i] < TICK ? due + TICK : arm.now + TICK;
        firmware_poll(&arm.fw, next - 1);
        REQUIRE(arm.kicks == kicks + 1);
        firmware_poll(&arm.fw, next);
        REQUIRE(arm.kicks == kicks + 2);
        power_off();
    }
    power_on(2048); /* and what is half of the clock's turn ahead is not late */
    runs(10 * TICK);
    const uint32_t kicks = arm.kicks;
    firmware_poll(&arm.fw, arm.fw.due_us + (UINT32_C(1) << 31));
    REQUIRE(arm.kicks == kicks);
    power_off();
}

void test_wire(void)
{
    damaged_answers_change_nothing();
    an_impossible_position_is_not_reported();
    lost_goals_do_not_stop_the_arm();
    damaged_commands_do_not_stop_the_arm();
    noise_does_not_delay_a_tick();
    the_line_may_echo();
    full_lines_are_survived();
    the_watchdog_is_kicked_by_ticks_alone();
    a_poll_takes_so_much();
    a_frame_may_come_in_two_pieces();
    a_late_tick_is_not_caught_up_with();
}
