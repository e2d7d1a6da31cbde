#include <string.h>

#include "bridge_vectors.h"
#include "check.h"
#include "crc32.h"

static void vectors(void)
{
    for (int i = 0; i < BRIDGE_VECTORS; ++i) {
        const byte_string golden = bytes_of(bridge_vectors[i].hex);
        uint8_t out[BRIDGE_MAX_LENGTH];
        bridge_message message;
        REQUIRE(same(out, bridge_encode(&bridge_vectors[i].message, out), bridge_vectors[i].hex));
        REQUIRE(bridge_decode(golden.at, golden.count, &message));
        REQUIRE(same_message(&message, &bridge_vectors[i].message));
    }
}

/* One wrong bit anywhere, every burst of up to 32, and every length but the right one. */
static void damage_shows(void)
{
    bridge_message message;
    for (int i = 0; i < BRIDGE_VECTORS; ++i) {
        byte_string bytes = bytes_of(bridge_vectors[i].hex);
        for (size_t bit = 0; bit < 8 * bytes.count; ++bit) {
            bytes.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
            REQUIRE(!bridge_decode(bytes.at, bytes.count, &message));
            bytes.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t length = 0; length < sizeof bytes.at; ++length) {
            REQUIRE(bridge_decode(bytes.at, length, &message) == (length == bytes.count));
        }
    }
    for (int burst = 0; burst < 100000; ++burst) {
        byte_string bytes = bytes_of(bridge_vectors[burst % BRIDGE_VECTORS].hex);
        const uint32_t pattern = any() | 1;
        const size_t first = any_below((uint32_t)(8 * bytes.count));
        for (size_t bit = first; bit < 8 * bytes.count && bit < first + 32; ++bit) {
            bytes.at[bit / 8] ^= (uint8_t)((pattern >> (bit - first) & 1) << bit % 8);
        }
        REQUIRE(!bridge_decode(bytes.at, bytes.count, &message));
    }
}

static bool encodes(bridge_message message)
{
    uint8_t out[BRIDGE_MAX_LENGTH];
    return bridge_encode(&message, out) > 0;
}

static void nothing_else_is_sent(void)
{
    bridge_message message = bridge_vectors[HELLO].message;
    message.as.hello.session = 0;
    REQUIRE(!encodes(message));
    message.kind = BRIDGE_HELLO_REPLY;
    REQUIRE(encodes(message));
    message = bridge_vectors[HELLO].message;
    message.as.hello.refusal = BRIDGE_STALE;
    REQUIRE(!encodes(message));
    message.kind = 0;
    REQUIRE(!encodes(message));

    message = bridge_vectors[CLEAR].message;
    message.as.clear.order.expiry_ms = 0;
    REQUIRE(!encodes(message));
    message.as.clear.order.expiry_ms = BRIDGE_MAX_EXPIRY_MS;
    REQUIRE(encodes(message));
    message.as.clear.order.expiry_ms += 1;
    REQUIRE(!encodes(message));
    message = bridge_vectors[CLEAR].message;
    message.as.clear.order.session = 0;
    REQUIRE(!encodes(message));
    message = bridge_vectors[CLEAR].message;
    message.as.clear.order.sequence = 0;
    REQUIRE(!encodes(message));
}

