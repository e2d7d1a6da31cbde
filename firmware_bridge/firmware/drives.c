#include "drives.h"

#include <string.h>

/* Acceleration, Goal_Position, Goal_Time and Goal_Velocity lie side by side. */
enum { GOALS_AT = FEETECH_ACCELERATION - FEETECH_TORQUE_ENABLE, GOALS_LENGTH = 7, WORD = 2 };

static void enter(drives *all, enum drives_stage stage)
{
    all->stage = (uint8_t)stage;
    all->cycles = 0;
}

void drives_arm(drives *all)
{
    enter(all, DRIVES_MEASURING);
}

void drives_release(drives *all)
{
    enter(all, DRIVES_RELEASING);
}

void drives_halt(drives *all)
{
    if (all->stage == DRIVES_ON && all->repeats > 0) {
        all->repeats -= 1;
    } else if (all->stage != DRIVES_RELEASING) {
        enter(all, DRIVES_LEFT);
    }
}

void drives_abandon(drives *all)
{
    enter(all, DRIVES_LEFT);
}

static void put_goal(uint8_t *to, int32_t goal)
{
    const uint16_t word = feetech_to_sign_magnitude(goal, FEETECH_SIGN_POSITION);
    to[0] = (uint8_t)(word & 0xFF);
    to[1] = (uint8_t)(word >> 8);
}

/* What a servo's registers have to hold before its torque goes on. */
static void put_hold(uint8_t to[GOALS_LENGTH], int32_t goal)
{
    memset(to, 0, GOALS_LENGTH);
    put_goal(to + 1, goal);
}

static bool holds(const drives *all, const bus_servo *from, int joint)
{
    uint8_t expected[GOALS_LENGTH];
    put_hold(expected, all->goals[joint]);
    return memcmp(from->block + GOALS_AT, expected, GOALS_LENGTH) == 0;
}

/* Whether a servo does what this stage is there for. */
static bool does(const drives *all, const bus_servo *from, int joint)
{
    switch (all->stage) {
        case DRIVES_GOALS:
            return holds(all, from, joint);
        case DRIVES_TORQUE:
            return servo_torque(from);
        case DRIVES_RELEASING:
            return !servo_torque(from) && all->cycles > DRIVES_REPEATS;
        default:
            return true;
    }
}

/* Whether every servo has said in this cycle that it does. */
static bool achieved(const drives *all, const servo_bus *bus)
{
    bool achieved = servo_bus_complete(bus);
    for (int i = 0; i < bus->arm->count; ++i) {
        achieved = achieved && does(all, &bus->servos[i], i);
    }
    return achieved;
}

/* On its way somewhere else. */
static bool wanders(const bus_servo *from)
{
    const int32_t off = servo_goal(from) - from->encoder;
    return from->known && servo_torque(from) && (off > DRIVES_NEAR || off < -DRIVES_NEAR);
}

static void look(drives *all, const servo_bus *bus)
{
    for (int i = 0; i < bus->arm->count; ++i) {
        const bus_servo *from = &bus->servos[i];
        if (from->known && !wanders(from)) {
            all->found |= 1u << i;
        }
    }
}

static void lose(drives *all, const servo_bus *bus)
{
    for (int i = 0; i < bus->arm->count; ++i) {
        all->lost |= bus->servos[i].known ? 0u : 1u << i;
    }
}

bool drives_advance(drives *all, const servo_bus *bus)
{
    if (all->cycles < UINT8_MAX) {
        all->cycles += 1;
    }
    if (all->stage == DRIVES_ON) {
        lose(all, bus);
    }
    if (all->stage == DRIVES_LEFT) {
        look(all, bus);
    }
    if (all->stage == DRIVES_LEFT || all->stage == DRIVES_ON || !achieved(all, bus)) {
        return false;
    }
    switch (all->stage) {
        case DRIVES_MEASURING:
            for (int i = 0; i < bus->arm->count; ++i) {
                all->goals[i] = bus->servos[i].encoder;
            }
            all->found = ~0u;
            enter(all, DRIVES_GOALS);
            return true;
        case DRIVES_GOALS:
            enter(all, DRIVES_TORQUE);
            return false;
        case DRIVES_TORQUE:
            all->repeats = DRIVES_REPEATS;
            all->lost = 0;
            enter(all, DRIVES_ON);
            return false;
        default:
            enter(all, DRIVES_LEFT);
            return false;
    }
}

bool drives_stuck(const drives *all)
{
    return all->stage != DRIVES_LEFT && all->stage != DRIVES_ON && all->cycles > DRIVES_TRIES;
}

static size_t tell_goals(const servo_bus *bus, unsigned bits, const int32_t *goals, uint8_t *out, size_t capacity)
{
    uint8_t data[BRIDGE_MAX_JOINTS * WORD];
    for (int i = 0; i < bus->arm->count; ++i) {
        put_goal(data + i * WORD, goals[i]);
    }
    return servo_bus_tell(bus, bits, FEETECH_GOAL_POSITION, WORD, data, out, capacity);
}

/* Those that power-on has found on their way. */
static size_t tell_to_stay(const drives *all, const servo_bus *bus, uint8_t *out, size_t capacity)
{
    unsigned bits = 0;
    int32_t goals[BRIDGE_MAX_JOINTS];
    for (int i = 0; i < bus->arm->count; ++i) {
        const bus_servo *from = &bus->servos[i];
        bits |= (all->found >> i & 1u) == 0 && wanders(from) ? 1u << i : 0u;
        goals[i] = from->encoder;
    }
    return tell_goals(bus, bits, goals, out, capacity);
}

/* Those that still have the torque that they were given. */
static size_t tell_to_follow(const drives *all, const servo_bus *bus, uint8_t *out, size_t capacity)
{
    unsigned bits = ~all->lost;
    for (int i = 0; i < bus->arm->count; ++i) {
        bits &= bus->servos[i].newest_limp ? ~(1u << i) : ~0u;
    }
    return tell_goals(bus, bits, all->goals, out, capacity);
}

static size_t tell_torque(const servo_bus *bus, uint8_t value, uint8_t *out, size_t capacity)
{
    uint8_t data[BRIDGE_MAX_JOINTS];
    memset(data, value, sizeof data);
    return servo_bus_tell(bus, ~0u, FEETECH_TORQUE_ENABLE, 1, data, out, capacity);
}

size_t drives_tell(drives *all, const servo_bus *bus, uint8_t *out, size_t capacity)
{
    uint8_t data[BRIDGE_MAX_JOINTS * GOALS_LENGTH];
    switch (all->stage) {
        case DRIVES_LEFT:
            return tell_to_stay(all, bus, out, capacity);
        case DRIVES_GOALS:
            for (int i = 0; i < bus->arm->count; ++i) {
                put_hold(data + i * GOALS_LENGTH, all->goals[i]);
            }
            return servo_bus_tell(bus, ~0u, FEETECH_ACCELERATION, GOALS_LENGTH, data, out, capacity);
        case DRIVES_TORQUE:
            return tell_torque(bus, 1, out, capacity);
        case DRIVES_ON:
            return tell_to_follow(all, bus, out, capacity);
        case DRIVES_RELEASING:
            return tell_torque(bus, 0, out, capacity);
        default:
            return 0;
    }
}
