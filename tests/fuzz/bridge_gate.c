/* Any messages at any times, right ones often: the microcontroller's laws, judged by a few lines that only remember. */
#include "bridge_gate.h"

#include <string.h>

#include "fuzz.h"

enum { JOINTS = 2, TICK_US = 1000, CONFIG = 7, MOST_MS = 80 };

typedef struct {
    const uint8_t *at;
    size_t left;
} input;

static uint8_t next(input *from)
{
    if (from->left == 0) {
        return 0;
    }
    from->left -= 1;
    return *from->at++;
}

typedef struct {
    bridge_gate gate;
    uint32_t now;
    uint32_t heard; /* when the last order that counted came, and for how long it lives */
    uint32_t lives;
    uint32_t highest; /* sequence number that counted in this session */
    uint32_t stops;   /* since the last clear that counted */
} bench;

static bool armed(const bench *arm)
{
    return arm->gate.arm == BRIDGE_READY || arm->gate.arm == BRIDGE_RUNNING;
}

static bridge_order any_order(bench *arm, input *from)
{
    const uint8_t choice = next(from);
    bridge_order order = {(uint16_t)(1 + next(from) % BRIDGE_MAX_EXPIRY_MS), arm->gate.session, arm->gate.sequence + 1,
                          arm->now - next(from) * 200u};
    order.session += (choice & 7) == 1;
    order.sequence -= (choice & 24) == 8 ? next(from) : 0u;
    order.sequence += (choice & 24) == 16 ? next(from) : 0u;
    order.basis_us += (choice & 32) ? 100000u : 0u;
    return order;
}

static bridge_message any_message(bench *arm, input *from)
{
    bridge_message message;
    memset(&message, 0, sizeof message);
    const uint8_t choice = next(from);
    switch (choice % 8) {
        case 0:
            message.kind = BRIDGE_STOP;
            break;
        case 1:
            message.kind = BRIDGE_HELLO;
            message.as.hello =
                (bridge_hello){JOINTS, TICK_US, BRIDGE_PROTOCOL ^ (next(from) > 250), 1u + next(from) % 4u, CONFIG, 0};
            break;
        case 2:
        case 3:
            message.kind = choice < 64 ? BRIDGE_RELEASE : BRIDGE_CLEAR;
            message.as.clear = (bridge_clear){any_order(arm, from), (uint16_t)(arm->gate.latch - next(from) / 128)};
            break;
        case 4:
            message.kind = BRIDGE_STATE;
            break;
        default:
            message.kind = BRIDGE_COMMAND;
            message.as.command.order = any_order(arm, from);
            message.as.command.joints = (uint8_t)(next(from) > 250 ? 1 : JOINTS);
            message.as.command.targets[0].position = (int64_t)message.as.command.order.sequence;
            break;
    }
    return message;
}

/* Of an order that counted: it is of this session, new, fresh, and came in time. */
static void counted(bench *arm, const bridge_order *order)
{
    must(order->session == arm->gate.session && order->session != 0 && order->sequence > arm->highest);
    must(arm->now - order->basis_us < order->expiry_ms * 1000u);
    arm->highest = order->sequence;
    arm->heard = arm->now;
    arm->lives = (order->expiry_ms < MOST_MS ? order->expiry_ms : MOST_MS) * 1000u;
}

static void receive(bench *arm, const bridge_message *message)
{
    bridge_message reply;
    const bool was_armed = armed(arm);
    const uint32_t session = arm->gate.session;
    switch (bridge_gate_receive(&arm->gate, arm->now, message, &reply)) {
        case BRIDGE_FOLLOW:
            must(message->kind == BRIDGE_COMMAND && was_armed && arm->stops == 0);
            must(arm->now - arm->heard < arm->lives && arm->gate.arm == BRIDGE_RUNNING);
            must(message->as.command.joints == JOINTS);
            counted(arm, &message->as.command.order);
            must(arm->gate.targets[0].position == (int64_t)arm->highest);
            break;
        case BRIDGE_ARM:
            must(message->kind == BRIDGE_CLEAR && !was_armed && arm->gate.arm == BRIDGE_READY);
            must(arm->gate.present == 0);
            counted(arm, &message->as.clear.order);
            arm->stops = 0;
            break;
        case BRIDGE_DROP:
            must(message->kind == BRIDGE_RELEASE && !armed(arm) && arm->gate.arm != BRIDGE_BRAKING);
            must(message->as.clear.order.sequence > arm->highest && message->as.clear.latch == arm->gate.latch);
            must(arm->now - message->as.clear.order.basis_us < message->as.clear.order.expiry_ms * 1000u);
            arm->highest = message->as.clear.order.sequence;
            break;
        case BRIDGE_BRAKE:
            must(message->kind == BRIDGE_STOP && !armed(arm));
            arm->stops += 1;
            break;
        case BRIDGE_ANSWER:
            must(message->kind == BRIDGE_HELLO && reply.kind == BRIDGE_HELLO_REPLY);
            if (arm->gate.session != session) {
                must(!armed(arm));
                arm->highest = 0;
            }
            break;
        default:
            must(was_armed || !armed(arm));
            break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input from = {data, size};
    bench arm;
    memset(&arm, 0, sizeof arm);
    arm.now = UINT32_MAX - 50000; /* the clock wraps on the way */
    bridge_gate_init(&arm.gate, JOINTS, TICK_US, CONFIG);
    bridge_gate_cap_expiry(&arm.gate, MOST_MS);
    while (from.left > 0) {
        const bool was_armed = armed(&arm);
        const uint8_t choice = next(&from);
        arm.now += (choice >> 3) * 100u;
        if (choice % 8 == 0) {
            bridge_gate_at_rest(&arm.gate);
        } else if (choice % 8 < 4) {
            const uint16_t present = next(&from) > 240 ? BRIDGE_FAULT_DRIVE : 0;
            bridge_gate_tick(&arm.gate, arm.now, present);
            must(present == 0 || !armed(&arm));
            must(!armed(&arm) || arm.now - arm.heard < arm.lives);
            must(was_armed || !armed(&arm));
        } else {
            const bridge_message message = any_message(&arm, &from);
            receive(&arm, &message);
        }
        must(!armed(&arm) || arm.gate.faults == 0);
        must(arm.stops == 0 || (arm.gate.faults & BRIDGE_FAULT_STOP) != 0);
    }
    bridge_message state = {BRIDGE_STATE, {.hello = {0}}};
    uint8_t out[BRIDGE_MAX_LENGTH];
    bridge_gate_report(&arm.gate, arm.now, &state.as.state);
    must(bridge_encode(&state, out) > 0);
    return 0;
}
