#include "bridge.h"

#include <string.h>

#include "crc32.h"

static const int64_t farthest = (int64_t)1 << BRIDGE_MAX_POSITION_LOG2;
static const int32_t fastest = (int32_t)1 << BRIDGE_MAX_VELOCITY_LOG2;

size_t bridge_length(uint8_t kind, uint8_t joints)
{
    const bool some = joints > 0 && joints <= BRIDGE_MAX_JOINTS;
    switch (kind) {
        case BRIDGE_HELLO:
        case BRIDGE_HELLO_REPLY:
            return BRIDGE_HELLO_LENGTH; /* any number of joints, so that a wrong one can be answered */
        case BRIDGE_COMMAND:
            return some ? (size_t)BRIDGE_COMMAND_LENGTH + joints * (size_t)BRIDGE_TARGET_LENGTH : 0;
        case BRIDGE_STATE:
            return some ? (size_t)BRIDGE_STATE_LENGTH + joints * (size_t)BRIDGE_POSITION_LENGTH : 0;
        case BRIDGE_STOP:
            return joints == 0 ? BRIDGE_STOP_LENGTH : 0;
        case BRIDGE_CLEAR:
        case BRIDGE_RELEASE:
            return joints == 0 ? BRIDGE_CLEAR_LENGTH : 0;
        default:
            return 0;
    }
}

/* --- what a message may say, in either direction ------------------------------------------------------------------ */

static bool hello_allowed(const bridge_hello *hello, uint8_t kind)
{
    return kind == BRIDGE_HELLO_REPLY || (hello->session != 0 && hello->refusal == BRIDGE_ACCEPTED);
}

static bool order_allowed(const bridge_order *order)
{
    return order->expiry_ms > 0 && order->expiry_ms <= BRIDGE_MAX_EXPIRY_MS && order->session != 0 &&
           order->sequence != 0;
}

static bool position_allowed(int64_t position)
{
    return position >= -farthest && position <= farthest;
}

static bool command_allowed(const bridge_command *command)
{
    bool allowed = order_allowed(&command->order);
    for (size_t i = 0; i < command->joints; ++i) {
        const bridge_target *target = &command->targets[i];
        allowed = allowed && position_allowed(target->position) && target->velocity >= -fastest &&
                  target->velocity <= fastest;
    }
    return allowed;
}

static bool state_allowed(const bridge_state *state)
{
    bool allowed = state->arm >= BRIDGE_IDLE && state->arm <= BRIDGE_STOPPED &&
                   state->refusal <= BRIDGE_FAULT_PRESENT && (state->faults & ~(unsigned)BRIDGE_FAULTS) == 0 &&
                   state->limited >> state->joints == 0 && state->stale >> state->joints == 0;
    for (size_t i = 0; i < state->joints; ++i) {
        allowed = allowed && position_allowed(state->positions[i]);
    }
    return allowed;
}

static bool allowed(const bridge_message *message)
{
    switch (message->kind) {
        case BRIDGE_COMMAND:
            return command_allowed(&message->as.command);
        case BRIDGE_STATE:
            return state_allowed(&message->as.state);
        case BRIDGE_CLEAR:
        case BRIDGE_RELEASE:
            return order_allowed(&message->as.clear.order);
        case BRIDGE_STOP:
            return true;
        default:
            return hello_allowed(&message->as.hello, message->kind);
    }
}

/* --- encoding ------------------------------------------------------------------------------------------------------
 */

static uint8_t *put(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; ++i) {
        *to++ = (uint8_t)(value >> (8 * i) & 0xFF);
    }
    return to;
}

static uint8_t *put_hello(uint8_t *to, const bridge_hello *hello)
{
    to = put(to, hello->tick_us, 2);
    to = put(to, hello->protocol, 4);
    to = put(to, hello->session, 4);
    to = put(to, hello->config, 4);
    return put(to, hello->refusal, 1);
}

static uint8_t *put_order(uint8_t *to, const bridge_order *order)
{
    to = put(to, order->expiry_ms, 2);
    to = put(to, order->session, 4);
    to = put(to, order->sequence, 4);
    return put(to, order->basis_us, 4);
}

static uint8_t *put_command(uint8_t *to, const bridge_command *command)
{
    to = put_order(to, &command->order);
    for (size_t i = 0; i < command->joints; ++i) {
        to = put(to, (uint64_t)command->targets[i].position, 6);
        to = put(to, (uint32_t)command->targets[i].velocity, 4);
    }
    return to;
}

static uint8_t *put_state(uint8_t *to, const bridge_state *state)
{
    to = put(to, state->arm, 1);
    to = put(to, state->refusal, 1);
    to = put(to, state->session, 4);
    to = put(to, state->sequence, 4);
    to = put(to, state->time_us, 4);
    to = put(to, state->faults, 2);
    to = put(to, state->latch, 2);
    to = put(to, state->limited, 1);
    to = put(to, state->stale, 1);
    to = put(to, state->age_ms, 1);
    for (size_t i = 0; i < state->joints; ++i) {
        to = put(to, (uint64_t)state->positions[i], 6);
    }
    return to;
}

