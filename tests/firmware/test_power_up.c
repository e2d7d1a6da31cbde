#include <stdlib.h>

#include "bench.h"

static void only_return_delays_were_told(void)
{
    REQUIRE(arm.line.written > 0 && told(0, FEETECH_RETURN_DELAY) == arm.line.written);
}

static void nothing_is_switched_on(void)
{
    power_on(1000);
    runs(2000000);
    only_return_delays_were_told();
    REQUIRE(arm.line.written <= 2 * SERVOS); /* and those that answer are not told again */
    REQUIRE(arm.state.arm == BRIDGE_IDLE && arm.state.session == 0 && arm.state.faults == 0);
    REQUIRE(arm.state.stale == 0 && arm.state.age_ms == 0 && arm.state.joints == SERVOS);
    for (int i = 0; i < SERVOS; ++i) {
        REQUIRE(arm.state.positions[i] == arm_position(&table.joints[i], 1000));
    }
    power_off();
}

static void what_was_held_stays_held(void)
{
    power_on(2048);
    for (int i = 0; i < SERVOS; ++i) { /* against gravity, a little off */
        arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] = 1;
        servo_set_word(&arm.line.servos[i], FEETECH_GOAL_POSITION, 2048 + DRIVES_NEAR);
        arm.line.servos[i].jammed = true;
    }
    runs(2000000);
    only_return_delays_were_told();
    REQUIRE(arm.state.arm == BRIDGE_IDLE);
    power_off();
}

/* An earlier client has sent them somewhere, and they are slow. */
static void what_moves_stops(void)
{
    power_on(1000);
    for (int i = 0; i < SERVOS; ++i) {
        arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] = i != 2;
        servo_set_word(&arm.line.servos[i], FEETECH_GOAL_POSITION, 3000);
    }
    runs(500000);
    for (size_t i = 0; i < arm.line.written; ++i) { /* a limp one needs not be told */
        REQUIRE(arm.line.writes[i].servo != 2 || arm.line.writes[i].address == FEETECH_RETURN_DELAY);
    }
    REQUIRE(arm.line.servos[2].position == 1000);
    for (int i = 0; i < SERVOS; ++i) {
        /* 5 ticks a ms, for the cycles that it takes to hear them twice and to tell them */
        REQUIRE(arm.line.servos[i].position <= 1000 + 5 * 4 * 8);
        REQUIRE(arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] == (i != 2));
    }
    const size_t before = arm.line.written;
    runs(500000);
    REQUIRE(arm.line.written == before);
    power_off();
}

/* The state says so, as often as it has to. */
static void a_reset_is_seen(void)
{
    in_motion();
    const size_t before = arm.line.written;
    reset(false);
    runs(100000);
    REQUIRE(arm.state.session == 0 && arm.state.arm == BRIDGE_IDLE && arm.state.faults == 0);
    const bridge_target nowhere[SERVOS] = {{0, 0}};
    sends_command(nowhere, EXPIRY); /* of the session before */
    runs(100000);
    REQUIRE(arm.state.refusal == BRIDGE_NO_SESSION);
    REQUIRE(told(before, FEETECH_GOAL_POSITION) + told(before, FEETECH_TORQUE_ENABLE) == 0);
    for (int i = 0; i < SERVOS; ++i) { /* held where they were told to be last */
        REQUIRE(arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] == 1);
        REQUIRE(arm.line.servos[i].position == last_told(i, FEETECH_GOAL_POSITION)->value);
    }
    reset(true);
    runs(100000);
    REQUIRE(arm.state.session == 0 && arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_RESET);
    arm.session = 0;
    arms();
    power_off();
}

static void states_come_with_every_tick(void)
{
    power_on(2048);
    runs(TICK);
    const uint32_t before = arm.states;
    runs(1000 * TICK);
    REQUIRE(arm.states == before + 1000);
    power_off();
}

static void another_arm_opens_no_session(void)
{
    power_on(2048);
    runs(10 * TICK);
    bridge_message message = {BRIDGE_HELLO,
                              {.hello = {SERVOS, table.tick_us, BRIDGE_PROTOCOL, 5, arm_config(&table) ^ 1, 0}}};
    sends(&message);
    runs(TICK);
    REQUIRE(arm.replies == 1 && arm.reply.refusal == BRIDGE_WRONG_CONFIG && arm.reply.session == 0);
    REQUIRE(arm.reply.config == arm_config(&table));
    power_off();
}

void test_power_up(void)
{
    nothing_is_switched_on();
    what_was_held_stays_held();
    what_moves_stops();
    a_reset_is_seen();
    states_come_with_every_tick();
    another_arm_opens_no_session();
}
