/* What drives.h says to the servos, byte by byte and cycle by cycle, on a bus whose answers are made up. */
#include <string.h>

#include "bench.h"

enum { HERE = 2048, HOLD = 7, GOAL = 1, BLOCK_GOAL = FEETECH_GOAL_POSITION - FEETECH_TORQUE_ENABLE };

static drives all;
static servo_bus bus;

static void put_word(uint8_t *to, int32_t value)
{
    to[0] = (uint8_t)(value & 0xFF);
    to[1] = (uint8_t)(value >> 8);
}

/* Every servo answers: at HERE, with this torque, and told to be at `goal`. */
static void answers(uint8_t torque, int32_t goal)
{
    for (int i = 0; i < SERVOS; ++i) {
        bus_servo *of = &bus.servos[i];
        memset(of, 0, sizeof *of);
        of->known = true;
        of->encoder = HERE + i;
        of->block[0] = torque;
        put_word(of->block + BLOCK_GOAL, goal + i);
    }
}

static void powered(void)
{
    memset(&all, 0, sizeof all);
    servo_bus_init(&bus, &table);
    answers(0, HERE);
}

/* What is told now: a frame to those of `bits`, with `length` bytes of `data` for each joint; or nothing. */
static void tells(unsigned bits, uint8_t address, uint8_t length, const uint8_t *data)
{
    uint8_t expected[SERVO_FRAMES];
    uint8_t out[SERVO_FRAMES];
    const size_t size = bits == 0 ? 0 : servo_bus_tell(&bus, bits, address, length, data, expected, sizeof expected);
    REQUIRE(drives_tell(&all, &bus, out, sizeof out) == size && memcmp(out, expected, size) == 0);
}

static void tells_nothing(void)
{
    tells(0, 0, 0, NULL);
}

static void tells_holds(void)
{
    uint8_t data[SERVOS * HOLD] = {0};
    for (int i = 0; i < SERVOS; ++i) {
        put_word(data + i * HOLD + GOAL, HERE + i);
    }
    tells(~0u, FEETECH_ACCELERATION, HOLD, data);
}

static void tells_goals(unsigned bits, int32_t goal)
{
    uint8_t data[SERVOS * 2];
    for (int i = 0; i < SERVOS; ++i) {
        put_word(data + i * 2, goal + i);
    }
    tells(bits, FEETECH_GOAL_POSITION, 2, data);
}

static void tells_torque(uint8_t value)
{
    uint8_t data[SERVOS];
    memset(data, value, sizeof data);
    tells(~0u, FEETECH_TORQUE_ENABLE, 1, data);
}

static void goes_on_to(enum drives_stage stage, bool measured)
{
    REQUIRE(drives_advance(&all, &bus) == measured && all.stage == stage);
}

/* Ends in DRIVES_ON. */
static void switches_on(void)
{
    drives_arm(&all);
    tells_nothing();
    goes_on_to(DRIVES_GOALS, true);
    tells_holds();
    answers(0, HERE);
    goes_on_to(DRIVES_TORQUE, false);
    tells_torque(1);
    answers(1, HERE);
    goes_on_to(DRIVES_ON, false);
    tells_goals(~0u, HERE);
}

static void every_stage_says_its_part(void)
{
    powered();
    tells_nothing();
    switches_on();
    goes_on_to(DRIVES_ON, false);
    for (int repeat = 0; repeat < DRIVES_REPEATS; ++repeat) {
        drives_halt(&all);
        REQUIRE(all.stage == DRIVES_ON);
    }
    drives_halt(&all);
    REQUIRE(all.stage == DRIVES_LEFT);
    tells_nothing();
    drives_release(&all);
    drives_halt(&all);
    REQUIRE(all.stage == DRIVES_RELEASING);
    answers(0, HERE);
    for (int repeat = 0; repeat < DRIVES_REPEATS; ++repeat) {
        tells_torque(0);
        goes_on_to(DRIVES_RELEASING, false);
    }
    goes_on_to(DRIVES_LEFT, false);
    tells_nothing();
    switches_on(); /* as the first time */
    drives_abandon(&all);
    tells_nothing();
}

/* Nothing goes on as long as one servo, whichever, does not answer, or does not do as it was told. */
static void each_servo_counts(void)
{
    for (int i = 0; i < SERVOS; ++i) {
        powered();
        drives_arm(&all);
        bus.servos[i].missed = 1;
        goes_on_to(DRIVES_MEASURING, false);
        bus.servos[i].missed = 0;
        bus.servos[i].known = false;
        goes_on_to(DRIVES_MEASURING, false);
        bus.servos[i].known = true;
        goes_on_to(DRIVES_GOALS, true);
        for (int byte = 0; byte < HOLD; ++byte) {
            bus.servos[i].block[FEETECH_ACCELERATION - FEETECH_TORQUE_ENABLE + byte] ^= 0x40;
            goes_on_to(DRIVES_GOALS, false);
            answers(0, HERE);
        }
        goes_on_to(DRIVES_TORQUE, false);
        answers(1, HERE);
        bus.servos[i].block[0] = 0;
        goes_on_to(DRIVES_TORQUE, false);
        answers(1, HERE);
        goes_on_to(DRIVES_ON, false);
        drives_release(&all);
        answers(0, HERE);
        bus.servos[i].block[0] = 1;
        for (int cycle = 0; cycle < DRIVES_TRIES; ++cycle) {
            goes_on_to(DRIVES_RELEASING, false);
        }
        bus.servos[i].block[0] = 0;
        goes_on_to(DRIVES_LEFT, false);
    }
}

