#include "servo_bus.h"

#include <string.h>

void servo_bus_init(servo_bus *bus, const arm_table *arm)
{
    memset(bus, 0, sizeof *bus);
    bus->arm = arm;
    feetech_parser_init(&bus->parser, SERVO_BLOCK);
}

static int32_t position_in(const uint8_t *block, uint8_t address)
{
    const uint8_t *at = block + (address - FEETECH_TORQUE_ENABLE);
    return feetech_from_sign_magnitude((uint16_t)(at[0] | at[1] << 8), FEETECH_SIGN_POSITION);
}

int32_t servo_goal(const bus_servo *from)
{
    return position_in(from->block, FEETECH_GOAL_POSITION);
}

bool servo_torque(const bus_servo *from)
{
    return from->block[0] != 0;
}

static bool within(int32_t a, int32_t b, int32_t distance)
{
    return a - b <= distance && b - a <= distance;
}

/* The sum of a frame does not see two bytes swapped: a position that the joint cannot have got to is not believed. One
 * that is not known is believed once two in a row agree. */
static bool admit(bus_servo *of, const arm_joint *joint, int32_t encoder)
{
    if (of->known) {
        return within(encoder, of->encoder, joint->margin + joint->travel * (of->missed + 1));
    }
    const bool agrees = of->suspected && within(encoder, of->candidate, joint->margin);
    of->candidate = encoder;
    of->suspected = true;
    return agrees;
}

static void answer(servo_bus *bus, int joint, const feetech_frame *frame)
{
    bus_servo *of = &bus->servos[joint];
    const int32_t encoder = position_in(frame->params, FEETECH_PRESENT_POSITION);
    if (!admit(of, &bus->arm->joints[joint], encoder)) {
        bus->unbelievable += of->known;
        return;
    }
    memcpy(of->block, frame->params, SERVO_BLOCK);
    of->encoder = encoder;
    bus->retold = of->known ? bus->retold : 0;
    of->known = true;
    of->heard = true;
    of->errors = frame->code & of->newest_errors;
    of->newest_errors = frame->code;
    of->limp = !servo_torque(of) && of->newest_limp;
    of->newest_limp = !servo_torque(of);
}

void servo_bus_hear(servo_bus *bus, const uint8_t *bytes, size_t count)
{
    feetech_frame frame;
    while (count > 0) {
        const size_t taken = feetech_parser_push(&bus->parser, bytes, count);
        bytes += taken;
        count -= taken;
        while (feetech_parser_next(&bus->parser, &frame)) {
            for (int i = 0; i < bus->arm->count; ++i) {
                if (frame.id == bus->arm->joints[i].servo_id && frame.count == SERVO_BLOCK) {
                    answer(bus, i, &frame);
                }
            }
        }
    }
}

void servo_bus_end_cycle(servo_bus *bus)
{
    for (int i = 0; i < bus->arm->count; ++i) {
        bus_servo *of = &bus->servos[i];
        if (of->heard) {
            of->missed = 0;
        } else if (of->missed < UINT8_MAX) {
            of->missed += 1;
        }
        if (of->missed == SERVO_LOST) {
            of->known = false;
            of->suspected = false;
        }
        of->heard = false;
    }
    bus->cycle += 1;
}

size_t servo_bus_tell(const servo_bus *bus, unsigned bits, uint8_t address, uint8_t length, const uint8_t *data,
                      uint8_t *out, size_t capacity)
{
    uint8_t ids[BRIDGE_MAX_JOINTS];
    uint8_t chosen[BRIDGE_MAX_JOINTS * 8];
    size_t count = 0;
    for (int i = 0; i < bus->arm->count; ++i) {
        if ((bits >> i & 1u) != 0) {
            ids[count] = bus->arm->joints[i].servo_id;
            memcpy(chosen + count * length, data + i * length, length);
            count += 1;
        }
    }
    return count == 0 ? 0 : feetech_sync_write(address, length, ids, chosen, count, out, capacity);
}

static unsigned silent(const servo_bus *bus)
{
    unsigned bits = 0;
    for (int i = 0; i < bus->arm->count; ++i) {
        bits |= bus->servos[i].known ? 0u : 1u << i;
    }
    return bits;
}

size_t servo_bus_ask(servo_bus *bus, uint8_t *out, size_t capacity)
{
    uint8_t ids[BRIDGE_MAX_JOINTS];
    for (int i = 0; i < bus->arm->count; ++i) {
        ids[i] = bus->arm->joints[i].servo_id;
    }
    static const uint8_t none[BRIDGE_MAX_JOINTS] = {0};
    const unsigned bits = silent(bus);
    size_t told = 0;
    feetech_parser_reset(&bus->parser);
    if (bits != 0 && bus->cycle % SERVO_RETELL == 0) {
        return 0; /* the line is quiet when the servos are told */
    }
    if (bits != 0 && bus->cycle % SERVO_RETELL == 1) {
        const unsigned who = bus->retold < SERVO_RETELL_ALL ? ~0u : bits;
        told = servo_bus_tell(bus, who, FEETECH_RETURN_DELAY, 1, none, out, capacity);
        bus->retold += bus->retold < SERVO_RETELL_ALL ? 1u : 0u;
    }
    return told +
           feetech_sync_read(FEETECH_TORQUE_ENABLE, SERVO_BLOCK, ids, bus->arm->count, out + told, capacity - told);
}

bool servo_bus_complete(const servo_bus *bus)
{
    bool complete = true;
    for (int i = 0; i < bus->arm->count; ++i) {
        complete = complete && bus->servos[i].known && bus->servos[i].missed == 0;
    }
    return complete;
}
