#include "bridge_gate.h"

#include <string.h>

void bridge_gate_init(bridge_gate *gate, uint8_t joints, uint16_t tick_us, uint32_t config)
{
    memset(gate, 0, sizeof *gate);
    gate->joints = joints;
    gate->tick_us = tick_us;
    gate->config = config;
    gate->max_expiry_ms = BRIDGE_MAX_EXPIRY_MS;
    gate->arm = BRIDGE_IDLE;
}

void bridge_gate_cap_expiry(bridge_gate *gate, uint16_t most_ms)
{
    gate->max_expiry_ms = most_ms;
}

static bool armed(const bridge_gate *gate)
{
    return gate->arm == BRIDGE_READY || gate->arm == BRIDGE_RUNNING;
}

static void latch(bridge_gate *gate, uint16_t faults)
{
    gate->faults |= faults;
    gate->latch += 1;
    if (armed(gate)) {
        gate->arm = BRIDGE_BRAKING;
    } else if (gate->arm == BRIDGE_IDLE) {
        gate->arm = BRIDGE_STOPPED;
    }
}

/* An order lives as long as it asks for, and no longer than the cap. */
static void expire(bridge_gate *gate, uint32_t now_us)
{
    const uint32_t lived_us = now_us - gate->accepted_us;
    const bool over = lived_us >= gate->expiry_ms * UINT32_C(1000) || lived_us >= gate->max_expiry_ms * UINT32_C(1000);
    if (armed(gate) && over) {
        latch(gate, BRIDGE_FAULT_EXPIRED);
    }
}

static enum bridge_refusal judge_hello(const bridge_gate *gate, const bridge_hello *hello)
{
    if (hello->protocol != BRIDGE_PROTOCOL) {
        return BRIDGE_WRONG_PROTOCOL;
    }
    if (hello->joints != gate->joints) {
        return BRIDGE_WRONG_JOINTS;
    }
    if (hello->tick_us != gate->tick_us) {
        return BRIDGE_WRONG_TICK;
    }
    return hello->config == gate->config ? BRIDGE_ACCEPTED : BRIDGE_WRONG_CONFIG;
}

static void open_session(bridge_gate *gate, uint32_t session)
{
    if (session == gate->session) {
        return; /* the same hello again, because its reply was lost */
    }
    if (armed(gate)) {
        latch(gate, BRIDGE_FAULT_SESSION);
    }
    gate->session = session;
    gate->sequence = 0;
}

static void answer(const bridge_gate *gate, bridge_message *reply)
{
    reply->kind = BRIDGE_HELLO_REPLY;
    reply->as.hello =
        (bridge_hello){gate->joints, gate->tick_us, BRIDGE_PROTOCOL, gate->session, gate->config, gate->refusal};
}

/* What is refused on its own account, whatever the arm is doing. The basis is a time of this clock that came back with
 * the order: an order held up on its way is as old as it is, without the two clocks ever being compared. */
static enum bridge_refusal judge_order(const bridge_gate *gate, uint32_t now_us, const bridge_order *order)
{
    if (order->session == 0 || order->session != gate->session) {
        return BRIDGE_NO_SESSION;
    }
    if (order->sequence <= gate->sequence) {
        return BRIDGE_OLD_SEQUENCE;
    }
    return now_us - order->basis_us < order->expiry_ms * UINT32_C(1000) ? BRIDGE_ACCEPTED : BRIDGE_STALE;
}

static enum bridge_refusal judge_command(const bridge_gate *gate, uint32_t now_us, const bridge_command *command)
{
    if (command->joints != gate->joints) {
        return BRIDGE_WRONG_JOINTS;
    }
    const enum bridge_refusal refusal = judge_order(gate, now_us, &command->order);
    return refusal == BRIDGE_ACCEPTED && !armed(gate) ? BRIDGE_NOT_ARMED : refusal;
}

