#include <stdlib.h>

#include "bench.h"

enum { GOAL_VELOCITY = 46 };

/* Goals are where the servos are, and known to have been understood, before any torque comes on. */
static void arming_begins_where_the_arm_is(void)
{
    for (int damage = 0; damage < 4; ++damage) {
        power_on(2300);
        for (int i = 0; i < SERVOS; ++i) { /* what a torque too early would lead to */
            servo_set_word(&arm.line.servos[i], FEETECH_GOAL_POSITION, 2900);
            servo_set_word(&arm.line.servos[i], GOAL_VELOCITY, 0x0302); /* an earlier client's own limit */
        }
        runs(10 * TICK);
        sends_hello(77);
        runs(TICK);
        arm.line.lose = (uint32_t)damage; /* so many frames of goals */
        sends_clear();
        runs(TICK);
        bridge_target targets[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            targets[i] = (bridge_target){arm.state.positions[i], 0};
        }
        for (int tick = 0; tick < 6; ++tick) {
            for (int i = 0; i < SERVOS; ++i) {
                REQUIRE(arm.line.servos[i].position == 2300);
            }
            sends_command(targets, EXPIRY);
            runs(TICK);
        }
        REQUIRE(arm.state.arm == BRIDGE_RUNNING && told(0, FEETECH_TORQUE_ENABLE) >= SERVOS);
        for (int i = 0; i < SERVOS; ++i) {
            const emulated_servo *servo = &arm.line.servos[i];
            REQUIRE(servo->registers[FEETECH_TORQUE_ENABLE] == 1 && servo->registers[FEETECH_ACCELERATION] == 0);
            REQUIRE(servo_word(servo, FEETECH_GOAL_POSITION) == 2300 && servo_word(servo, GOAL_VELOCITY) == 0);
        }
        power_off();
    }
}

/* Answers are damaged, and a servo restarts, in whatever step of arming; commands come meanwhile. */
static void arming_goes_on_after_damage(void)
{
    for (int step = 0; step < 5; ++step) {
        for (int restarts = 0; restarts < 2; ++restarts) {
            power_on(2300);
            runs(10 * TICK);
            sends_hello(77);
            arm.line.flip = 1 - (uint32_t)restarts; /* so that the pose has to be waited for */
            runs(TICK);
            sends_clear();
            plan moving = plan_from_here();
            int64_t goals[SERVOS];
            for (int i = 0; i < SERVOS; ++i) {
                goals[i] = moving.joints[i].position + ((int64_t)1 << 28);
            }
            for (int tick = 0; tick < 10; ++tick) {
                if (tick == step && restarts == 0) {
                    arm.line.flip = 1;
                } else if (tick == step) {
                    servo_restart(&arm.line.servos[3]);
                    servo_set_word(&arm.line.servos[3], FEETECH_GOAL_POSITION, 2000);
                }
                runs(TICK);
                sends_command(plan_step(&moving, goals).targets, EXPIRY);
            }
            if (arm.state.arm != BRIDGE_RUNNING) { /* the servo has let go again */
                REQUIRE(restarts == 1 && arm.state.faults == BRIDGE_FAULT_DRIVE);
            }
            stays_within(0);
            power_off();
        }
    }
}

/* One command alone, and before the tick that takes the pose. */
static void a_command_may_come_before_the_pose(void)
{
    power_on(2300);
    runs(10 * TICK);
    sends_hello(77);
    runs(TICK);
    sends_clear();
    bridge_target targets[SERVOS];
    for (int i = 0; i < SERVOS; ++i) {
        targets[i] = (bridge_target){arm_position(&table.joints[i], 2500), 0};
    }
    sends_command(targets, EXPIRY);
    runs(TICK);
    REQUIRE(arm.state.arm == BRIDGE_RUNNING && told(0, FEETECH_TORQUE_ENABLE) == 0);
    runs(20 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_EXPIRED);
    for (int i = 0; i < SERVOS; ++i) {
        const arm_joint *joint = &table.joints[i]; /* one tick's way is less than the servos resolve */
        REQUIRE(arm.fw.motion.joints[i].position > arm_position(joint, 2300));
    }
    stays_within(0);
    power_off();
}

static void an_armed_arm_holds_its_pose(void)
{
    power_on(1234);
    runs(10 * TICK);
    sends_hello(5);
    runs(TICK);
    sends_clear();
    runs(3 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_READY);
    runs(2 * TICK); /* and when nobody goes on, it stops where it is */
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_EXPIRED);
    for (int i = 0; i < SERVOS; ++i) {
        REQUIRE(last_told(i, FEETECH_GOAL_POSITION)->value == 1234);
        REQUIRE(arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] == 1);
    }
    power_off();
}

