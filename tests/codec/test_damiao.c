#include <math.h>
#include <stddef.h>
#include <string.h>

#include "check.h"
#include "damiao.h"

static const damiao_limits dm4310 = {12.5f, 30.0f, 10.0f};

static void vectors(void)
{
    const struct {
        damiao_command command;
        const char *hex;
    } cases[] = {
        {{0, 0, 10, 0.5f, 0}, "7F FF 7F F0 51 19 97 FF"},      {{1, 0, 10, 0.5f, 0}, "8A 3C 7F F0 51 19 97 FF"},
        {{-1.5f, 2, 50, 1, 3}, "70 A3 88 81 99 33 3A 65"},     {{12.5f, 30, 500, 5, 10}, "FF FF FF FF FF FF FF FF"},
        {{-12.5f, -30, 0, 0, -10}, "00 00 00 00 00 00 00 00"},
    };
    uint8_t out[DAMIAO_FRAME];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        damiao_command back;
        REQUIRE(damiao_command_pack(&dm4310, &cases[i].command, out));
        REQUIRE(same(out, sizeof out, cases[i].hex));
        REQUIRE(damiao_command_unpack(&dm4310, out, sizeof out, &back));
        REQUIRE(fabsf(back.position - cases[i].command.position) <= 25.0f / 65535);
        REQUIRE(fabsf(back.velocity - cases[i].command.velocity) <= 60.0f / 4095);
        REQUIRE(fabsf(back.kp - cases[i].command.kp) <= 500.0f / 4095);
        REQUIRE(fabsf(back.kd - cases[i].command.kd) <= 5.0f / 4095);
        REQUIRE(fabsf(back.torque - cases[i].command.torque) <= 20.0f / 4095);
        REQUIRE(!damiao_command_unpack(&dm4310, out, 7, &back));
    }
    damiao_order_pack(DAMIAO_ENABLE, out);
    REQUIRE(same(out, sizeof out, "FF FF FF FF FF FF FF FC"));
    damiao_order_pack(DAMIAO_DISABLE, out);
    REQUIRE(same(out, sizeof out, "FF FF FF FF FF FF FF FD"));
    damiao_order_pack(DAMIAO_ZERO, out);
    REQUIRE(same(out, sizeof out, "FF FF FF FF FF FF FF FE"));
    damiao_order_pack(DAMIAO_CLEAR, out);
    REQUIRE(same(out, sizeof out, "FF FF FF FF FF FF FF FB"));
    damiao_refresh(0x0105, out);
    REQUIRE(same(out, sizeof out, "05 01 CC 00 00 00 00 00"));
}

static void feedback(void)
{
    const byte_string golden = bytes_of("11 7F FF 7F F7 FF 20 1E");
    damiao_feedback back;
    uint8_t out[DAMIAO_FRAME];
    REQUIRE(damiao_feedback_unpack(&dm4310, golden.at, golden.count, &back));
    REQUIRE(back.id == 1 && back.status == DAMIAO_ON && back.mosfet_celsius == 32 && back.coil_celsius == 30);
    REQUIRE(fabsf(back.position) <= 25.0f / 65535 && fabsf(back.velocity) <= 60.0f / 4095);
    REQUIRE(fabsf(back.torque) <= 20.0f / 4095);
    REQUIRE(!damiao_feedback_unpack(&dm4310, golden.at, 7, &back));
    REQUIRE(!damiao_feedback_unpack(&dm4310, golden.at, 9, &back));
    back = (damiao_feedback){1, DAMIAO_ON, 0, 0, 0, 32, 30};
    REQUIRE(damiao_feedback_pack(&dm4310, &back, out) && same(out, sizeof out, "11 7F FF 7F F7 FF 20 1E"));
    for (unsigned status = 0; status < 16; ++status) {
        out[0] = (uint8_t)(status << 4 | 7);
        REQUIRE(damiao_feedback_unpack(&dm4310, out, sizeof out, &back) && back.status == status && back.id == 7);
        REQUIRE(damiao_status_is_fault(back.status) == (status > 1));
    }
}

static bool packs(damiao_limits limits, damiao_command command)
{
    uint8_t out[DAMIAO_FRAME];
    memset(out, 0x5A, sizeof out);
    const bool packed = damiao_command_pack(&limits, &command, out);
    REQUIRE(packed || same(out, sizeof out, "5A 5A 5A 5A 5A 5A 5A 5A"));
    return packed;
}

