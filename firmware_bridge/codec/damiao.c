#include "damiao.h"

#include <string.h>

enum { READ = 0x33, WRITE = 0x55, REFRESH = 0xCC, BITS_16 = 65535, BITS_12 = 4095 };

static const float most_kp = 500.0f;
static const float most_kd = 5.0f;

/* No motor is outside, and inside single precision resolves every step. */
static bool sensible(float limit)
{
    return limit >= 0.001f && limit <= 10000.0f;
}

bool damiao_limits_valid(const damiao_limits *limits)
{
    return sensible(limits->position) && sensible(limits->velocity) && sensible(limits->torque);
}

static bool close_to(float a, float b)
{
    return a - b <= a / 1000 && b - a <= a / 1000;
}

bool damiao_limits_agree(const damiao_limits *ours, const damiao_limits *motors)
{
    return damiao_limits_valid(ours) && damiao_limits_valid(motors) && close_to(ours->position, motors->position) &&
           close_to(ours->velocity, motors->velocity) && close_to(ours->torque, motors->torque);
}

/* False for what is not a number, too. */
static bool within(float value, float low, float high)
{
    return value >= low && value <= high;
}

static unsigned quantised(float value, float low, float high, unsigned steps)
{
    return (unsigned)((value - low) / (high - low) * (float)steps);
}

static float restored(unsigned step, float low, float high, unsigned steps)
{
    return (float)step / (float)steps * (high - low) + low;
}

bool damiao_command_pack(const damiao_limits *limits, const damiao_command *command, uint8_t out[DAMIAO_FRAME])
{
    const float q = limits->position;
    const float dq = limits->velocity;
    const float torque = limits->torque;
    if (!damiao_limits_valid(limits) || !within(command->position, -q, q) || !within(command->velocity, -dq, dq) ||
        !within(command->kp, 0, most_kp) || !within(command->kd, 0, most_kd) ||
        !within(command->torque, -torque, torque)) {
        return false;
    }
    const unsigned position = quantised(command->position, -q, q, BITS_16);
    const unsigned velocity = quantised(command->velocity, -dq, dq, BITS_12);
    const unsigned kp = quantised(command->kp, 0, most_kp, BITS_12);
    const unsigned kd = quantised(command->kd, 0, most_kd, BITS_12);
    const unsigned effort = quantised(command->torque, -torque, torque, BITS_12);
    out[0] = (uint8_t)(position >> 8);
    out[1] = (uint8_t)(position & 0xFF);
    out[2] = (uint8_t)(velocity >> 4);
    out[3] = (uint8_t)((velocity & 0xF) << 4 | kp >> 8);
    out[4] = (uint8_t)(kp & 0xFF);
    out[5] = (uint8_t)(kd >> 4);
    out[6] = (uint8_t)((kd & 0xF) << 4 | effort >> 8);
    out[7] = (uint8_t)(effort & 0xFF);
    return true;
}

bool damiao_command_unpack(const damiao_limits *limits, const uint8_t *data, size_t length, damiao_command *command)
{
    if (length != DAMIAO_FRAME) {
        return false;
    }
    const unsigned position = (unsigned)data[0] << 8 | data[1];
    const unsigned velocity = (unsigned)data[2] << 4 | data[3] >> 4;
    const unsigned kp = (data[3] & 0xFu) << 8 | data[4];
    const unsigned kd = (unsigned)data[5] << 4 | data[6] >> 4;
    const unsigned effort = (data[6] & 0xFu) << 8 | data[7];
    command->position = restored(position, -limits->position, limits->position, BITS_16);
    command->velocity = restored(velocity, -limits->velocity, limits->velocity, BITS_12);
    command->kp = restored(kp, 0, most_kp, BITS_12);
    command->kd = restored(kd, 0, most_kd, BITS_12);
    command->torque = restored(effort, -limits->torque, limits->torque, BITS_12);
    return true;
}