/* Bit for bit what the computer's limiter has made. */
static void what_is_within_the_limits_is_followed(void)
{
    plan moving = in_motion();
    int64_t goals[SERVOS];
    for (int leg = 0; leg < 20; ++leg) {
        for (int i = 0; i < SERVOS; ++i) {
            const safety_limits *limits = &table.joints[i].limits;
            goals[i] = limits->lower + (int64_t)((uint64_t)any() * (uint64_t)(limits->upper - limits->lower) >> 32);
        }
        follows(&moving, goals, (int)any_below(200));
    }
    stays_within(0);
    power_off();
}

/* Whatever a computer asks for. */
static void what_is_not_is_limited(void)
{
    in_motion();
    bool limited = false;
    for (int tick = 0; tick < 5000; ++tick) {
        bridge_target wild[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            const int64_t far = (int64_t)1 << (28 + any_below(12));
            wild[i].position = (int64_t)(any() | (uint64_t)any() << 32) % far;
            wild[i].velocity = (int32_t)any() % (1 << 27);
        }
        sends_command(wild, EXPIRY);
        runs(TICK);
        REQUIRE(arm.state.arm == BRIDGE_RUNNING && arm.state.faults == 0);
        limited = limited || arm.state.limited != 0;
    }
    REQUIRE(limited);
    stays_within(0);
    power_off();
}

/* Until the next command the target moves on at its velocity. */
static void between_commands_the_target_moves_on(void)
{
    in_motion();
    const int32_t from = last_told(0, FEETECH_GOAL_POSITION)->value;
    const int32_t ticks = 2;
    runs(ticks * TICK);
    const int32_t moved = last_told(0, FEETECH_GOAL_POSITION)->value - from;
    REQUIRE(abs(moved - ticks * table.joints[0].travel / 2) <= 1);
    power_off();
}

static void an_arm_outside_its_limits_only_comes_back(void)
{
    const int32_t outside = 4000; /* beyond every joint's upper limit */
    power_on(outside);
    runs(10 * TICK);
    arms();
    int32_t last = outside;
    for (int tick = 0; tick < 1000; ++tick) {
        bridge_target out[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            out[i] = (bridge_target){(int64_t)1 << 38, 1000};
        }
        sends_command(out, EXPIRY);
        runs(TICK);
        const int32_t goal = last_told(0, FEETECH_GOAL_POSITION)->value;
        REQUIRE(goal <= last && last - goal <= table.joints[0].travel / 2 + 1);
        last = goal;
    }
    REQUIRE(last == arm_encoder(&table.joints[0], table.joints[0].limits.upper));
    power_off();
}

/* The loop was held up: what it missed is not caught up with. */
static void no_tick_is_made_up_for(void)
{
    in_motion();
    const size_t before = told(0, FEETECH_GOAL_POSITION);
    arm.now += 3 * TICK;
    runs(TICK);
    REQUIRE(told(0, FEETECH_GOAL_POSITION) == before + SERVOS);
    stays_within(0);
    power_off();
}

static void a_target_that_is_none_stops_the_arm(void)
{
    in_motion();
    bridge_target away[SERVOS] = {{0, 0}};
    away[3] = (bridge_target){(int64_t)1 << BRIDGE_MAX_POSITION_LOG2, 1 << BRIDGE_MAX_VELOCITY_LOG2};
    sends_command(away, EXPIRY);
    runs(TICK);
    REQUIRE(arm.state.arm == BRIDGE_RUNNING);
    runs(TICK); /* now it has moved on to where there are no positions */
    REQUIRE(arm.state.arm == BRIDGE_BRAKING && arm.state.faults == BRIDGE_FAULT_LIMITER);
    runs(200 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED);
    stays_within(0);
    power_off();
}

/* Memory that something has written over. */
static void a_state_that_is_none_stops_the_arm(void)
{
    in_motion();
    arm.fw.motion.joints[2].velocity = INT32_MAX;
    runs(TICK);
    REQUIRE(arm.state.arm == BRIDGE_BRAKING && arm.state.faults == BRIDGE_FAULT_LIMITER);
    runs(200 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED);
    power_off();
}

void test_motion(void)
{
    arming_begins_where_the_arm_is();
    arming_goes_on_after_damage();
    a_command_may_come_before_the_pose();
    an_armed_arm_holds_its_pose();
    what_is_within_the_limits_is_followed();
    what_is_not_is_limited();
    between_commands_the_target_moves_on();
    an_arm_outside_its_limits_only_comes_back();
    no_tick_is_made_up_for();
    a_target_that_is_none_stops_the_arm();
    a_state_that_is_none_stops_the_arm();
}
