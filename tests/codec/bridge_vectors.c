#include "bridge_vectors.h"

#include <string.h>

const bridge_vector bridge_vectors[BRIDGE_VECTORS] = {
    {"01 06 E8 03 78 56 34 12 D4 C3 B2 A1 FE CA AD 0B 00 D5 0D 18 2E",
     {BRIDGE_HELLO, {.hello = {6, 1000, 0x12345678, 0xA1B2C3D4, 0x0BADCAFE, BRIDGE_ACCEPTED}}}},
    {"81 06 E8 03 78 56 34 12 D4 C3 B2 A1 FE CA AD 0B 00 3D C6 94 94",
     {BRIDGE_HELLO_REPLY, {.hello = {6, 1000, 0x12345678, 0xA1B2C3D4, 0x0BADCAFE, BRIDGE_ACCEPTED}}}},
    {"81 06 E8 03 F0 DE BC 9A 00 00 00 00 FE CA AD 0B 01 C3 48 A9 9F",
     {BRIDGE_HELLO_REPLY, {.hello = {6, 1000, 0x9ABCDEF0, 0, 0x0BADCAFE, BRIDGE_WRONG_PROTOCOL}}}},
    {"04 00 32 00 D4 C3 B2 A1 01 00 00 00 40 42 0F 00 03 00 C0 80 33 1E",
     {BRIDGE_CLEAR, {.clear = {{50, 0xA1B2C3D4, 1, 1000000}, 3}}}},
    {"02 02 14 00 D4 C3 B2 A1 02 00 00 00 E0 51 0F 00 00 00 00 00 01 00 37 89 41 00 00 00 00 80 FF FF FF FF FF FF "
     "E8 1C 94 58",
     {BRIDGE_COMMAND,
      {.command = {{20, 0xA1B2C3D4, 2, 1004000}, 2, {{INT64_C(4294967296), 4294967}, {INT64_C(-2147483648), -1}}}}}},
    {"03 00 3C 41 F4 6A", {BRIDGE_STOP, {.hello = {0}}}},
    {"82 02 03 00 D4 C3 B2 A1 02 00 00 00 B0 59 0F 00 00 00 03 00 02 00 01 FF FF FF FF 00 00 10 00 00 80 FF FF "
     "FA B8 C5 D8",
     {BRIDGE_STATE,
      {.state = {2,
                 BRIDGE_RUNNING,
                 BRIDGE_ACCEPTED,
                 0xA1B2C3D4,
                 2,
                 1006000,
                 0,
                 3,
                 2,
                 0,
                 1,
                 {INT64_C(4294967295), INT64_C(-2147483632)}}}}},
    {"05 00 32 00 D4 C3 B2 A1 03 00 00 00 50 E0 10 00 05 00 3E C8 85 A2",
     {BRIDGE_RELEASE, {.clear = {{50, 0xA1B2C3D4, 3, 1106000}, 5}}}},
    {"82 01 05 08 D4 C3 B2 A1 02 00 00 00 50 E0 10 00 03 00 05 00 00 01 FF 00 00 00 00 00 00 36 9F 7D D5",
     {BRIDGE_STATE,
      {.state = {1,
                 BRIDGE_STOPPED,
                 BRIDGE_NOT_ARMED,
                 0xA1B2C3D4,
                 2,
                 1106000,
                 BRIDGE_FAULT_STOP | BRIDGE_FAULT_EXPIRED,
                 5,
                 0,
                 1,
                 255,
                 {0}}}}},
};

bridge_message long_command(void)
{
    bridge_message message;
    memset(&message, 0, sizeof message);
    message.kind = BRIDGE_COMMAND;
    message.as.command.order = (bridge_order){BRIDGE_MAX_EXPIRY_MS, 0x01020304, 0x05060708, 0x090A0B0C};
    message.as.command.joints = BRIDGE_MAX_JOINTS;
    for (int i = 0; i < BRIDGE_MAX_JOINTS; ++i) {
        message.as.command.targets[i].position = (INT64_C(0x203040506) + i * INT64_C(0x1010101)) * (i % 2 ? 1 : -1);
        message.as.command.targets[i].velocity = 0x1020304 + i * 0x10101;
    }
    return message;
}

static bool same_hello(const bridge_hello *a, const bridge_hello *b)
{
    return a->joints == b->joints && a->tick_us == b->tick_us && a->protocol == b->protocol &&
           a->session == b->session && a->config == b->config && a->refusal == b->refusal;
}

static bool same_order(const bridge_order *a, const bridge_order *b)
{
    return a->expiry_ms == b->expiry_ms && a->session == b->session && a->sequence == b->sequence &&
           a->basis_us == b->basis_us;
}

static bool same_command(const bridge_command *a, const bridge_command *b)
{
    bool same = same_order(&a->order, &b->order) && a->joints == b->joints;
    for (int i = 0; same && i < a->joints; ++i) {
        same = a->targets[i].position == b->targets[i].position && a->targets[i].velocity == b->targets[i].velocity;
    }
    return same;
}

static bool same_state(const bridge_state *a, const bridge_state *b)
{
    bool same = a->joints == b->joints && a->arm == b->arm && a->refusal == b->refusal && a->session == b->session &&
                a->sequence == b->sequence && a->time_us == b->time_us && a->faults == b->faults &&
                a->latch == b->latch && a->limited == b->limited && a->stale == b->stale && a->age_ms == b->age_ms;
    for (int i = 0; same && i < a->joints; ++i) {
        same = a->positions[i] == b->positions[i];
    }
    return same;
}

bool same_message(const bridge_message *a, const bridge_message *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
        case BRIDGE_COMMAND:
            return same_command(&a->as.command, &b->as.command);
        case BRIDGE_STATE:
            return same_state(&a->as.state, &b->as.state);
        case BRIDGE_CLEAR:
        case BRIDGE_RELEASE:
            return same_order(&a->as.clear.order, &b->as.clear.order) && a->as.clear.latch == b->as.clear.latch;
        case BRIDGE_STOP:
            return true;
        default:
            return same_hello(&a->as.hello, &b->as.hello);
    }
}
