#include <string.h>

#include "bridge_gate.h"
#include "check.h"

enum { JOINTS = 2, TICK_US = 1000, CONFIG = 77, EXPIRY_MS = 20 };

/* A computer that does everything right, and what its arm does. */
typedef struct {
    bridge_gate gate;
    uint32_t now;
    uint32_t session;
    uint32_t sequence;
} bench;

static bench powered_on(uint32_t now)
{
    bench arm = {.now = now};
    memset(&arm.gate, 0xA5, sizeof arm.gate); /* whatever it was before */
    bridge_gate_init(&arm.gate, JOINTS, TICK_US, CONFIG);
    return arm;
}

static enum bridge_action receives(bench *arm, bridge_message message)
{
    bridge_message reply;
    memset(&reply, 0, sizeof reply);
    const enum bridge_action action = bridge_gate_receive(&arm->gate, arm->now, &message, &reply);
    if (action == BRIDGE_ANSWER) {
        uint8_t out[BRIDGE_MAX_LENGTH];
        REQUIRE(reply.kind == BRIDGE_HELLO_REPLY && bridge_encode(&reply, out) == BRIDGE_HELLO_LENGTH);
        REQUIRE(reply.as.hello.refusal == arm->gate.refusal && reply.as.hello.session == arm->gate.session);
        REQUIRE(reply.as.hello.protocol == BRIDGE_PROTOCOL && reply.as.hello.config == CONFIG);
    }
    return action;
}

static bridge_message hello(uint32_t session)
{
    return (bridge_message){BRIDGE_HELLO, {.hello = {JOINTS, TICK_US, BRIDGE_PROTOCOL, session, CONFIG, 0}}};
}

static bridge_message command(bench *arm)
{
    arm->sequence += 1;
    return (bridge_message){
        BRIDGE_COMMAND,
        {.command = {{EXPIRY_MS, arm->session, arm->sequence, arm->now}, JOINTS, {{arm->sequence, 1}, {-5, 0}}}}};
}

static bridge_message clear(bench *arm)
{
    arm->sequence += 1;
    return (bridge_message){BRIDGE_CLEAR,
                            {.clear = {{EXPIRY_MS, arm->session, arm->sequence, arm->now}, arm->gate.latch}}};
}

static const bridge_message stop = {BRIDGE_STOP, {.hello = {0}}};

static void begins(bench *arm, uint32_t session)
{
    arm->session = session;
    arm->sequence = 0;
    REQUIRE(receives(arm, hello(session)) == BRIDGE_ANSWER && arm->gate.refusal == BRIDGE_ACCEPTED);
}

static void waits(bench *arm, uint32_t us, uint16_t present)
{
    arm->now += us;
    bridge_gate_tick(&arm->gate, arm->now, present);
}

static bench running(void)
{
    bench arm = powered_on(UINT32_MAX - 5000); /* the clock wraps on the way */
    begins(&arm, 1234);
    REQUIRE(receives(&arm, clear(&arm)) == BRIDGE_ARM && arm.gate.arm == BRIDGE_READY);
    for (int i = 0; i < 20; ++i) {
        waits(&arm, 1000, 0);
        REQUIRE(receives(&arm, command(&arm)) == BRIDGE_FOLLOW && arm.gate.arm == BRIDGE_RUNNING);
        REQUIRE(arm.gate.targets[0].position == arm.sequence && arm.gate.targets[1].position == -5);
    }
    return arm;
}

static void refused(bench *arm, bridge_message message, enum bridge_refusal reason)
{
    const bridge_gate before = arm->gate;
    REQUIRE(receives(arm, message) == (message.kind == BRIDGE_HELLO ? BRIDGE_ANSWER : BRIDGE_NOTHING));
    REQUIRE(arm->gate.refusal == reason);
    REQUIRE(arm->gate.arm == before.arm && arm->gate.session == before.session && arm->gate.latch == before.latch);
    REQUIRE(arm->gate.sequence == before.sequence && arm->gate.accepted_us == before.accepted_us);
    REQUIRE(memcmp(arm->gate.targets, before.targets, sizeof before.targets) == 0);
}

static void another_protocol_or_arm_opens_no_session(void)
{
    bench arm = powered_on(0);
    bridge_message other = hello(5);
    other.as.hello.protocol ^= 1;
    refused(&arm, other, BRIDGE_WRONG_PROTOCOL);
    other = hello(5);
    other.as.hello.joints = 6;
    refused(&arm, other, BRIDGE_WRONG_JOINTS);
    other = hello(5);
    other.as.hello.tick_us = 2000;
    refused(&arm, other, BRIDGE_WRONG_TICK);
    other = hello(5);
    other.as.hello.config = 78;
    refused(&arm, other, BRIDGE_WRONG_CONFIG);
    refused(&arm, command(&arm), BRIDGE_NO_SESSION); /* of session 0, which is none */
    arm.session = 5;
    refused(&arm, command(&arm), BRIDGE_NO_SESSION);
    refused(&arm, clear(&arm), BRIDGE_NO_SESSION);
    REQUIRE(arm.gate.session == 0 && arm.gate.arm == BRIDGE_IDLE);
}