static void stuck_after(int cycles)
{
    const uint8_t stage = all.stage;
    for (int cycle = 0; cycle < cycles; ++cycle) {
        REQUIRE(!drives_stuck(&all));
        goes_on_to(stage, false);
    }
    REQUIRE(drives_stuck(&all));
    for (int cycle = 0; cycle < 2 * UINT8_MAX; ++cycle) { /* for ever */
        goes_on_to(stage, false);
        REQUIRE(drives_stuck(&all));
    }
}

/* Every stage has its full time, and no more. */
static void no_stage_takes_for_ever(void)
{
    for (int stage = DRIVES_MEASURING; stage <= DRIVES_RELEASING; ++stage) {
        powered();
        drives_arm(&all);
        if (stage > DRIVES_MEASURING) {
            goes_on_to(DRIVES_GOALS, true);
        }
        if (stage > DRIVES_GOALS) {
            goes_on_to(DRIVES_TORQUE, false);
        }
        if (stage > DRIVES_TORQUE) {
            answers(1, HERE);
            goes_on_to(DRIVES_ON, false);
        }
        if (stage == DRIVES_ON) {
            for (int cycle = 0; cycle < 2 * UINT8_MAX; ++cycle) {
                goes_on_to(DRIVES_ON, false);
                REQUIRE(!drives_stuck(&all));
            }
            continue;
        }
        if (stage == DRIVES_RELEASING) {
            drives_release(&all);
        }
        bus.servos[SERVOS - 1].known = false;
        stuck_after(DRIVES_TRIES + 1);
    }
    powered();
    for (int cycle = 0; cycle < 2 * UINT8_MAX; ++cycle) {
        goes_on_to(DRIVES_LEFT, false);
        REQUIRE(!drives_stuck(&all));
    }
}

/* At power-on, and only then: a servo that was once seen where it should be is left alone for good. */
static void who_is_on_its_way_is_told_to_stay(void)
{
    for (int direction = -1; direction <= 1; direction += 2) {
        powered();
        answers(1, HERE + direction * DRIVES_NEAR);
        bus.servos[2].encoder -= direction; /* one more than a servo that holds against gravity is off */
        bus.servos[5].known = false;
        put_word(bus.servos[5].block + BLOCK_GOAL, HERE + 1000);
        bus.servos[6].block[0] = 0; /* a limp one goes nowhere */
        put_word(bus.servos[6].block + BLOCK_GOAL, HERE + 1000);
        goes_on_to(DRIVES_LEFT, false);
        tells_goals(1u << 2, HERE - direction);
        bus.servos[5].known = true; /* found later, on its way */
        put_word(bus.servos[5].block + BLOCK_GOAL, HERE - 1000);
        goes_on_to(DRIVES_LEFT, false);
        uint8_t data[SERVOS * 2];
        for (int i = 0; i < SERVOS; ++i) {
            put_word(data + i * 2, bus.servos[i].encoder);
        }
        tells(1u << 2 | 1u << 5, FEETECH_GOAL_POSITION, 2, data);
        answers(1, HERE); /* all have been seen where they should be */
        goes_on_to(DRIVES_LEFT, false);
        answers(1, HERE + 500);
        goes_on_to(DRIVES_LEFT, false);
        tells_nothing();
    }
    powered(); /* what was armed is not told so either, however it was found */
    answers(1, HERE + 500);
    drives_arm(&all);
    goes_on_to(DRIVES_GOALS, true);
    drives_abandon(&all);
    goes_on_to(DRIVES_LEFT, false);
    tells_nothing();
}

/* A goal switches torque on: it is for those that still have it. */
static void who_was_lost_is_told_nothing_until_all_are_switched_on_anew(void)
{
    for (int i = 0; i < SERVOS; ++i) {
        powered();
        switches_on();
        answers(1, HERE);
        bus.servos[i].missed = SERVO_LOST - 1;
        goes_on_to(DRIVES_ON, false);
        tells_goals(~0u, HERE);
        bus.servos[i].known = false;
        goes_on_to(DRIVES_ON, false);
        tells_goals(~(1u << i), HERE);
        answers(1, HERE);
        goes_on_to(DRIVES_ON, false);
        tells_goals(~(1u << i), HERE);
        for (int repeat = 0; repeat < DRIVES_REPEATS; ++repeat) {
            drives_halt(&all);
            tells_goals(~(1u << i), HERE);
        }
        drives_halt(&all);
        tells_nothing();
        answers(0, HERE);
        switches_on();
        bus.servos[i].newest_limp = true; /* for as long as it says so */
        goes_on_to(DRIVES_ON, false);
        tells_goals(~(1u << i), HERE);
        bus.servos[i].newest_limp = false;
        goes_on_to(DRIVES_ON, false);
        tells_goals(~0u, HERE);
    }
    powered(); /* before that it is another matter: a servo that is not there yet is not lost */
    bus.servos[0].known = false;
    goes_on_to(DRIVES_LEFT, false);
    answers(0, HERE);
    switches_on();
}

void test_drives(void)
{
    every_stage_says_its_part();
    each_servo_counts();
    no_stage_takes_for_ever();
    who_is_on_its_way_is_told_to_stay();
    who_was_lost_is_told_nothing_until_all_are_switched_on_anew();
}
