#include <stdlib.h>

#include "bench.h"

static void every_error_of_every_servo_stops_the_arm(void)
{
    for (int servo = 0; servo < SERVOS; ++servo) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            const uint8_t error = (uint8_t)(1u << bit);
            const uint16_t fault = error == FEETECH_ERROR_VOLTAGE ? BRIDGE_FAULT_POWER : BRIDGE_FAULT_DRIVE;
            in_motion();
            arm.line.servos[servo].jammed = error == FEETECH_ERROR_OVERLOAD;
            arm.line.servos[servo].error = error;
            runs(4 * TICK);
            REQUIRE(arm.state.arm == BRIDGE_BRAKING && arm.state.faults == fault);
            runs(200 * TICK);
            REQUIRE(arm.state.arm == BRIDGE_STOPPED);
            stays_within(0);
            if (error != FEETECH_ERROR_OVERLOAD) {
                sends_clear();
                runs(TICK);
                REQUIRE(arm.state.refusal == BRIDGE_FAULT_PRESENT && arm.state.arm == BRIDGE_STOPPED);
                arm.line.servos[servo].error = 0;
                runs(3 * TICK);
            }
            arms(); /* a servo leaves its overload when its torque comes on */
            REQUIRE(arm.line.servos[servo].error == 0);
            runs(TICK);
            REQUIRE((arm.state.faults & fault) == 0);
            power_off();
        }
    }
}

static void two_errors_are_two_faults(void)
{
    in_motion();
    arm.line.servos[3].error = FEETECH_ERROR_VOLTAGE | FEETECH_ERROR_OVERHEAT;
    runs(4 * TICK);
    REQUIRE(arm.state.faults == (BRIDGE_FAULT_POWER | BRIDGE_FAULT_DRIVE));
    power_off();
}

/* It holds while there is nobody to tell, and is found when somebody comes. */
static void an_error_of_an_idle_arm_shows(void)
{
    power_on(2048);
    arm.line.servos[4].error = FEETECH_ERROR_OVERLOAD;
    runs(100 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_DRIVE && arm.state.latch == 1);
    arms();
    power_off();
}

static void one_wrong_byte_is_no_fault(void)
{
    in_motion();
    arm.line.servos[1].error = FEETECH_ERROR_OVERHEAT;
    runs(TICK);
    arm.line.servos[1].error = 0;
    runs(TICK);
    REQUIRE(arm.state.arm == BRIDGE_RUNNING && arm.state.faults == 0);
    power_off();

    in_motion(); /* nor is one wrong byte of its torque */
    arm.line.servos[1].registers[FEETECH_TORQUE_ENABLE] = 0;
    runs(TICK);
    arm.line.servos[1].registers[FEETECH_TORQUE_ENABLE] = 1;
    runs(TICK);
    REQUIRE(arm.state.arm == BRIDGE_RUNNING && arm.state.faults == 0);
    power_off();
}

static void a_servo_that_falls_silent_stops_the_arm(void)
{
    for (int servo = 0; servo < SERVOS; ++servo) {
        plan moving = in_motion();
        int64_t goals[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            goals[i] = far_away(i);
        }
        arm.line.servos[servo].silent = true;
        follows(&moving, goals, SERVO_LOST); /* the last answer was on its way */
        REQUIRE(arm.state.stale == 1u << servo && arm.state.age_ms == (SERVO_LOST - 1) * TICK / 1000);
        sends_command(plan_step(&moving, goals).targets, EXPIRY);
        runs(TICK);
        REQUIRE(arm.state.arm == BRIDGE_BRAKING && arm.state.faults == BRIDGE_FAULT_FEEDBACK);
        const int32_t last = last_told(servo, FEETECH_GOAL_POSITION)->value;
        runs(1000 * TICK);
        REQUIRE(arm.state.age_ms == UINT8_MAX && arm.state.arm == BRIDGE_STOPPED);
        REQUIRE(last_told(servo, FEETECH_GOAL_POSITION)->value == last); /* the others brake without it */
        sends_clear();
        runs(TICK);
        REQUIRE(arm.state.refusal == BRIDGE_FAULT_PRESENT);
        arm.line.servos[servo].silent = false;
        runs(10 * TICK);
        REQUIRE(arm.state.stale == 0);
        stays_within(0);
        const size_t anew = arm.line.written;
        arms();
        stays_within(anew);
        power_off();
    }
}

/* Power of one servo comes and goes; it lets go and sinks meanwhile. */
static void restarts(int servo, int dead_ticks, int32_t sunk)
{
    emulated_servo *of = &arm.line.servos[servo];
    of->deaf = true;
    runs((uint32_t)dead_ticks * TICK);
    of->deaf = false;
    of->position += sunk;
    servo_restart(of);
}