static void no_number_beyond_the_limiter_is_sent(void)
{
    const int64_t farthest = INT64_C(1) << BRIDGE_MAX_POSITION_LOG2;
    const int32_t fastest = INT32_C(1) << BRIDGE_MAX_VELOCITY_LOG2;
    const struct {
        bridge_target target;
        bool good;
    } targets[] = {
        {{farthest, fastest}, true},     {{-farthest, -fastest}, true}, {{farthest + 1, 0}, false},
        {{-farthest - 1, 0}, false},     {{0, fastest + 1}, false},     {{0, -fastest - 1}, false},
        {{INT64_MAX, INT32_MAX}, false}, {{INT64_MIN, 0}, false},       {{0, INT32_MIN}, false},
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; ++i) {
        bridge_message message = long_command();
        message.as.command.targets[7] = targets[i].target;
        REQUIRE(encodes(message) == targets[i].good);
    }
    bridge_message measured = bridge_vectors[STATE].message;
    measured.as.state.positions[1] = farthest;
    REQUIRE(encodes(measured));
    measured.as.state.positions[1] = farthest + 1;
    REQUIRE(!encodes(measured));
    measured.as.state.positions[1] = -farthest - 1;
    REQUIRE(!encodes(measured));
    for (unsigned joints = 0; joints < 256; ++joints) {
        bridge_message message = long_command();
        message.as.command.joints = (uint8_t)joints;
        REQUIRE(encodes(message) == (joints >= 1 && joints <= BRIDGE_MAX_JOINTS));
        message = bridge_vectors[STATE].message;
        message.as.state.joints = (uint8_t)joints;
        REQUIRE(encodes(message) == (joints >= 2 && joints <= BRIDGE_MAX_JOINTS));
    }
}

static void no_undefined_state_is_sent(void)
{
    const bridge_message good = bridge_vectors[STATE].message;
    bridge_message message = good;
    message.as.state.arm = 0;
    REQUIRE(!encodes(message));
    message.as.state.arm = BRIDGE_STOPPED + 1;
    REQUIRE(!encodes(message));
    message = good;
    message.as.state.refusal = BRIDGE_FAULT_PRESENT + 1;
    REQUIRE(!encodes(message));
    message = good;
    message.as.state.faults = BRIDGE_FAULTS + 1;
    REQUIRE(!encodes(message));
    message = good;
    message.as.state.limited = 4;
    REQUIRE(!encodes(message));
    message = good;
    message.as.state.stale = 4;
    REQUIRE(!encodes(message));
}

/* Whole and with a right CRC, and still refused: the sender is none of ours. */
static void nothing_else_is_received(void)
{
    const char *bodies[] = {
        "02 01 00 00 D4 C3 B2 A1 02 00 00 00 E0 51 0F 00 00 00 00 00 01 00 37 89 41 00", /* lives for no time */
        "02 01 65 00 D4 C3 B2 A1 02 00 00 00 E0 51 0F 00 00 00 00 00 01 00 37 89 41 00", /* or too long */
        "02 01 14 00 D4 C3 B2 A1 02 00 00 00 E0 51 0F 00 01 00 00 00 00 01 37 89 41 00", /* too far */
        "02 01 14 00 D4 C3 B2 A1 02 00 00 00 E0 51 0F 00 00 00 00 00 01 00 01 00 00 08", /* too fast */
        "03 01",
        "04 01 32 00 D4 C3 B2 A1 01 00 00 00 40 42 0F 00 03 00",
        "05 00",
        "02 00 14 00",
        "00 00",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; ++i) {
        byte_string bytes = bytes_of(bodies[i]);
        const uint32_t crc = edgearm_crc32(bytes.at, bytes.count);
        for (int byte = 0; byte < 4; ++byte) {
            bytes.at[bytes.count++] = (uint8_t)(crc >> (8 * byte));
        }
        bridge_message message;
        REQUIRE(!bridge_decode(bytes.at, bytes.count, &message));
    }
}

static void lengths(void)
{
    uint8_t out[BRIDGE_MAX_LENGTH];
    const bridge_message message = long_command();
    REQUIRE(bridge_encode(&message, out) == BRIDGE_MAX_LENGTH);
    REQUIRE(bridge_length(BRIDGE_STATE, 6) == 63);
    REQUIRE(bridge_length(BRIDGE_COMMAND, 6) == 80);
    REQUIRE(bridge_length(BRIDGE_HELLO, 255) == BRIDGE_HELLO_LENGTH);
}

void test_bridge(void)
{
    vectors();
    damage_shows();
    nothing_else_is_sent();
    no_number_beyond_the_limiter_is_sent();
    no_undefined_state_is_sent();
    nothing_else_is_received();
    lengths();
}
