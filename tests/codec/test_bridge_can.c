#include <string.h>

#include "bridge_can.h"
#include "bridge_vectors.h"
#include "check.h"

typedef struct {
    uint8_t at[BRIDGE_CAN_FD];
    size_t size;
} can_frame;

typedef struct {
    can_frame at[20];
    size_t count;
} can_frames;

static can_frames cut(const bridge_message *message, size_t frame_size, uint8_t transfer)
{
    uint8_t bytes[BRIDGE_MAX_LENGTH];
    const size_t length = bridge_encode(message, bytes);
    can_frames frames;
    for (frames.count = 0;; ++frames.count) {
        can_frame *frame = &frames.at[frames.count];
        frame->size = bridge_can_fragment(bytes, length, frame_size, transfer, frames.count, frame->at);
        if (frame->size == 0) {
            return frames;
        }
    }
}

static bool push(bridge_assembly *assembly, const can_frame *frame, const bridge_message *expected)
{
    bridge_message message;
    const bool complete = bridge_assembly_push(assembly, frame->at, frame->size, &message);
    REQUIRE(!complete || same_message(&message, expected));
    return complete;
}

/* Every frame but the last completes nothing, and the last completes the message. */
static void arrives(bridge_assembly *assembly, const bridge_message *message, uint8_t transfer)
{
    const can_frames frames = cut(message, assembly->frame_size, transfer);
    for (size_t i = 0; i < frames.count; ++i) {
        REQUIRE(push(assembly, &frames.at[i], message) == (i + 1 == frames.count));
    }
}

static void vectors(void)
{
    const can_frames stop = cut(&bridge_vectors[STOP].message, BRIDGE_CAN_CLASSIC, 5);
    REQUIRE(stop.count == 1 && same(stop.at[0].at, stop.at[0].size, "50 03 00 3C 41 F4 6A"));
    const char *classic[] = {"20 02 02 14 00 D4 C3 B2", "21 A1 02 00 00 00 E0 51", "22 0F 00 00 00 00 00 01",
                             "23 00 37 89 41 00 00 00", "24 00 80 FF FF FF FF FF", "25 FF E8 1C 94 58"};
    can_frames command = cut(&bridge_vectors[COMMAND].message, BRIDGE_CAN_CLASSIC, 0x12);
    REQUIRE(command.count == 6);
    for (size_t i = 0; i < 6; ++i) {
        REQUIRE(same(command.at[i].at, command.at[i].size, classic[i]));
    }
    command = cut(&bridge_vectors[COMMAND].message, BRIDGE_CAN_FD, 0x12);
    REQUIRE(command.count == 1);
    REQUIRE(
        same(command.at[0].at, command.at[0].size,
             "20 02 02 14 00 D4 C3 B2 A1 02 00 00 00 E0 51 0F 00 00 00 00 00 01 00 37 89 41 00 00 00 00 80 FF FF FF "
             "FF FF FF E8 1C 94 58 00 00 00 00 00 00 00"));
}

static void lengths(void)
{
    bridge_message message = long_command();
    REQUIRE(cut(&message, BRIDGE_CAN_CLASSIC, 0).count == 15 && cut(&message, BRIDGE_CAN_FD, 0).count == 2);
    for (uint8_t joints = 1; joints <= BRIDGE_MAX_JOINTS; ++joints) {
        for (size_t size = BRIDGE_CAN_CLASSIC; size <= BRIDGE_CAN_FD; size += BRIDGE_CAN_FD - BRIDGE_CAN_CLASSIC) {
            bridge_assembly assembly;
            bridge_assembly_init(&assembly, size);
            message.as.command.joints = joints;
            arrives(&assembly, &message, joints);
            bridge_message state = bridge_vectors[STATE].message;
            state.as.state.joints = joints < 2 ? 2 : joints;
            arrives(&assembly, &state, joints);
            REQUIRE(assembly.frames == 2 && assembly.corrupt == 0 && assembly.skipped == 0);
        }
    }
    uint8_t bytes[BRIDGE_MAX_LENGTH + 1] = {0};
    uint8_t out[BRIDGE_CAN_FD];
    REQUIRE(bridge_can_fragment(bytes, BRIDGE_STOP_LENGTH - 1, BRIDGE_CAN_FD, 0, 0, out) == 0);
    REQUIRE(bridge_can_fragment(bytes, BRIDGE_MAX_LENGTH + 1, BRIDGE_CAN_FD, 0, 0, out) == 0);
    REQUIRE(bridge_can_fragment(bytes, BRIDGE_MAX_LENGTH, 16, 0, 0, out) == 0);
    REQUIRE(bridge_can_fragment(bytes, BRIDGE_MAX_LENGTH, BRIDGE_CAN_CLASSIC, 0, SIZE_MAX / 7 + 2, out) == 0);
}