/* A goal, too, switches torque on: what has sunk is not to be pulled up again while the others come to rest. */
static void a_servo_that_restarts_stops_the_arm_and_stays_limp(void)
{
    for (int dead_ticks = SERVO_LOST + 1; dead_ticks < 60; dead_ticks += 3) {
        in_motion();
        restarts(2, dead_ticks, -150);
        for (int tick = 0; tick < 400; ++tick) {
            runs(TICK);
            REQUIRE(arm.line.servos[2].registers[FEETECH_TORQUE_ENABLE] == 0);
        }
        REQUIRE(arm.state.arm == BRIDGE_STOPPED && (arm.state.faults & BRIDGE_FAULT_FEEDBACK) != 0);
        arms(); /* from where it is now */
        REQUIRE(last_told(2, FEETECH_GOAL_POSITION)->value == arm.line.servos[2].position);
        power_off();
    }
}

/* So short that it answers again before it is missed. Where a goal switches torque on, nobody would see it. */
static void a_short_dip_stops_the_arm_where_it_can_be_seen(void)
{
    in_motion();
    arm.line.servos[2].meek = true;
    servo_restart(&arm.line.servos[2]);
    runs(3 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_BRAKING && arm.state.faults == BRIDGE_FAULT_DRIVE);
    runs(200 * TICK);
    REQUIRE(arm.line.servos[2].registers[FEETECH_TORQUE_ENABLE] == 0); /* nothing is switched on by itself */
    arm.line.servos[2].meek = false;
    arms();
    power_off();
}

static void a_joint_that_does_not_follow_stops_the_arm(void)
{
    for (int servo = 0; servo < SERVOS; ++servo) {
        plan moving = in_motion();
        int64_t goals[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            const safety_limits *limits = &table.joints[i].limits;
            goals[i] = i % 2 == 0 ? limits->lower : limits->upper;
        }
        arm.line.servos[servo].jammed = true;
        bool stopped = false;
        for (int tick = 0; tick < 300 && !stopped; ++tick) {
            sends_command(plan_step(&moving, goals).targets, EXPIRY);
            runs(TICK);
            stopped = arm.state.arm != BRIDGE_RUNNING;
        }
        if (table.joints[servo].tracking == 0) { /* the gripper stops at what it holds */
            REQUIRE(!stopped);
        } else {
            REQUIRE(stopped && arm.state.faults == BRIDGE_FAULT_TRACKING);
            runs(400 * TICK);
            REQUIRE(arm.state.arm == BRIDGE_STOPPED);
        }
        power_off();
    }
}

/* A tick of commands to joint 0; whether it stood farther from its goal than it may. */
static bool behind_in_a_tick(plan *moving, int64_t *goals, int32_t encoder)
{
    const arm_joint *joint = &table.joints[0];
    const int32_t off = arm.fw.drives.goals[0] - arm.line.servos[0].position;
    goals[0] = arm_position(joint, encoder);
    sends_command(plan_step(moving, goals).targets, EXPIRY);
    runs(TICK);
    return abs(off) > joint->tracking;
}

/* To the encoder tick and to the tick of the clock, on either side. */
static void a_joint_may_be_so_far_for_so_long(void)
{
    const int32_t far = table.joints[0].tracking;
    const int most = FIRMWARE_TRACKING_US / TICK;
    for (int side = -1; side <= 1; side += 2) {
        power_on(2048);
        runs(10 * TICK);
        arms();
        plan moving = plan_from_here();
        int64_t goals[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            goals[i] = moving.joints[i].position;
        }
        arm.line.servos[0].jammed = true;
        for (int tick = 0; tick < 400; ++tick) {
            REQUIRE(!behind_in_a_tick(&moving, goals, 2048 + side * far));
            REQUIRE(arm.state.arm == BRIDGE_RUNNING);
        }
        REQUIRE(arm.fw.drives.goals[0] == 2048 + side * far);
        int behind = 0;
        while (arm.state.arm == BRIDGE_RUNNING) {
            behind += behind_in_a_tick(&moving, goals, 2048 + side * (far + 1));
        }
        REQUIRE(behind == most && arm.state.faults == BRIDGE_FAULT_TRACKING);
        power_off();
    }
}

/* Twice behind for more than half of the time that is allowed, and there in between. */
static void one_that_catches_up_does_not(void)
{
    power_on(2048);
    runs(10 * TICK);
    arms();
    plan moving = plan_from_here();
    const arm_joint *joint = &table.joints[0];
    const int most = FIRMWARE_TRACKING_US / TICK;
    int64_t goals[SERVOS];
    for (int i = 0; i < SERVOS; ++i) {
        goals[i] = moving.joints[i].position;
    }
    for (int there = 1; there >= 0; --there) {
        goals[0] = arm_position(joint, 2048 + there * (joint->tracking + 20));
        arm.line.servos[0].jammed = true;
        for (int behind = 0; behind <= most / 2;) {
            sends_command(plan_step(&moving, goals).targets, EXPIRY);
            runs(TICK);
            const int32_t goal = arm_encoder(joint, moving.joints[0].position);
            behind += abs(arm.line.servos[0].position - goal) > joint->tracking;
        }
        arm.line.servos[0].jammed = false;
        follows(&moving, goals, 200);
    }
    power_off();
}