static void only_a_clear_arms(void)
{
    bench arm = powered_on(0);
    begins(&arm, 5);
    refused(&arm, command(&arm), BRIDGE_NOT_ARMED);
    bridge_message other = clear(&arm);
    other.as.clear.latch += 1;
    refused(&arm, other, BRIDGE_WRONG_LATCH);
    REQUIRE(receives(&arm, clear(&arm)) == BRIDGE_ARM);
    refused(&arm, clear(&arm), BRIDGE_NOT_AT_REST);
    REQUIRE(receives(&arm, command(&arm)) == BRIDGE_FOLLOW);
    refused(&arm, clear(&arm), BRIDGE_NOT_AT_REST);
    other = command(&arm);
    other.as.command.joints = 1;
    refused(&arm, other, BRIDGE_WRONG_JOINTS);
    REQUIRE(receives(&arm, (bridge_message){BRIDGE_STATE, {.hello = {0}}}) == BRIDGE_NOTHING);
}

static void every_order_counts_once_and_in_order(void)
{
    bench arm = running();
    const bridge_message old = command(&arm);
    const bridge_message newer = command(&arm);
    REQUIRE(receives(&arm, newer) == BRIDGE_FOLLOW);
    refused(&arm, newer, BRIDGE_OLD_SEQUENCE);
    refused(&arm, old, BRIDGE_OLD_SEQUENCE);
    bridge_message last = command(&arm);
    last.as.command.order.sequence = UINT32_MAX;
    REQUIRE(receives(&arm, last) == BRIDGE_FOLLOW);
    refused(&arm, command(&arm), BRIDGE_OLD_SEQUENCE);
}

/* However it was delayed: commands keep coming, each as late as the one before it. */
static void what_was_held_up_is_not_followed(void)
{
    bench arm = running();
    for (uint32_t late = 0; late < 40000; late += 500) {
        bridge_message held = command(&arm);
        held.as.command.order.basis_us = arm.now - late;
        if (late < EXPIRY_MS * 1000) {
            REQUIRE(receives(&arm, held) == BRIDGE_FOLLOW);
        } else {
            refused(&arm, held, BRIDGE_STALE);
        }
    }
    bridge_message future = command(&arm);
    future.as.command.order.basis_us = arm.now + 1;
    refused(&arm, future, BRIDGE_STALE);
}

static void silence_brakes(void)
{
    bench arm = running();
    waits(&arm, EXPIRY_MS * 1000 - 1, 0);
    REQUIRE(arm.gate.arm == BRIDGE_RUNNING);
    waits(&arm, 1, 0);
    REQUIRE(arm.gate.arm == BRIDGE_BRAKING && arm.gate.faults == BRIDGE_FAULT_EXPIRED);
    refused(&arm, command(&arm), BRIDGE_NOT_ARMED);
    refused(&arm, clear(&arm), BRIDGE_NOT_AT_REST);
    bridge_gate_at_rest(&arm.gate);
    REQUIRE(arm.gate.arm == BRIDGE_STOPPED);
    refused(&arm, command(&arm), BRIDGE_NOT_ARMED);
    REQUIRE(receives(&arm, clear(&arm)) == BRIDGE_ARM && arm.gate.faults == 0);
    bridge_gate_at_rest(&arm.gate);
    REQUIRE(arm.gate.arm == BRIDGE_READY);
    waits(&arm, EXPIRY_MS * 1000, 0); /* nobody goes on */
    REQUIRE(arm.gate.arm == BRIDGE_BRAKING);
}

/* From when it came, not from when it was sent; and however late the tick is that looks. */
static void life_begins_on_arrival(void)
{
    bench arm = running();
    bridge_message held = command(&arm);
    held.as.command.order.basis_us -= EXPIRY_MS * 1000 - 1;
    REQUIRE(receives(&arm, held) == BRIDGE_FOLLOW);
    waits(&arm, EXPIRY_MS * 1000 - 1, 0);
    REQUIRE(arm.gate.arm == BRIDGE_RUNNING);
    waits(&arm, UINT32_C(2000000000), 0);
    REQUIRE(arm.gate.arm == BRIDGE_BRAKING && arm.gate.faults == BRIDGE_FAULT_EXPIRED);
}