/* Each number of a command by itself: not finite, or the next one beyond its limit. */
static void no_number_is_bent(void)
{
    const damiao_command good = {0, 0, 10, 1, 0};
    const struct {
        size_t at;
        float low;
        float high;
    } fields[] = {
        {offsetof(damiao_command, position), -12.5f, 12.5f},
        {offsetof(damiao_command, velocity), -30, 30},
        {offsetof(damiao_command, kp), 0, 500},
        {offsetof(damiao_command, kd), 0, 5},
        {offsetof(damiao_command, torque), -10, 10},
    };
    REQUIRE(packs(dm4310, good));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; ++i) {
        const float low = fields[i].low;
        const float high = fields[i].high;
        const float bad[] = {NAN, INFINITY, -INFINITY, nextafterf(low, -1e9f), nextafterf(high, 1e9f)};
        damiao_command command = good;
        for (size_t j = 0; j < sizeof bad / sizeof *bad; ++j) {
            memcpy((char *)&command + fields[i].at, &bad[j], sizeof bad[j]);
            REQUIRE(!packs(dm4310, command));
        }
        memcpy((char *)&command + fields[i].at, &high, sizeof high);
        REQUIRE(packs(dm4310, command));
        memcpy((char *)&command + fields[i].at, &low, sizeof low);
        REQUIRE(packs(dm4310, command));
    }
}

static void limits_must_be_limits(void)
{
    const damiao_command still = {0, 0, 0, 0, 0};
    const float bad[] = {NAN, INFINITY, -INFINITY, 0, -1, 3e38f, 10001, 0.0009f, 1e-40f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        for (size_t field = 0; field < 3; ++field) {
            damiao_limits limits = dm4310;
            memcpy((char *)&limits + field * sizeof bad[i], &bad[i], sizeof bad[i]);
            REQUIRE(!packs(limits, still));
            REQUIRE(!damiao_limits_agree(&limits, &dm4310) && !damiao_limits_agree(&dm4310, &limits));
        }
    }
    REQUIRE(damiao_limits_agree(&dm4310, &dm4310));
    const damiao_limits others[] = {{12.6f, 30, 10}, {12.4f, 30, 10}, {12.5f, 28, 10}, {12.5f, 30, 10.1f}};
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i) {
        REQUIRE(!damiao_limits_agree(&dm4310, &others[i]));
    }
}

static void feedback_is_not_bent(void)
{
    const damiao_feedback bad[] = {
        {16, 1, 0, 0, 0, 0, 0}, {1, 16, 0, 0, 0, 0, 0},  {1, 1, NAN, 0, 0, 0, 0},
        {1, 1, 0, 31, 0, 0, 0}, {1, 1, 0, 0, -11, 0, 0},
    };
    uint8_t out[DAMIAO_FRAME];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        REQUIRE(!damiao_feedback_pack(&dm4310, &bad[i], out));
    }
    const damiao_limits none = {0, 0, 0};
    REQUIRE(!damiao_feedback_pack(&none, &(damiao_feedback){1, 1, 0, 0, 0, 0, 0}, out));
}

static void registers(void)
{
    uint8_t out[DAMIAO_FRAME];
    uint32_t bits;
    damiao_register_read(0x102, DAMIAO_MAX_POSITION, out);
    REQUIRE(same(out, sizeof out, "02 01 33 15 00 00 00 00"));
    damiao_register_write(1, DAMIAO_MAX_VELOCITY, damiao_bits_of(30.0f), out);
    REQUIRE(same(out, sizeof out, "01 00 55 16 00 00 F0 41"));
    REQUIRE(damiao_register_unpack(out, sizeof out, 1, DAMIAO_MAX_VELOCITY, &bits));
    REQUIRE(damiao_float_of(bits) == 30.0f);
    const byte_string reply = bytes_of("01 00 33 15 00 00 48 41");
    REQUIRE(damiao_register_unpack(reply.at, reply.count, 1, DAMIAO_MAX_POSITION, &bits));
    REQUIRE(damiao_float_of(bits) == 12.5f);
    REQUIRE(!damiao_register_unpack(reply.at, 7, 1, DAMIAO_MAX_POSITION, &bits));
    REQUIRE(!damiao_register_unpack(reply.at, 8, 2, DAMIAO_MAX_POSITION, &bits));
    REQUIRE(!damiao_register_unpack(reply.at, 8, 1, DAMIAO_MAX_TORQUE, &bits));
    const byte_string stored = bytes_of("01 00 AA 15 00 00 48 41");
    REQUIRE(!damiao_register_unpack(stored.at, 8, 1, DAMIAO_MAX_POSITION, &bits));
}

void test_damiao(void)
{
    vectors();
    feedback();
    no_number_is_bent();
    limits_must_be_limits();
    feedback_is_not_bent();
    registers();
}
