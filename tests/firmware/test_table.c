#include "bench.h"

static void every_encoder_tick_comes_back(void)
{
    arm_joint reversed = so101_table.joints[5];
    reversed.scale = -reversed.scale;
    for (int32_t encoder = -32767; encoder <= 32767; ++encoder) {
        for (int i = 0; i < SERVOS; ++i) {
            const arm_joint *joint = &so101_table.joints[i];
            REQUIRE(arm_encoder(joint, arm_position(joint, encoder)) == encoder);
        }
        REQUIRE(arm_encoder(&reversed, arm_position(&reversed, encoder)) == encoder);
    }
    REQUIRE(arm_position(&so101_table.joints[0], 2048) == 0);
}

static void whatever_differs_shows_in_the_hash(void)
{
    const uint32_t config = arm_config(&so101_table);
    for (int i = 0; i < SERVOS; ++i) {
        arm_table other = so101_table;
        other.joints[i].servo_id += 1;
        REQUIRE(arm_config(&other) != config);
        other = so101_table;
        other.joints[i].limits.max_velocity -= 1;
        REQUIRE(arm_config(&other) != config);
        other = so101_table;
        other.joints[i].origin += 1;
        REQUIRE(arm_config(&other) != config);
    }
    arm_table other = so101_table;
    other.tick_us += 1;
    REQUIRE(arm_config(&other) != config);
    other = so101_table;
    other.count -= 1;
    REQUIRE(arm_config(&other) != config);
}

void test_table(void)
{
    every_encoder_tick_comes_back();
    whatever_differs_shows_in_the_hash();
}