/* Even when the command that is too late arrives before the tick that would have said so. */
static void too_late_is_too_late(void)
{
    bench arm = running();
    arm.now += EXPIRY_MS * 1000;
    bridge_message late = command(&arm);
    REQUIRE(receives(&arm, late) == BRIDGE_NOTHING && arm.gate.refusal == BRIDGE_NOT_ARMED);
    REQUIRE(arm.gate.arm == BRIDGE_BRAKING && arm.gate.faults == BRIDGE_FAULT_EXPIRED);
}

static void a_stop_always_counts(void)
{
    bench arm = running();
    const bridge_message queued = command(&arm);
    const bridge_message cleared = clear(&arm);
    REQUIRE(receives(&arm, stop) == BRIDGE_BRAKE && arm.gate.arm == BRIDGE_BRAKING);
    REQUIRE(receives(&arm, stop) == BRIDGE_BRAKE && arm.gate.arm == BRIDGE_BRAKING);
    refused(&arm, queued, BRIDGE_NOT_ARMED);
    bridge_gate_at_rest(&arm.gate);
    refused(&arm, cleared, BRIDGE_WRONG_LATCH); /* it was decided before the stop */
    const bridge_message decided = clear(&arm);
    REQUIRE(receives(&arm, stop) == BRIDGE_BRAKE && arm.gate.arm == BRIDGE_STOPPED);
    refused(&arm, decided, BRIDGE_WRONG_LATCH); /* and so was this one, before the third */
    const bridge_message before = command(&arm);
    REQUIRE(receives(&arm, clear(&arm)) == BRIDGE_ARM);
    refused(&arm, before, BRIDGE_OLD_SEQUENCE); /* what was sent before the clear stays undone */
    REQUIRE(receives(&arm, command(&arm)) == BRIDGE_FOLLOW);

    bench idle = powered_on(0); /* without a session, too */
    REQUIRE(receives(&idle, stop) == BRIDGE_BRAKE && idle.gate.arm == BRIDGE_STOPPED);
    REQUIRE(idle.gate.faults == BRIDGE_FAULT_STOP);
}

static void another_computer_stops_the_arm(void)
{
    bench arm = running();
    REQUIRE(receives(&arm, hello(arm.session)) == BRIDGE_ANSWER); /* the same one again */
    REQUIRE(arm.gate.arm == BRIDGE_RUNNING && arm.gate.sequence == arm.sequence);
    bench earlier = arm;
    begins(&arm, 99);
    REQUIRE(arm.gate.arm == BRIDGE_BRAKING && arm.gate.faults == BRIDGE_FAULT_SESSION && arm.gate.sequence == 0);
    refused(&arm, command(&earlier), BRIDGE_NO_SESSION);
    refused(&arm, clear(&earlier), BRIDGE_NO_SESSION);
    bridge_gate_at_rest(&arm.gate);
    begins(&arm, 100); /* at rest it changes nothing */
    REQUIRE(arm.gate.arm == BRIDGE_STOPPED && arm.gate.faults == BRIDGE_FAULT_SESSION);
}

static void a_fault_brakes_and_stays(void)
{
    bench arm = running();
    const uint16_t latch = arm.gate.latch;
    waits(&arm, 1000, BRIDGE_FAULT_FEEDBACK);
    waits(&arm, 1000, BRIDGE_FAULT_FEEDBACK | BRIDGE_FAULT_DRIVE);
    waits(&arm, 1000, BRIDGE_FAULT_DRIVE);
    REQUIRE(arm.gate.arm == BRIDGE_BRAKING);
    REQUIRE(arm.gate.faults == (BRIDGE_FAULT_FEEDBACK | BRIDGE_FAULT_DRIVE) && arm.gate.latch == latch + 2);
    bridge_gate_at_rest(&arm.gate);
    refused(&arm, clear(&arm), BRIDGE_FAULT_PRESENT);
    waits(&arm, 1000, 0);
    REQUIRE(arm.gate.faults == (BRIDGE_FAULT_FEEDBACK | BRIDGE_FAULT_DRIVE));
    REQUIRE(receives(&arm, clear(&arm)) == BRIDGE_ARM && arm.gate.faults == 0);
}

