/* What servo_bus.h believes, cycle by cycle, of answers that are made up, and what it tells whom. */
#include <string.h>

#include "bench.h"

enum { HERE = 2048, ANSWER = SERVO_BLOCK + 6, PLACE = FEETECH_PRESENT_POSITION - FEETECH_TORQUE_ENABLE, ALL = 255 };

static servo_bus bus;

/* An answer of a servo with this id; returns its length. */
static size_t answer_of(uint8_t id, uint8_t error, uint8_t torque, int32_t position, uint8_t *out)
{
    uint8_t block[SERVO_BLOCK] = {torque};
    const uint16_t word = feetech_to_sign_magnitude(position, FEETECH_SIGN_POSITION);
    block[PLACE] = (uint8_t)(word & 0xFF);
    block[PLACE + 1] = (uint8_t)(word >> 8);
    return feetech_status(id, error, block, SERVO_BLOCK, out, ANSWER);
}

static void says(int joint, uint8_t error, uint8_t torque, int32_t position)
{
    uint8_t frame[ANSWER];
    servo_bus_hear(&bus, frame, answer_of(bus.arm->joints[joint].servo_id, error, torque, position, frame));
}

static void is_at(int joint, int32_t position)
{
    says(joint, 0, 1, position);
}

/* Everybody is at HERE, and is believed. */
static void begins(const arm_table *with)
{
    memset(&bus, 0xA5, sizeof bus); /* a struct's old bytes mean nothing */
    servo_bus_init(&bus, with);
    REQUIRE(bus.cycle == 0 && bus.unbelievable == 0 && !servo_bus_complete(&bus));
    for (int cycle = 0; cycle < 2; ++cycle) {
        for (int i = 0; i < with->count; ++i) {
            REQUIRE(!bus.servos[i].known && bus.servos[i].missed == cycle);
            is_at(i, HERE);
        }
        REQUIRE(servo_bus_complete(&bus) == false || cycle == 1);
        servo_bus_end_cycle(&bus);
    }
    REQUIRE(servo_bus_complete(&bus) && bus.unbelievable == 0);
}

/* So many cycles in which this joint says nothing and the others are where they were. */
static void misses(int joint, int cycles)
{
    for (int cycle = 0; cycle < cycles; ++cycle) {
        for (int i = 0; i < bus.arm->count; ++i) {
            if (i != joint) {
                is_at(i, HERE);
            }
        }
        servo_bus_end_cycle(&bus);
    }
}

static void a_joint_gets_as_far_as_it_can_and_no_farther(void)
{
    for (int joint = 0; joint < SERVOS; ++joint) {
        for (int missed = 0; missed < SERVO_LOST; ++missed) {
            const int32_t reach = table.joints[joint].margin + table.joints[joint].travel * (missed + 1);
            for (int sign = -1; sign <= 1; sign += 2) {
                begins(&table);
                misses(joint, missed);
                is_at(joint, HERE + sign * (reach + 1));
                REQUIRE(bus.unbelievable == 1 && bus.servos[joint].encoder == HERE && !bus.servos[joint].heard);
                is_at(joint, HERE + sign * reach);
                REQUIRE(bus.unbelievable == 1 && bus.servos[joint].encoder == HERE + sign * reach);
                REQUIRE(bus.servos[joint].heard && bus.servos[joint].known);
            }
        }
    }
}

static void one_that_is_lost_is_found_by_two_answers_that_agree(void)
{
    for (int joint = 0; joint < SERVOS; ++joint) {
        const int32_t margin = table.joints[joint].margin;
        for (int sign = -1; sign <= 1; sign += 2) {
            begins(&table);
            misses(joint, SERVO_LOST - 1);
            REQUIRE(bus.servos[joint].known && !servo_bus_complete(&bus));
            misses(joint, 1);
            REQUIRE(!bus.servos[joint].known && bus.servos[joint].missed == SERVO_LOST);
            is_at(joint, HERE);                       /* not with what was said before it was lost */
            is_at(joint, HERE + sign * (margin + 1)); /* nor these two with each other */
            REQUIRE(!bus.servos[joint].known && bus.unbelievable == 0);
            is_at(joint, HERE + sign * (2 * margin + 1));
            REQUIRE(bus.servos[joint].known && bus.servos[joint].encoder == HERE + sign * (2 * margin + 1));
            REQUIRE(!servo_bus_complete(&bus)); /* the cycle has not ended */
            servo_bus_end_cycle(&bus);
            REQUIRE(bus.servos[joint].missed == 0 && !bus.servos[joint].heard);
        }
    }
    begins(&table);
    misses(0, 300);
    REQUIRE(bus.servos[0].missed == 255 && !bus.servos[0].known); /* and not 44 */
}

