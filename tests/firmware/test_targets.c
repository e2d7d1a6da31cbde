/* The limiter of all joints (motion.h) alone. */
#include <string.h>

#include "bench.h"

static motion at_rest(int32_t encoder)
{
    int32_t encoders[SERVOS];
    for (int i = 0; i < SERVOS; ++i) {
        encoders[i] = encoder;
    }
    motion of;
    memset(&of, 0xA5, sizeof of); /* whatever it was before */
    motion_rest(&of, &table, encoders);
    return of;
}

static void rest_is_its_own_target(void)
{
    motion of = at_rest(2300);
    REQUIRE(of.limited == 0);
    for (int tick = 0; tick < 10; ++tick) {
        REQUIRE(motion_follow(&of) && of.limited == 0);
        for (int i = 0; i < SERVOS; ++i) {
            REQUIRE(of.joints[i].position == arm_position(&table.joints[i], 2300));
            REQUIRE(of.joints[i].velocity == 0 && of.joints[i].acceleration == 0);
        }
    }
    REQUIRE(motion_brake(&of));
}

/* Each joint has its bit, of the newest tick alone. */
static void who_is_held_back_is_told(void)
{
    for (unsigned far = 0; far < 1u << SERVOS; far += 5) {
        motion of = at_rest(2048);
        bridge_target targets[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            const int32_t encoder = (far >> i & 1u) != 0 ? 2148 : 2048;
            targets[i] = (bridge_target){arm_position(&table.joints[i], encoder), 0};
        }
        motion_take(&of, targets);
        REQUIRE(motion_follow(&of) && of.limited == far);
        for (int tick = 0; tick < 200; ++tick) {
            REQUIRE(motion_follow(&of));
        }
        REQUIRE(of.limited == 0);
        for (int i = 0; i < SERVOS; ++i) {
            REQUIRE(of.joints[i].position == targets[i].position);
        }
        targets[0].position = arm_position(&table.joints[0], 2500);
        motion_take(&of, targets);
        REQUIRE(motion_follow(&of) && of.limited == 1);
        while (!motion_brake(&of)) {
            REQUIRE(of.limited == 0);
        }
        REQUIRE(of.limited == 0 && of.joints[0].velocity == 0 && of.joints[0].acceleration == 0);
    }
}

void test_targets(void)
{
    rest_is_its_own_target();
    who_is_held_back_is_told();
}
