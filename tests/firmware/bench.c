#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "crc32.h"
#include "hal.h"

bench arm;
arm_table table;

void make_table(void)
{
    table = so101_table;
    while (table.count < SERVOS) {
        table.joints[table.count] = so101_table.joints[table.count - so101_table.count];
        table.joints[table.count].servo_id = (uint8_t)(table.count + 1);
        table.count += 1;
    }
}

/* --- the machine ---------------------------------------------------------------------------------------------------
 */

size_t hal_upward_read(uint8_t *to, size_t most)
{
    const size_t count = arm.sent < most ? arm.sent : most;
    memcpy(to, arm.upward, count);
    arm.sent -= count;
    memmove(arm.upward, arm.upward + count, arm.sent);
    return count;
}

bool hal_upward_send(const uint8_t *bytes, size_t count)
{
    bridge_message message;
    for (size_t i = 0; !arm.upward_full && i < count; ++i) {
        if (!bridge_parser_push(&arm.parser, bytes[i], &message)) {
            continue;
        }
        if (message.kind == BRIDGE_STATE) {
            arm.state = message.as.state;
            arm.states += 1;
        } else {
            REQUIRE(message.kind == BRIDGE_HELLO_REPLY);
            arm.reply = message.as.hello;
            arm.replies += 1;
        }
    }
    REQUIRE(arm.parser.corrupt == 0);
    return !arm.upward_full;
}

size_t hal_bus_read(uint8_t *to, size_t most)
{
    return servo_line_read(&arm.line, arm.now, to, most);
}

bool hal_bus_send(const uint8_t *bytes, size_t count)
{
    REQUIRE(count > 0);
    if (!arm.bus_full) {
        servo_line_hear(&arm.line, arm.now, bytes, count);
    }
    return !arm.bus_full;
}

bool hal_stop_pressed(void)
{
    return arm.pressed;
}

bool hal_watchdog_reset(void)
{
    return arm.watchdog_reset;
}

void hal_kick_watchdog(void)
{
    arm.kicks += 1;
}

void power_on(int32_t position)
{
    memset(&arm, 0, sizeof arm);
    servo_line_init(&arm.line, position);
    bridge_parser_init(&arm.parser);
    arm.now = UINT32_MAX - 300000; /* the clock wraps on the way */
    arm.line.free_us = arm.now;
    firmware_init(&arm.fw, &table, arm.now);
}

static uint32_t told_crc;

/* A number that every machine writes alike, behind those before it. */
static void chain(uint32_t value)
{
    const uint32_t numbers[] = {told_crc, value};
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; ++i) {
        bytes[i] = (uint8_t)(numbers[i / 4] >> (8 * (i % 4)) & 0xFF);
    }
    told_crc = edgearm_crc32(bytes, sizeof bytes);
}

uint32_t everything_told(void)
{
    return told_crc;
}

void power_off(void)
{
    for (size_t i = 0; i < arm.line.written; ++i) {
        const servo_write *write = &arm.line.writes[i];
        chain(write->time_us);
        chain((uint32_t)write->servo << 8 | write->address);
        chain((uint32_t)write->value);
    }
    servo_line_free(&arm.line);
}

void reset(bool by_watchdog)
{
    arm.watchdog_reset = by_watchdog;
    arm.now = 12345;
    arm.line.carried = 0;
    arm.line.free_us = arm.now;
    firmware_init(&arm.fw, &table, arm.now);
}

void runs(uint32_t us)
{
    for (uint32_t done = 0; done < us; done += POLL_US) {
        arm.now += POLL_US;
        servo_line_step(&arm.line, POLL_US);
        firmware_poll(&arm.fw, arm.now);
    }
}

/* --- the computer --------------------------------------------------------------------------------------------------
 */

void sends_bytes(const uint8_t *bytes, size_t count)
{
    REQUIRE(arm.sent + count <= sizeof arm.upward);
    memcpy(arm.upward + arm.sent, bytes, count);
    arm.sent += count;
}

void sends(const bridge_message *message)
{
    uint8_t bytes[BRIDGE_MAX_LENGTH];
    uint8_t frame[BRIDGE_SERIAL_MAX_FRAME];
    const size_t length = bridge_serial_frame(bytes, bridge_encode(message, bytes), frame);
    REQUIRE(length > 0);
    sends_bytes(frame, length);
}

bridge_order next_order(uint16_t expiry_ms)
{
    arm.sequence += 1;
    return (bridge_order){expiry_ms, arm.session, arm.sequence, arm.state.time_us};
}

void sends_hello(uint32_t session)
{
    const bridge_message message = {
        BRIDGE_HELLO, {.hello = {table.count, table.tick_us, BRIDGE_PROTOCOL, session, arm_config(&table), 0}}};
    arm.session = session;
    arm.sequence = 0;
    sends(&message);
}

void sends_clear(void)
{
    const bridge_message message = {BRIDGE_CLEAR, {.clear = {next_order(EXPIRY), arm.state.latch}}};
    sends(&message);
}

