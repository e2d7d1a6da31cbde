#include <stdlib.h>

#include "bench.h"

/* Comes to rest within the limits, and then nothing is said to the servos any more. */
static void comes_to_rest(uint16_t faults)
{
    runs(100 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == faults && arm.state.limited == 0);
    const size_t before = arm.line.written;
    runs(1000 * TICK);
    REQUIRE(arm.line.written == before);
    stays_within(0);
    for (int i = 0; i < SERVOS; ++i) { /* held, not dropped */
        REQUIRE(arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] == 1);
        REQUIRE(arm.line.servos[i].position == last_told(i, FEETECH_GOAL_POSITION)->value);
    }
}

/* Whether the goals from write `since` on are those of an arm in the state `from` that follows its target for so many
 * ticks more and then brakes. `braked` becomes the time when the first goal of the brake was decoded. */
static bool brakes_after(const plan *from, size_t since, int ticks, uint32_t *braked)
{
    int seen = 0;
    int rest = 0; /* goals until all joints rest */
    for (int i = 0; i < SERVOS; ++i) {
        const arm_joint *joint = &table.joints[i];
        safety_state state = from->joints[i];
        safety_target target = {state.position, state.velocity};
        seen = 0;
        for (size_t w = since; w < arm.line.written; ++w) {
            const servo_write *write = &arm.line.writes[w];
            if (write->servo != i || write->address != FEETECH_GOAL_POSITION) {
                continue;
            }
            target.position += target.velocity;
            if (seen < ticks) {
                safety_step(&joint->limits, &state, &target);
            } else {
                safety_brake(&joint->limits, &state);
            }
            if (write->value != arm_encoder(joint, state.position)) {
                return false;
            }
            *braked = seen == ticks ? write->time_us : *braked;
            seen += 1;
            if ((state.velocity != 0 || state.acceleration != 0) && seen >= rest) {
                rest = seen + 1;
            }
        }
    }
    REQUIRE(seen == rest + DRIVES_REPEATS);
    return true;
}

static uint32_t brakes_at(const plan *from, size_t since)
{
    uint32_t braked = 0;
    int ticks = 0;
    while (!brakes_after(from, since, ticks, &braked)) {
        ticks += 1;
        REQUIRE(ticks < 10);
    }
    return braked;
}

/* Whatever life the commands ask for, and wherever in a tick the last one comes. */
static void silence_stops_within_20_ms(void)
{
    for (uint16_t expiry = 10; expiry <= BRIDGE_MAX_EXPIRY_MS; expiry += 15) {
        for (uint32_t phase = 0; phase < TICK; phase += 5 * POLL_US) {
            plan moving = in_motion();
            int64_t goals[SERVOS];
            for (int i = 0; i < SERVOS; ++i) {
                goals[i] = far_away(i);
            }
            runs(phase);
            const plan before = moving;
            const size_t since = arm.line.written;
            sends_command(plan_step(&moving, goals).targets, expiry);
            const uint32_t heard = arm.now + POLL_US;
            comes_to_rest(BRIDGE_FAULT_EXPIRED);
            REQUIRE(brakes_at(&before, since) - heard <= FIRMWARE_SILENCE_US);
            power_off();
        }
    }
}

static void a_stop_stops_with_the_next_tick(void)
{
    const plan moving = in_motion();
    const size_t since = arm.line.written;
    sends_stop();
    const uint32_t heard = arm.now + POLL_US;
    comes_to_rest(BRIDGE_FAULT_STOP);
    REQUIRE(brakes_at(&moving, since) - heard <= TICK + FIRMWARE_WIRE_US);
    power_off();
}

static void nothing_stale_is_sent_after_a_stop(void)
{
    plan moving = in_motion();
    int64_t goals[SERVOS];
    for (int i = 0; i < SERVOS; ++i) {
        goals[i] = far_away(i);
    }
    bridge_message queued[3]; /* on their way while the stop overtakes them */
    for (int i = 0; i < 3; ++i) {
        bridge_command command = plan_step(&moving, goals);
        command.order = next_order(BRIDGE_MAX_EXPIRY_MS);
        queued[i] = (bridge_message){BRIDGE_COMMAND, {.command = command}};
    }
    sends_stop();
    runs(TICK);
    sends(&queued[0]);
    runs(100 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED);
    sends(&queued[1]);
    comes_to_rest(BRIDGE_FAULT_STOP);
    const size_t before = arm.line.written;
    sends_clear();
    runs(POLL_US);
    sends(&queued[2]); /* from before the clear */
    runs(3 * TICK);
    REQUIRE(arm.state.refusal == BRIDGE_OLD_SEQUENCE);
    for (size_t i = before; i < arm.line.written; ++i) {
        const servo_write *write = &arm.line.writes[i];
        REQUIRE(write->address != FEETECH_GOAL_POSITION || write->value == arm.line.servos[write->servo].position);
    }
    power_off();
}