void damiao_order_pack(enum damiao_order order, uint8_t out[DAMIAO_FRAME])
{
    memset(out, 0xFF, DAMIAO_FRAME - 1);
    out[DAMIAO_FRAME - 1] = (uint8_t)order;
}

bool damiao_feedback_pack(const damiao_limits *limits, const damiao_feedback *feedback, uint8_t out[DAMIAO_FRAME])
{
    const float q = limits->position;
    const float dq = limits->velocity;
    const float torque = limits->torque;
    if (!damiao_limits_valid(limits) || feedback->id > 0xF || feedback->status > 0xF ||
        !within(feedback->position, -q, q) || !within(feedback->velocity, -dq, dq) ||
        !within(feedback->torque, -torque, torque)) {
        return false;
    }
    const unsigned position = quantised(feedback->position, -q, q, BITS_16);
    const unsigned velocity = quantised(feedback->velocity, -dq, dq, BITS_12);
    const unsigned effort = quantised(feedback->torque, -torque, torque, BITS_12);
    out[0] = (uint8_t)(feedback->status << 4 | feedback->id);
    out[1] = (uint8_t)(position >> 8);
    out[2] = (uint8_t)(position & 0xFF);
    out[3] = (uint8_t)(velocity >> 4);
    out[4] = (uint8_t)((velocity & 0xF) << 4 | effort >> 8);
    out[5] = (uint8_t)(effort & 0xFF);
    out[6] = feedback->mosfet_celsius;
    out[7] = feedback->coil_celsius;
    return true;
}

bool damiao_feedback_unpack(const damiao_limits *limits, const uint8_t *data, size_t length, damiao_feedback *feedback)
{
    if (length != DAMIAO_FRAME) {
        return false;
    }
    const unsigned position = (unsigned)data[1] << 8 | data[2];
    const unsigned velocity = (unsigned)data[3] << 4 | data[4] >> 4;
    const unsigned effort = (data[4] & 0xFu) << 8 | data[5];
    feedback->id = data[0] & 0xF;
    feedback->status = data[0] >> 4;
    feedback->position = restored(position, -limits->position, limits->position, BITS_16);
    feedback->velocity = restored(velocity, -limits->velocity, limits->velocity, BITS_12);
    feedback->torque = restored(effort, -limits->torque, limits->torque, BITS_12);
    feedback->mosfet_celsius = data[6];
    feedback->coil_celsius = data[7];
    return true;
}

bool damiao_status_is_fault(uint8_t status)
{
    return status != DAMIAO_OFF && status != DAMIAO_ON;
}

static void register_pack(uint16_t id, uint8_t operation, uint8_t address, uint32_t bits, uint8_t out[DAMIAO_FRAME])
{
    out[0] = (uint8_t)(id & 0xFF);
    out[1] = (uint8_t)(id >> 8);
    out[2] = operation;
    out[3] = address;
    for (int byte = 0; byte < 4; ++byte) {
        out[4 + byte] = (uint8_t)(bits >> (8 * byte) & 0xFF);
    }
}

void damiao_refresh(uint16_t id, uint8_t out[DAMIAO_FRAME])
{
    register_pack(id, REFRESH, 0, 0, out);
}

void damiao_register_read(uint16_t id, uint8_t address, uint8_t out[DAMIAO_FRAME])
{
    register_pack(id, READ, address, 0, out);
}

void damiao_register_write(uint16_t id, uint8_t address, uint32_t bits, uint8_t out[DAMIAO_FRAME])
{
    register_pack(id, WRITE, address, bits, out);
}

bool damiao_register_unpack(const uint8_t *data, size_t length, uint16_t id, uint8_t address, uint32_t *bits)
{
    if (length != DAMIAO_FRAME || (data[0] | data[1] << 8) != id || (data[2] != READ && data[2] != WRITE) ||
        data[3] != address) {
        return false;
    }
    *bits = (uint32_t)data[4] | (uint32_t)data[5] << 8 | (uint32_t)data[6] << 16 | (uint32_t)data[7] << 24;
    return true;
}

uint32_t damiao_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float damiao_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