static uint8_t joints_of(const bridge_message *message)
{
    switch (message->kind) {
        case BRIDGE_HELLO:
        case BRIDGE_HELLO_REPLY:
            return message->as.hello.joints;
        case BRIDGE_COMMAND:
            return message->as.command.joints;
        case BRIDGE_STATE:
            return message->as.state.joints;
        default:
            return 0;
    }
}

size_t bridge_encode(const bridge_message *message, uint8_t out[BRIDGE_MAX_LENGTH])
{
    const uint8_t joints = joints_of(message);
    const size_t length = bridge_length(message->kind, joints);
    if (length == 0 || !allowed(message)) {
        return 0;
    }
    uint8_t *to = put(put(out, message->kind, 1), joints, 1);
    switch (message->kind) {
        case BRIDGE_COMMAND:
            to = put_command(to, &message->as.command);
            break;
        case BRIDGE_STATE:
            to = put_state(to, &message->as.state);
            break;
        case BRIDGE_CLEAR:
        case BRIDGE_RELEASE:
            to = put(put_order(to, &message->as.clear.order), message->as.clear.latch, 2);
            break;
        case BRIDGE_STOP:
            break;
        default:
            to = put_hello(to, &message->as.hello);
            break;
    }
    put(to, edgearm_crc32(out, length - BRIDGE_CRC_LENGTH), BRIDGE_CRC_LENGTH);
    return length;
}

/* --- decoding ------------------------------------------------------------------------------------------------------
 */

typedef struct {
    const uint8_t *at;
} reader;

static uint64_t get(reader *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) {
        value |= (uint64_t)*from->at++ << (8 * i);
    }
    return value;
}

/* Two's complement without relying on how a too large number is converted. */
static int64_t get_signed(reader *from, int bytes)
{
    const uint64_t sign = UINT64_C(1) << (8 * bytes - 1);
    return (int64_t)(get(from, bytes) ^ sign) - (int64_t)sign;
}

static void get_hello(reader *from, bridge_hello *hello)
{
    hello->tick_us = (uint16_t)get(from, 2);
    hello->protocol = (uint32_t)get(from, 4);
    hello->session = (uint32_t)get(from, 4);
    hello->config = (uint32_t)get(from, 4);
    hello->refusal = (uint8_t)get(from, 1);
}

static void get_order(reader *from, bridge_order *order)
{
    order->expiry_ms = (uint16_t)get(from, 2);
    order->session = (uint32_t)get(from, 4);
    order->sequence = (uint32_t)get(from, 4);
    order->basis_us = (uint32_t)get(from, 4);
}

static void get_command(reader *from, bridge_command *command)
{
    get_order(from, &command->order);
    for (size_t i = 0; i < command->joints; ++i) {
        command->targets[i].position = get_signed(from, 6);
        command->targets[i].velocity = (int32_t)get_signed(from, 4);
    }
}

static void get_state(reader *from, bridge_state *state)
{
    state->arm = (uint8_t)get(from, 1);
    state->refusal = (uint8_t)get(from, 1);
    state->session = (uint32_t)get(from, 4);
    state->sequence = (uint32_t)get(from, 4);
    state->time_us = (uint32_t)get(from, 4);
    state->faults = (uint16_t)get(from, 2);
    state->latch = (uint16_t)get(from, 2);
    state->limited = (uint8_t)get(from, 1);
    state->stale = (uint8_t)get(from, 1);
    state->age_ms = (uint8_t)get(from, 1);
    for (size_t i = 0; i < state->joints; ++i) {
        state->positions[i] = get_signed(from, 6);
    }
}

bool bridge_decode(const uint8_t *bytes, size_t length, bridge_message *message)
{
    if (length < BRIDGE_STOP_LENGTH || length != bridge_length(bytes[0], bytes[1])) {
        return false;
    }
    reader crc = {bytes + length - BRIDGE_CRC_LENGTH};
    if (get(&crc, BRIDGE_CRC_LENGTH) != edgearm_crc32(bytes, length - BRIDGE_CRC_LENGTH)) {
        return false;
    }
    reader from = {bytes + 2};
    memset(message, 0, sizeof *message);
    message->kind = bytes[0];
    switch (message->kind) {
        case BRIDGE_COMMAND:
            message->as.command.joints = bytes[1];
            get_command(&from, &message->as.command);
            break;
        case BRIDGE_STATE:
            message->as.state.joints = bytes[1];
            get_state(&from, &message->as.state);
            break;
        case BRIDGE_CLEAR:
        case BRIDGE_RELEASE:
            get_order(&from, &message->as.clear.order);
            message->as.clear.latch = (uint16_t)get(&from, 2);
            break;
        case BRIDGE_STOP:
            break;
        default:
            message->as.hello.joints = bytes[1];
            get_hello(&from, &message->as.hello);
            break;
    }
    return allowed(message);
}