static void an_error_and_torque_off_have_to_be_said_twice(void)
{
    begins(&table);
    const bus_servo *of = &bus.servos[3];
    REQUIRE(of->errors == 0 && !of->limp && servo_torque(of));
    says(3, 0x25, 0, HERE);
    REQUIRE(of->errors == 0 && !of->limp && !servo_torque(of));
    says(3, 0x21, 0, HERE);
    REQUIRE(of->errors == 0x21 && of->limp);
    says(3, 0x00, 1, HERE);
    REQUIRE(of->errors == 0 && !of->limp);
    says(3, 0x20, 0, HERE);
    REQUIRE(of->errors == 0 && !of->limp);
}

/* All answers of many cycles at once, more than the parser keeps, and each byte alone: the same is believed. */
static void answers_may_come_in_any_pieces(void)
{
    static uint8_t bytes[64 * SERVOS * ANSWER];
    servo_bus pieces[2];
    for (int way = 0; way < 2; ++way) {
        size_t size = 0;
        begins(&table);
        for (int cycle = 1; cycle <= 64; ++cycle) {
            for (int i = 0; i < SERVOS; ++i) {
                size += answer_of(table.joints[i].servo_id, 0, 1, HERE + cycle, bytes + size);
            }
        }
        if (way == 0) {
            servo_bus_hear(&bus, bytes, size);
        } else {
            for (size_t at = 0; at < size; ++at) {
                servo_bus_hear(&bus, bytes + at, 1);
            }
        }
        pieces[way] = bus;
        for (int i = 0; i < SERVOS; ++i) {
            REQUIRE(bus.servos[i].encoder == HERE + 64);
        }
        REQUIRE(bus.unbelievable == 0);
    }
    REQUIRE(memcmp(pieces[0].servos, pieces[1].servos, sizeof pieces[0].servos) == 0);
}

static void who_is_not_of_the_arm_is_not_heard(void)
{
    arm_table fewer = table;
    fewer.count = SERVOS - 1;
    fewer.joints[SERVOS - 1].servo_id = fewer.joints[0].servo_id;
    begins(&fewer);
    REQUIRE(!bus.servos[SERVOS - 1].known && !bus.servos[SERVOS - 1].suspected);
    uint8_t frame[ANSWER];
    for (int id = 0; id < 254; ++id) {
        servo_bus_hear(&bus, frame, answer_of((uint8_t)id, 0, 1, HERE + 1, frame));
    }
    for (int i = 0; i < SERVOS - 1; ++i) {
        REQUIRE(bus.servos[i].encoder == HERE + 1);
    }
    /* Nor an answer of another length. */
    const uint8_t word[2] = {0, 0};
    servo_bus_hear(&bus, frame, feetech_status(fewer.joints[0].servo_id, 0, word, 2, frame, sizeof frame));
    REQUIRE(bus.servos[0].encoder == HERE + 1 && bus.unbelievable == 0);
}

/* What the question of this cycle begins with: those who are told to have no return delay, or nobody. */
static unsigned told_now(bool *asked)
{
    uint8_t out[SERVO_FRAMES];
    feetech_parser parser;
    feetech_frame frame;
    unsigned bits = 0;
    *asked = false;
    feetech_parser_init(&parser, FEETECH_MAX_PARAMS);
    const size_t size = servo_bus_ask(&bus, out, sizeof out);
    REQUIRE(feetech_parser_push(&parser, out, size) == size);
    REQUIRE(size == 0 || (out[0] == 0xFF && out[1] == 0xFF)); /* nothing in front */
    while (feetech_parser_next(&parser, &frame)) {
        if (frame.code == FEETECH_SYNC_READ) {
            REQUIRE(frame.params[0] == FEETECH_TORQUE_ENABLE && frame.params[1] == SERVO_BLOCK);
            REQUIRE(frame.count == (size_t)bus.arm->count + 2);
            *asked = true;
        } else {
            REQUIRE(!*asked && frame.code == FEETECH_SYNC_WRITE);
            REQUIRE(frame.params[0] == FEETECH_RETURN_DELAY && frame.params[1] == 1);
            for (size_t at = 2; at < frame.count; at += 2) {
                REQUIRE(frame.params[at + 1] == 0);
                for (int i = 0; i < bus.arm->count; ++i) {
                    bits |= bus.arm->joints[i].servo_id == frame.params[at] ? 1u << i : 0;
                }
            }
        }
    }
    return bits;
}