/* Of an arm that stands: it is told apart from one that has been stopped anew since. */
static enum bridge_refusal judge_release(const bridge_gate *gate, uint32_t now_us, const bridge_clear *clear)
{
    const enum bridge_refusal refusal = judge_order(gate, now_us, &clear->order);
    if (refusal != BRIDGE_ACCEPTED) {
        return refusal;
    }
    if (armed(gate) || gate->arm == BRIDGE_BRAKING) {
        return BRIDGE_NOT_AT_REST;
    }
    return clear->latch == gate->latch ? BRIDGE_ACCEPTED : BRIDGE_WRONG_LATCH;
}

static enum bridge_refusal judge_clear(const bridge_gate *gate, uint32_t now_us, const bridge_clear *clear)
{
    const enum bridge_refusal refusal = judge_release(gate, now_us, clear);
    return refusal == BRIDGE_ACCEPTED && gate->present != 0 ? BRIDGE_FAULT_PRESENT : refusal;
}

static void accept(bridge_gate *gate, uint32_t now_us, const bridge_order *order, enum bridge_arm arm)
{
    gate->sequence = order->sequence;
    gate->accepted_us = now_us;
    gate->expiry_ms = order->expiry_ms;
    gate->arm = (uint8_t)arm;
}

enum bridge_action bridge_gate_receive(bridge_gate *gate, uint32_t now_us, const bridge_message *message,
                                       bridge_message *reply)
{
    expire(gate, now_us); /* whatever came too late is too late, even when no tick has said so yet */
    switch (message->kind) {
        case BRIDGE_STOP:
            latch(gate, BRIDGE_FAULT_STOP);
            return BRIDGE_BRAKE;
        case BRIDGE_HELLO:
            gate->refusal = (uint8_t)judge_hello(gate, &message->as.hello);
            if (gate->refusal == BRIDGE_ACCEPTED) {
                open_session(gate, message->as.hello.session);
            }
            answer(gate, reply);
            return BRIDGE_ANSWER;
        case BRIDGE_COMMAND:
            gate->refusal = (uint8_t)judge_command(gate, now_us, &message->as.command);
            if (gate->refusal != BRIDGE_ACCEPTED) {
                return BRIDGE_NOTHING;
            }
            accept(gate, now_us, &message->as.command.order, BRIDGE_RUNNING);
            memcpy(gate->targets, message->as.command.targets, sizeof gate->targets);
            return BRIDGE_FOLLOW;
        case BRIDGE_CLEAR:
            gate->refusal = (uint8_t)judge_clear(gate, now_us, &message->as.clear);
            if (gate->refusal != BRIDGE_ACCEPTED) {
                return BRIDGE_NOTHING;
            }
            accept(gate, now_us, &message->as.clear.order, BRIDGE_READY);
            gate->faults = 0;
            return BRIDGE_ARM;
        case BRIDGE_RELEASE:
            gate->refusal = (uint8_t)judge_release(gate, now_us, &message->as.clear);
            if (gate->refusal != BRIDGE_ACCEPTED) {
                return BRIDGE_NOTHING;
            }
            gate->sequence = message->as.clear.order.sequence;
            return BRIDGE_DROP;
        default: /* our own kinds, come back */
            return BRIDGE_NOTHING;
    }
}

void bridge_gate_tick(bridge_gate *gate, uint32_t now_us, uint16_t present)
{
    gate->present = present;
    if ((present & ~(unsigned)gate->faults) != 0) {
        latch(gate, present);
    }
    expire(gate, now_us);
}

void bridge_gate_at_rest(bridge_gate *gate)
{
    if (gate->arm == BRIDGE_BRAKING) {
        gate->arm = BRIDGE_STOPPED;
    }
}

void bridge_gate_report(const bridge_gate *gate, uint32_t now_us, bridge_state *state)
{
    memset(state, 0, sizeof *state);
    state->joints = gate->joints;
    state->arm = gate->arm;
    state->refusal = gate->refusal;
    state->session = gate->session;
    state->sequence = gate->sequence;
    state->time_us = now_us;
    state->faults = gate->faults;
    state->latch = gate->latch;
}
