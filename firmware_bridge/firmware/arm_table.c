#include "arm_table.h"

#include "crc32.h"

/* 2^-48 in 2^-32 of a unit. */
enum { FRACTION = 65536 };

/* To the nearest, halves away from zero; C99's own division is the same on every machine. */
static int64_t nearest(int64_t dividend, int64_t divisor)
{
    const int64_t half = (divisor < 0 ? -divisor : divisor) / 2;
    return (dividend < 0 ? dividend - half : dividend + half) / divisor;
}

int64_t arm_position(const arm_joint *joint, int32_t encoder)
{
    return joint->origin + nearest(encoder * joint->scale, FRACTION);
}

int32_t arm_encoder(const arm_joint *joint, int64_t position)
{
    return (int32_t)nearest((position - joint->origin) * FRACTION, joint->scale);
}

static uint8_t *put(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; ++i) {
        *to++ = (uint8_t)(value >> (8 * i) & 0xFF);
    }
    return to;
}

uint32_t arm_config(const arm_table *table)
{
    uint8_t bytes[72]; /* a joint, behind the hash of what comes before it */
    uint8_t *to = put(put(bytes, table->count, 1), table->tick_us, 2);
    uint32_t hash = edgearm_crc32(bytes, (size_t)(to - bytes));
    for (int i = 0; i < table->count; ++i) {
        const arm_joint *joint = &table->joints[i];
        to = put(put(bytes, hash, 4), joint->servo_id, 1);
        to = put(put(to, (uint64_t)joint->limits.lower, 8), (uint64_t)joint->limits.upper, 8);
        to = put(put(to, (uint32_t)joint->limits.max_velocity, 4), (uint32_t)joint->limits.max_acceleration, 4);
        to = put(put(to, (uint32_t)joint->limits.max_jerk, 4), (uint32_t)joint->limits.release, 4);
        to = put(put(to, (uint64_t)joint->origin, 8), (uint64_t)joint->scale, 8);
        to = put(put(to, (uint32_t)joint->travel, 4), (uint32_t)joint->margin, 4);
        to = put(to, (uint32_t)joint->tracking, 4);
        hash = edgearm_crc32(bytes, (size_t)(to - bytes));
    }
    return hash;
}
