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

/* Of the 20 ms of silence: what remains for an order, in whole milliseconds, when the tick that sees it over and the
 * wire have had their time. */
static void an_order_lives_as_long_as_its_tick_allows(void)
{
    for (uint32_t tick_us = 1000; tick_us <= 10000; ++tick_us) {
        table.tick_us = (uint16_t)tick_us;
        power_on(2048);
        const uint32_t most_us = arm.fw.gate.max_expiry_ms * 1000u;
        const uint32_t least_us = FIRMWARE_SILENCE_US - FIRMWARE_WIRE_US - tick_us;
        REQUIRE(most_us <= least_us && most_us + 1000 > least_us);
        power_off();
    }
    table.tick_us = TICK;
}

void test_table(void)
{
    every_encoder_tick_comes_back();
    whatever_differs_shows_in_the_hash();
    an_order_lives_as_long_as_its_tick_allows();
}