/* One fragment left out, repeated, or changed for its neighbour: the message never counts, the next one does. */
static void only_whole_and_in_order(size_t frame_size)
{
    const bridge_message sent = long_command();
    const can_frames frames = cut(&sent, frame_size, 3);
    for (size_t at = 0; at < frames.count; ++at) {
        for (int way = 0; way < 3; ++way) {
            bridge_assembly assembly;
            bridge_assembly_init(&assembly, frame_size);
            bool complete = false;
            size_t in = 0;
            for (size_t i = 0; i < frames.count; ++i) {
                const size_t other = i == at && i + 1 < frames.count ? i + 1 : i == at + 1 ? at : i;
                if (way == 0 && i == at) {
                    continue;
                }
                complete = push(&assembly, &frames.at[way == 2 ? other : i], &sent) || complete;
                in += 1;
                if (way == 1 && i == at) {
                    complete = push(&assembly, &frames.at[i], &sent) || complete;
                    in += 1;
                }
            }
            /* Repeating the first begins anew, repeating the last comes when all is done; the last has no neighbour. */
            const bool harmless =
                (way == 1 && (at == 0 || at + 1 == frames.count)) || (way == 2 && at + 1 == frames.count);
            REQUIRE(complete == harmless);
            REQUIRE(assembly.frames == (harmless ? 1 : 0) && assembly.corrupt == 0);
            arrives(&assembly, &sent, 4);
            /* What was sent and is neither in a message nor skipped has never been. */
            REQUIRE(assembly.skipped == (harmless ? in - frames.count : in));
        }
    }
}

/* A stop between the fragments of a command does not disturb it: each identifier has its own assembly. And the
 * fragments of two messages never make a third. */
static void transfers_do_not_mix(void)
{
    bridge_message one = long_command();
    bridge_message two = long_command();
    two.as.command.order.sequence += 1;
    two.as.command.targets[0].position += 1;
    for (uint8_t transfer = 4; transfer <= 20; transfer += 1) {
        const can_frames first = cut(&one, BRIDGE_CAN_CLASSIC, 4);
        const can_frames second = cut(&two, BRIDGE_CAN_CLASSIC, transfer);
        for (size_t at = 1; at < first.count; ++at) {
            bridge_assembly assembly;
            bridge_message message;
            bridge_assembly_init(&assembly, BRIDGE_CAN_CLASSIC);
            bool complete = false;
            for (size_t i = 0; i < first.count; ++i) {
                const can_frame *frame = i < at ? &first.at[i] : &second.at[i];
                complete = bridge_assembly_push(&assembly, frame->at, frame->size, &message) || complete;
            }
            /* All but the CRC's fragments of two messages whose difference lies before the cut may be alike. */
            REQUIRE(!complete || same_message(&message, &two));
            if (complete) {
                REQUIRE(memcmp(first.at[0].at, second.at[0].at, 8) == 0);
            }
        }
    }
}

static void what_is_no_fragment_is_skipped(void)
{
    const bridge_message sent = bridge_vectors[COMMAND].message;
    bridge_assembly assembly;
    bridge_assembly_init(&assembly, BRIDGE_CAN_FD);
    can_frames frames = cut(&sent, BRIDGE_CAN_FD, 0);
    for (size_t size = 0; size <= BRIDGE_CAN_FD; ++size) { /* another length than the message's */
        frames.at[0].size = size;
        REQUIRE(push(&assembly, &frames.at[0], &sent) == (size == 48));
    }
    frames.at[0].size = 48;
    frames.at[0].at[47] = 1; /* what fills it up is zero */
    REQUIRE(!push(&assembly, &frames.at[0], &sent));
    frames.at[0].at[47] = 0;
    frames.at[0].at[40] ^= 1; /* the last byte of the CRC */
    REQUIRE(!push(&assembly, &frames.at[0], &sent));
    REQUIRE(assembly.frames == 1 && assembly.corrupt == 1 && assembly.skipped == 65);
    const uint8_t unknown[] = {0x00, 0x07, 0x00, 0, 0, 0, 0, 0};
    bridge_message message;
    bridge_assembly_init(&assembly, BRIDGE_CAN_CLASSIC);
    REQUIRE(!bridge_assembly_push(&assembly, unknown, sizeof unknown, &message));
    REQUIRE(assembly.skipped == 1);
}

/* Any frames at all, then an intact message. */
static void garbage_costs_nothing(void)
{
    bridge_assembly assembly;
    bridge_assembly_init(&assembly, BRIDGE_CAN_CLASSIC);
    for (int round = 0; round < 20000; ++round) {
        const bridge_message *sent = &bridge_vectors[round % BRIDGE_VECTORS].message;
        for (uint32_t left = any_below(5); left > 0; --left) {
            can_frame garbage = {{0}, any_below(9)};
            for (size_t i = 0; i < garbage.size; ++i) {
                garbage.at[i] = (uint8_t)(any() % (i < 3 ? 4 : 256));
            }
            REQUIRE(!push(&assembly, &garbage, sent));
        }
        arrives(&assembly, sent, (uint8_t)round);
    }
}

void test_bridge_can(void)
{
    vectors();
    lengths();
    only_whole_and_in_order(BRIDGE_CAN_CLASSIC);
    only_whole_and_in_order(BRIDGE_CAN_FD);
    transfers_do_not_mix();
    what_is_no_fragment_is_skipped();
    garbage_costs_nothing();
}