static void silent_ones_are_told_now_and_then(void)
{
    bool asked;
    for (int joint = 0; joint < SERVOS; ++joint) {
        begins(&table); /* which takes two cycles */
        misses(joint, SERVO_LOST);
        for (int told = 0; told < 7; ++told) {
            while (bus.cycle % SERVO_RETELL != 0) {
                REQUIRE(told_now(&asked) == 0 && asked);
                misses(joint, 1);
            }
            REQUIRE(told_now(&asked) == 0 && !asked); /* the line falls quiet */
            misses(joint, 1);
            REQUIRE(told_now(&asked) == (told < SERVO_RETELL_ALL ? (unsigned)ALL : 1u << joint) && asked);
            misses(joint, 1);
        }
        /* Once it is found all are told again, when it is lost the next time; and nobody while all answer. */
        is_at(joint, HERE);
        is_at(joint, HERE);
        REQUIRE(bus.servos[joint].known && bus.retold == 0);
        for (int cycle = 0; cycle < 2 * SERVO_RETELL; ++cycle) {
            misses(-1, 1);
            REQUIRE(told_now(&asked) == 0 && asked);
        }
    }
    REQUIRE(bus.retold == 0);
    is_at(2, HERE);
    bus.retold = 3;
    is_at(2, HERE);
    REQUIRE(bus.retold == 3); /* only one that was lost */
}

/* What of an answer came before the question is not the beginning of an answer to it. */
static void half_an_answer_does_not_cost_the_next(void)
{
    bool asked;
    uint8_t frame[ANSWER];
    begins(&table);
    for (size_t size = 1; size < ANSWER; ++size) {
        answer_of(table.joints[1].servo_id, 0, 1, HERE, frame);
        servo_bus_hear(&bus, frame, size);
        REQUIRE(told_now(&asked) == 0 && asked);
        misses(-1, 1);
        REQUIRE(servo_bus_complete(&bus));
    }
}

static void each_is_told_its_own(void)
{
    uint8_t data[SERVOS * 8];
    uint8_t out[SERVO_FRAMES];
    for (size_t at = 0; at < sizeof data; ++at) {
        data[at] = (uint8_t)(at + 1);
    }
    begins(&table);
    for (unsigned bits = 0; bits <= ALL; ++bits) {
        for (uint8_t length = 1; length <= 8; ++length) {
            feetech_parser parser;
            feetech_frame frame;
            feetech_parser_init(&parser, FEETECH_MAX_PARAMS);
            const size_t size = servo_bus_tell(&bus, bits, FEETECH_GOAL_POSITION, length, data, out, sizeof out);
            feetech_parser_push(&parser, out, size);
            REQUIRE(feetech_parser_next(&parser, &frame) == (bits != 0) && (bits != 0 || size == 0));
            size_t at = 2;
            for (int i = 0; i < SERVOS && bits != 0; ++i) {
                if ((bits >> i & 1u) != 0) {
                    REQUIRE(frame.params[at] == table.joints[i].servo_id);
                    REQUIRE(memcmp(frame.params + at + 1, data + i * length, length) == 0);
                    at += 1u + length;
                }
            }
            REQUIRE(bits == 0 || (frame.count == at && frame.params[1] == length));
        }
    }
}

void test_servo_bus(void)
{
    a_joint_gets_as_far_as_it_can_and_no_farther();
    one_that_is_lost_is_found_by_two_answers_that_agree();
    an_error_and_torque_off_have_to_be_said_twice();
    answers_may_come_in_any_pieces();
    who_is_not_of_the_arm_is_not_heard();
    silent_ones_are_told_now_and_then();
    half_an_answer_does_not_cost_the_next();
    each_is_told_its_own();
}