static void servos_may_come_late_but_not_never(void)
{
    power_on(2048);
    for (int i = 0; i < SERVOS; ++i) {
        arm.line.servos[i].deaf = true;
    }
    runs(FIRMWARE_START_US - TICK);
    REQUIRE(arm.state.arm == BRIDGE_IDLE && arm.state.stale == (1u << SERVOS) - 1 && arm.state.age_ms == UINT8_MAX);
    runs(TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_FEEDBACK);
    for (int i = 0; i < SERVOS; ++i) {
        arm.line.servos[i].deaf = false;
    }
    runs(3 * SERVO_RETELL * TICK); /* one after the other is told that there is no time for its return delay */
    REQUIRE(arm.state.stale == 0);
    arms();
    power_off();
}

/* A clear before anything is known of the arm. */
static void an_arm_that_cannot_be_measured_is_not_armed(void)
{
    power_on(2048);
    arm.line.servos[3].deaf = true;
    runs(5 * TICK);
    sends_hello(77);
    runs(TICK);
    sends_clear();
    const bridge_target nowhere[SERVOS] = {{0, 0}};
    for (int tick = 0; tick < 2 * DRIVES_TRIES && arm.state.arm != BRIDGE_STOPPED; ++tick) {
        runs(TICK);
        sends_command(nowhere, EXPIRY);
    }
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_FEEDBACK);
    REQUIRE(told(0, FEETECH_GOAL_POSITION) + told(0, FEETECH_ACCELERATION) + told(0, FEETECH_TORQUE_ENABLE) == 0);
    power_off();
}

static void a_servo_that_does_not_obey_is_not_armed(void)
{
    const int registers[] = {FEETECH_GOAL_POSITION, FEETECH_TORQUE_ENABLE};
    for (int i = 0; i < 2; ++i) {
        power_on(2048);
        for (int servo = 0; servo < SERVOS; ++servo) {
            servo_set_word(&arm.line.servos[servo], FEETECH_GOAL_POSITION, 1000);
        }
        arm.line.servos[5].deaf_to = registers[i];
        runs(10 * TICK);
        sends_hello(77);
        runs(TICK);
        sends_clear();
        const bridge_target nowhere[SERVOS] = {{0, 0}};
        for (int tick = 0; tick < 2 * DRIVES_TRIES && arm.state.arm != BRIDGE_STOPPED; ++tick) {
            runs(TICK);
            sends_command(nowhere, EXPIRY);
        }
        REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_DRIVE);
        REQUIRE((told(0, FEETECH_TORQUE_ENABLE) > 0) == (registers[i] == FEETECH_TORQUE_ENABLE));
        for (int servo = 0; servo < SERVOS; ++servo) {
            REQUIRE(arm.line.servos[servo].position == 2048);
        }
        sends_release(); /* nor is it released for ever: what does not answer to it is a fault */
        arm.line.servos[5].registers[FEETECH_TORQUE_ENABLE] = 1;
        runs(3 * DRIVES_TRIES * TICK);
        const size_t before = arm.line.written;
        runs(100 * TICK);
        REQUIRE(arm.line.written == before && (arm.state.faults & BRIDGE_FAULT_DRIVE) != 0);
        power_off();
    }
}

/* In whole milliseconds, also where a tick has none. */
static void an_age_is_in_milliseconds(void)
{
    table.tick_us = 3999;
    power_on(2048);
    runs(100 * TICK);
    arm.line.servos[7].silent = true;
    for (int tick = 0; tick < 2 * SERVO_LOST; ++tick) {
        runs(TICK);
        const bus_servo *of = &arm.fw.bus.servos[7];
        REQUIRE(arm.state.age_ms == (of->known ? of->missed * 3999 / 1000 : UINT8_MAX));
        REQUIRE(arm.state.stale == (of->missed > 0) << 7);
    }
    power_off();
    table.tick_us = TICK;
}

void test_faults(void)
{
    every_error_of_every_servo_stops_the_arm();
    two_errors_are_two_faults();
    an_error_of_an_idle_arm_shows();
    one_wrong_byte_is_no_fault();
    a_servo_that_falls_silent_stops_the_arm();
    a_servo_that_restarts_stops_the_arm_and_stays_limp();
    a_short_dip_stops_the_arm_where_it_can_be_seen();
    a_joint_that_does_not_follow_stops_the_arm();
    a_joint_may_be_so_far_for_so_long();
    one_that_catches_up_does_not();
    servos_may_come_late_but_not_never();
    an_arm_that_cannot_be_measured_is_not_armed();
    a_servo_that_does_not_obey_is_not_armed();
    an_age_is_in_milliseconds();
}