static void no_order_lives_longer_than_the_cap(void)
{
    bench arm = powered_on(0);
    begins(&arm, 5);
    bridge_gate_cap_expiry(&arm.gate, EXPIRY_MS - 4);
    REQUIRE(receives(&arm, clear(&arm)) == BRIDGE_ARM);
    REQUIRE(receives(&arm, command(&arm)) == BRIDGE_FOLLOW);
    waits(&arm, (EXPIRY_MS - 4) * 1000 - 1, 0);
    REQUIRE(arm.gate.arm == BRIDGE_RUNNING);
    bridge_message held = command(&arm); /* how old an order may be is still for it to say */
    held.as.command.order.basis_us -= EXPIRY_MS * 1000 - 1;
    REQUIRE(receives(&arm, held) == BRIDGE_FOLLOW);
    arm.now += (EXPIRY_MS - 4) * 1000 - 1; /* not over, and then over, to the microsecond */
    REQUIRE(receives(&arm, command(&arm)) == BRIDGE_FOLLOW);
    bench other = arm;
    waits(&other, (EXPIRY_MS - 4) * 1000, 0);
    REQUIRE(other.gate.arm == BRIDGE_BRAKING && other.gate.faults == BRIDGE_FAULT_EXPIRED);
    bridge_message brief = command(&arm);
    brief.as.command.order.expiry_ms = 2;
    REQUIRE(receives(&arm, brief) == BRIDGE_FOLLOW);
    waits(&arm, 1999, 0);
    REQUIRE(arm.gate.arm == BRIDGE_RUNNING);
    waits(&arm, 1, 0);
    REQUIRE(arm.gate.arm == BRIDGE_BRAKING && arm.gate.faults == BRIDGE_FAULT_EXPIRED);
}

static bridge_message release(bench *arm)
{
    bridge_message message = clear(arm);
    message.kind = BRIDGE_RELEASE;
    return message;
}

static void only_an_arm_at_rest_is_released(void)
{
    bench arm = powered_on(0);
    refused(&arm, release(&arm), BRIDGE_NO_SESSION);
    begins(&arm, 5);
    const bridge_message first = release(&arm);
    REQUIRE(receives(&arm, first) == BRIDGE_DROP && arm.gate.arm == BRIDGE_IDLE);
    REQUIRE(arm.gate.sequence == arm.sequence);
    refused(&arm, first, BRIDGE_OLD_SEQUENCE);
    const bridge_message before = command(&arm);
    REQUIRE(receives(&arm, clear(&arm)) == BRIDGE_ARM);
    refused(&arm, release(&arm), BRIDGE_NOT_AT_REST);
    REQUIRE(receives(&arm, command(&arm)) == BRIDGE_FOLLOW);
    refused(&arm, release(&arm), BRIDGE_NOT_AT_REST);
    waits(&arm, 1000, BRIDGE_FAULT_DRIVE);
    refused(&arm, release(&arm), BRIDGE_NOT_AT_REST);
    bridge_gate_at_rest(&arm.gate);
    bridge_message other = release(&arm);
    other.as.clear.latch -= 1;
    refused(&arm, other, BRIDGE_WRONG_LATCH);
    REQUIRE(receives(&arm, release(&arm)) == BRIDGE_DROP); /* although the fault is still there, and stays */
    REQUIRE(arm.gate.arm == BRIDGE_STOPPED && arm.gate.faults == BRIDGE_FAULT_DRIVE);
    refused(&arm, before, BRIDGE_OLD_SEQUENCE);
    refused(&arm, command(&arm), BRIDGE_NOT_ARMED);
}

static void reports(void)
{
    bench arm = running();
    bridge_message message = {BRIDGE_STATE, {.hello = {0}}};
    uint8_t out[BRIDGE_MAX_LENGTH];
    waits(&arm, 1000, BRIDGE_FAULT_TRACKING);
    refused(&arm, command(&arm), BRIDGE_NOT_ARMED);
    bridge_gate_report(&arm.gate, arm.now, &message.as.state);
    const bridge_state *state = &message.as.state;
    REQUIRE(bridge_encode(&message, out) == BRIDGE_STATE_LENGTH + JOINTS * BRIDGE_POSITION_LENGTH);
    REQUIRE(state->joints == JOINTS && state->arm == BRIDGE_BRAKING && state->refusal == BRIDGE_NOT_ARMED);
    REQUIRE(state->session == arm.session && state->sequence == arm.gate.sequence && state->time_us == arm.now);
    REQUIRE(state->faults == BRIDGE_FAULT_TRACKING && state->latch == 1);
}

void test_bridge_gate(void)
{
    another_protocol_or_arm_opens_no_session();
    only_a_clear_arms();
    every_order_counts_once_and_in_order();
    what_was_held_up_is_not_followed();
    silence_brakes();
    life_begins_on_arrival();
    too_late_is_too_late();
    a_stop_always_counts();
    another_computer_stops_the_arm();
    a_fault_brakes_and_stays();
    no_order_lives_longer_than_the_cap();
    only_an_arm_at_rest_is_released();
    reports();
}