void sends_release(void)
{
    const bridge_message message = {BRIDGE_RELEASE, {.clear = {next_order(EXPIRY), arm.state.latch}}};
    sends(&message);
}

void sends_stop(void)
{
    const bridge_message message = {.kind = BRIDGE_STOP};
    sends(&message);
}

void sends_command(const bridge_target *targets, uint16_t expiry_ms)
{
    bridge_message message = {BRIDGE_COMMAND, {.command = {next_order(expiry_ms), SERVOS, {{0, 0}}}}};
    memcpy(message.as.command.targets, targets, SERVOS * sizeof *targets);
    sends(&message);
}

int64_t far_away(int joint)
{
    const safety_limits *limits = &table.joints[joint].limits;
    return joint % 2 == 0 ? limits->upper : limits->lower;
}

plan plan_from_here(void)
{
    plan here;
    for (int i = 0; i < SERVOS; ++i) {
        here.joints[i] = safety_at_rest(arm.state.positions[i]);
    }
    return here;
}

bridge_command plan_step(plan *of, const int64_t *goals)
{
    bridge_command command = {.joints = SERVOS};
    for (int i = 0; i < SERVOS; ++i) {
        const safety_target goal = {goals[i], 0};
        safety_step(&table.joints[i].limits, &of->joints[i], &goal);
        command.targets[i] = (bridge_target){of->joints[i].position, of->joints[i].velocity};
    }
    return command;
}

void follows(plan *of, const int64_t *goals, int ticks)
{
    for (int tick = 0; tick < ticks; ++tick) {
        const bridge_command command = plan_step(of, goals);
        sends_command(command.targets, EXPIRY);
        runs(TICK);
        REQUIRE(arm.state.arm == BRIDGE_RUNNING && arm.state.faults == 0);
        for (int i = 0; i < SERVOS; ++i) {
            const int32_t planned = arm_encoder(&table.joints[i], of->joints[i].position);
            REQUIRE(last_told(i, FEETECH_GOAL_POSITION)->value == planned);
        }
    }
}

void arms(void)
{
    if (arm.session == 0) {
        sends_hello(77);
        runs(TICK);
        REQUIRE(arm.state.session == 77);
    }
    sends_clear();
    runs(TICK); /* the pose, and goals to be there */
    const plan here = plan_from_here();
    for (int tick = 0; tick < 2; ++tick) { /* goals read back, torque read back */
        plan still = here;
        int64_t there[SERVOS];
        for (int i = 0; i < SERVOS; ++i) {
            there[i] = here.joints[i].position;
        }
        sends_command(plan_step(&still, there).targets, EXPIRY);
        runs(TICK);
    }
    REQUIRE(arm.state.arm == BRIDGE_RUNNING && arm.state.faults == 0);
}

plan in_motion(void)
{
    power_on(2048);
    runs(10 * TICK);
    arms();
    plan moving = plan_from_here();
    int64_t goals[SERVOS];
    for (int i = 0; i < SERVOS; ++i) {
        goals[i] = far_away(i);
    }
    follows(&moving, goals, 50);
    REQUIRE(abs(moving.joints[0].velocity) > table.joints[0].limits.max_velocity / 2);
    return moving;
}

/* --- what the servos were told -------------------------------------------------------------------------------------
 */

size_t told(size_t from, uint8_t address)
{
    size_t count = 0;
    for (size_t i = from; i < arm.line.written; ++i) {
        count += arm.line.writes[i].address == address;
    }
    return count;
}

const servo_write *last_told(int servo, uint8_t address)
{
    for (size_t i = arm.line.written; i-- > 0;) {
        if (arm.line.writes[i].servo == servo && arm.line.writes[i].address == address) {
            return &arm.line.writes[i];
        }
    }
    REQUIRE(!"the servo was told so");
    return NULL;
}

void stays_within(size_t from)
{
    for (int servo = 0; servo < SERVOS; ++servo) {
        const arm_joint *joint = &table.joints[servo];
        /* A goal is rounded to half a tick, a difference to one, a difference of those to two. */
        const int32_t swiftest = joint->travel / 2 + 1;
        const int32_t hardest = 1 + 2;
        int32_t last = INT32_MAX;
        int32_t speed = INT32_MAX;
        for (size_t i = from; i < arm.line.written; ++i) {
            const servo_write *write = &arm.line.writes[i];
            if (write->servo != servo || write->address != FEETECH_GOAL_POSITION) {
                continue;
            }
            REQUIRE(write->value >= arm_encoder(joint, joint->limits.lower));
            REQUIRE(write->value <= arm_encoder(joint, joint->limits.upper));
            const int32_t step = last == INT32_MAX ? INT32_MAX : write->value - last;
            REQUIRE(step == INT32_MAX || abs(step) <= swiftest);
            REQUIRE(step == INT32_MAX || speed == INT32_MAX || abs(step - speed) <= hardest);
            speed = step;
            last = write->value;
        }
    }
}
