#include "bench.h"

static void every_encoder_tick_comes_back(void)
{
    arm_joint reversed = table.joints[5];
    reversed.scale = -reversed.scale;
    for (int32_t encoder = -32767; encoder <= 32767; ++encoder) {
        for (int i = 0; i < SERVOS; ++i) {
            const arm_joint *joint = &table.joints[i];
            REQUIRE(arm_encoder(joint, arm_position(joint, encoder)) == encoder);
        }
        REQUIRE(arm_encoder(&reversed, arm_position(&reversed, encoder)) == encoder);
    }
    REQUIRE(arm_position(&table.joints[0], 2048) == 0);
}

static void whatever_differs_shows_in_the_hash(void)
{
    const uint32_t config = arm_config(&table);
    for (int i = 0; i < SERVOS; ++i) {
        arm_table other = table;
        other.joints[i].servo_id += 1;
        REQUIRE(arm_config(&other) != config);
        other = table;
        other.joints[i].limits.max_velocity -= 1;
        REQUIRE(arm_config(&other) != config);
        other = table;
        other.joints[i].origin += 1;
        REQUIRE(arm_config(&other) != config);
    }
    arm_table other = table;
    other.tick_us += 1;
    REQUIRE(arm_config(&other) != config);
    other = table;
    other.count -= 1;
    REQUIRE(arm_config(&other) != config);
}

/* `n` bytes that count up from `first`, the lowest first. */
static int64_t counting(int n, int first)
{
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; --i) {
        value = value << 8 | (unsigned)((first + i) & 0x7F);
    }
    return (int64_t)value;
}

/* No two bytes of a joint are the same. The number is Python's: zlib.crc32 of struct.pack("<BH", count, tick_us), then,
 * for each joint, of struct.pack("<IB2q4i2q3i", that hash, its fields in their order). */
static void the_hash_is_of_these_bytes_in_this_order(void)
{
    arm_table two = {.count = 2, .tick_us = 0x8182};
    for (int i = 0; i < 2; ++i) {
        const int from = 0x10 * i;
        two.joints[i] = (arm_joint){
            .servo_id = (uint8_t)(from + 0x11),
            .limits = {.lower = counting(8, from + 1),
                       .upper = counting(8, from + 9),
                       .max_velocity = (int32_t)counting(4, from + 0x11),
                       .max_acceleration = (int32_t)counting(4, from + 0x15),
                       .max_jerk = (int32_t)counting(4, from + 0x19),
                       .release = (int32_t)counting(4, from + 0x1D)},
            .origin = counting(8, from + 0x21),
            .scale = counting(8, from + 0x29),
            .travel = (int32_t)counting(4, from + 0x31),
            .margin = (int32_t)counting(4, from + 0x35),
            .tracking = (int32_t)counting(4, from + 0x39),
        };
    }
    REQUIRE(arm_config(&two) == 0x9828B476u);
}

/* Of the 20 ms of silence: what remains for an order, in whole milliseconds, when the tick that sees it over and the
 * wire have had their time. A table that leaves none of them does not get any more for that. */
static void an_order_lives_as_long_as_its_tick_allows(void)
{
    for (uint32_t tick_us = 1000; tick_us <= 20000; ++tick_us) {
        table.tick_us = (uint16_t)tick_us;
        power_on(2048);
        const uint32_t most_us = arm.fw.gate.max_expiry_ms * 1000u;
        const uint32_t least_us = FIRMWARE_SILENCE_US - FIRMWARE_WIRE_US - tick_us;
        REQUIRE(tick_us > 18000 ? most_us == 1000 : most_us <= least_us && most_us + 1000 > least_us);
        power_off();
    }
    table.tick_us = TICK;
}

void test_table(void)
{
    every_encoder_tick_comes_back();
    whatever_differs_shows_in_the_hash();
    the_hash_is_of_these_bytes_in_this_order();
    an_order_lives_as_long_as_its_tick_allows();
}
