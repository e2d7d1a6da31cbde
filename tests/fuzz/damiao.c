/* Any frame, and any numbers: what is packed can be read back within a step, and nothing else is packed. */
#include "damiao.h"

#include <string.h>

#include "fuzz.h"

static bool near(float a, float b, float range, float steps)
{
    const float step = range / steps * 1.001f;
    return a - b <= step && b - a <= step;
}

static void command(const damiao_limits *limits, const damiao_command *sent)
{
    uint8_t bytes[DAMIAO_FRAME];
    damiao_command back;
    if (!damiao_command_pack(limits, sent, bytes)) {
        return;
    }
    must(damiao_command_unpack(limits, bytes, sizeof bytes, &back));
    must(near(back.position, sent->position, 2 * limits->position, 65535));
    must(near(back.velocity, sent->velocity, 2 * limits->velocity, 4095));
    must(near(back.kp, sent->kp, 500, 4095) && near(back.kd, sent->kd, 5, 4095));
    must(near(back.torque, sent->torque, 2 * limits->torque, 4095));
}

static void feedback(const damiao_limits *limits, const uint8_t *data, size_t size)
{
    damiao_feedback measured;
    must(damiao_feedback_unpack(limits, data, size, &measured) == (size == DAMIAO_FRAME));
    if (size == DAMIAO_FRAME) {
        must(measured.id == (data[0] & 0xF) && measured.status == data[0] >> 4);
        must(damiao_status_is_fault(measured.status) == (data[0] >> 4 > 1));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const damiao_limits dm4310 = {12.5f, 30.0f, 10.0f};
    damiao_limits limits;
    damiao_command sent;
    uint32_t bits;
    feedback(&dm4310, data, size);
    if (damiao_register_unpack(data, size, 1, DAMIAO_MAX_TORQUE, &bits)) {
        must(damiao_bits_of(damiao_float_of(bits)) == bits || damiao_float_of(bits) != damiao_float_of(bits));
    }
    if (size >= sizeof limits + sizeof sent) {
        memcpy(&sent, data, sizeof sent);
        memcpy(&limits, data + sizeof sent, sizeof limits);
        command(&dm4310, &sent);
        command(&limits, &sent);
        must(!damiao_limits_agree(&limits, &dm4310) || damiao_limits_valid(&limits));
    }
    return 0;
}