static void the_emergency_stop_is_latched(void)
{
    const plan moving = in_motion();
    const size_t since = arm.line.written;
    arm.pressed = true;
    const uint32_t pressed = arm.now;
    runs(POLL_US);
    arm.pressed = false; /* however short it was */
    comes_to_rest(BRIDGE_FAULT_STOP);
    REQUIRE(brakes_at(&moving, since) - pressed <= TICK + FIRMWARE_WIRE_US);
    arms();
    arm.pressed = true;
    comes_to_rest(BRIDGE_FAULT_STOP);
    sends_clear();
    runs(TICK);
    REQUIRE(arm.state.refusal == BRIDGE_FAULT_PRESENT && arm.state.arm == BRIDGE_STOPPED);
    arm.pressed = false;
    runs(TICK);
    const uint16_t latch = arm.state.latch;
    arm.pressed = true; /* pressed anew: a clear that was decided before does not count */
    runs(2 * TICK);
    arm.pressed = false;
    runs(2 * TICK);
    REQUIRE(arm.state.latch == latch + 1);
    arm.state.latch = latch;
    sends_clear();
    runs(TICK);
    REQUIRE(arm.state.refusal == BRIDGE_WRONG_LATCH && arm.state.arm == BRIDGE_STOPPED);
    runs(TICK);
    arms();
    power_off();

    power_on(2048); /* pressed for a moment between two ticks: present for a whole tick, so that a clear sees it */
    runs(10 * TICK);
    sends_hello(77);
    runs(TICK);
    arm.pressed = true;
    runs(POLL_US);
    arm.pressed = false;
    runs(TICK);
    sends_clear();
    runs(POLL_US);
    REQUIRE(arm.fw.gate.refusal == BRIDGE_FAULT_PRESENT && arm.fw.gate.arm == BRIDGE_STOPPED);
    runs(TICK);
    sends_clear();
    runs(POLL_US);
    REQUIRE(arm.fw.gate.arm == BRIDGE_READY);
    power_off();

    power_on(2048); /* pressed at power-on */
    arm.pressed = true;
    runs(10 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_STOP);
    REQUIRE(told(0, FEETECH_GOAL_POSITION) + told(0, FEETECH_TORQUE_ENABLE) == 0);
    power_off();
}

static void only_a_clear_arms_and_from_the_measured_pose(void)
{
    in_motion();
    sends_stop();
    comes_to_rest(BRIDGE_FAULT_STOP);
    int32_t pose[SERVOS];
    for (int i = 0; i < SERVOS; ++i) { /* pushed away meanwhile, by hand */
        arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] = 0;
        pose[i] = arm.line.servos[i].position += i % 2 == 0 ? -200 : 200;
    }
    runs(100 * TICK); /* unbelievably quickly, so it takes the firmware a while */
    const size_t before = arm.line.written;
    const bridge_target nowhere[SERVOS] = {{0, 0}};
    sends_command(nowhere, EXPIRY);
    runs(10 * TICK);
    sends_hello(77); /* the same session again */
    runs(10 * TICK);
    REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.line.written == before);
    arm.sequence = arm.state.sequence;
    arms();
    for (int i = 0; i < SERVOS; ++i) {
        REQUIRE(arm.line.servos[i].position == pose[i]);
    }
    for (size_t i = before; i < arm.line.written; ++i) {
        const servo_write *write = &arm.line.writes[i];
        REQUIRE(write->address != FEETECH_GOAL_POSITION || write->value == pose[write->servo]);
    }
    power_off();
}

/* The only way to switch off, and not while it moves. */
static void torque_goes_off_on_request(void)
{
    in_motion();
    sends_release();
    runs(TICK);
    REQUIRE(arm.state.refusal == BRIDGE_NOT_AT_REST);
    sends_stop();
    comes_to_rest(BRIDGE_FAULT_STOP);
    REQUIRE(told(0, FEETECH_TORQUE_ENABLE) == SERVOS);
    arm.line.lose = 2; /* it takes until all servos say that they have let go */
    sends_release();
    runs(10 * TICK);
    for (int i = 0; i < SERVOS; ++i) {
        REQUIRE(arm.line.servos[i].registers[FEETECH_TORQUE_ENABLE] == 0);
    }
    const size_t before = arm.line.written;
    runs(100 * TICK);
    REQUIRE(arm.line.written == before && arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_STOP);
    arms();
    sends_stop();
    runs(50 * TICK);
    sends_release(); /* which a stop does not take back */
    runs(POLL_US);
    sends_stop();
    runs(10 * TICK);
    REQUIRE(arm.line.servos[0].registers[FEETECH_TORQUE_ENABLE] == 0);
    power_off();
}

/* Before the arm has come on. */
static void a_stop_ends_arming(void)
{
    for (uint32_t after = POLL_US; after < 3 * TICK; after += POLL_US) {
        power_on(2048);
        runs(10 * TICK);
        sends_hello(77);
        runs(TICK);
        sends_clear();
        runs(after);
        sends_stop();
        runs(POLL_US);
        const size_t before = arm.line.written;
        runs(100 * TICK);
        REQUIRE(arm.state.arm == BRIDGE_STOPPED && arm.state.faults == BRIDGE_FAULT_STOP);
        for (size_t i = before; i < arm.line.written; ++i) {
            REQUIRE(arm.line.writes[i].address == FEETECH_GOAL_POSITION && arm.line.writes[i].value == 2048);
        }
        power_off();
    }
}

void test_stop(void)
{
    silence_stops_within_20_ms();
    a_stop_stops_with_the_next_tick();
    nothing_stale_is_sent_after_a_stop();
    the_emergency_stop_is_latched();
    only_a_clear_arms_and_from_the_measured_pose();
    torque_goes_off_on_request();
    a_stop_ends_arming();
}
