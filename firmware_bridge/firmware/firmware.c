#include "firmware.h"

#include <string.h>

#include "hal.h"

enum { POLL_BYTES = 128 }; /* taken of each line in one poll, so that no line can keep a tick from being done */

/* The tick that sees an order expired comes up to a tick later, and its goals are on the wire for a while. A tick that
 * leaves no time for orders is none that arm_table.py writes. */
static uint16_t longest_ms(uint32_t tick_us)
{
    const uint32_t spent_us = FIRMWARE_WIRE_US + tick_us;
    const uint32_t left_ms = spent_us < FIRMWARE_SILENCE_US ? (FIRMWARE_SILENCE_US - spent_us) / 1000 : 0;
    return left_ms > 0 ? (uint16_t)left_ms : 1;
}

void firmware_init(firmware *fw, const arm_table *arm, uint32_t now_us)
{
    memset(fw, 0, sizeof *fw);
    fw->arm = arm;
    fw->due_us = now_us;
    fw->begun_us = now_us;
    fw->starting = true;
    bridge_gate_init(&fw->gate, arm->count, arm->tick_us, arm_config(arm));
    bridge_gate_cap_expiry(&fw->gate, longest_ms(arm->tick_us));
    bridge_parser_init(&fw->parser);
    servo_bus_init(&fw->bus, arm);
    motion_rest(&fw->motion, arm, fw->drives.goals);
    if (hal_watchdog_reset()) {
        bridge_gate_tick(&fw->gate, now_us, BRIDGE_FAULT_RESET);
    }
}

/* --- upward --------------------------------------------------------------------------------------------------------
 */

static void send(const bridge_message *message)
{
    uint8_t bytes[BRIDGE_MAX_LENGTH];
    uint8_t frame[BRIDGE_SERIAL_MAX_FRAME];
    const size_t length = bridge_serial_frame(bytes, bridge_encode(message, bytes), frame);
    (void)hal_upward_send(frame, length); /* when the line is full the next state says it all again */
}

static void receive(firmware *fw, uint32_t now_us, const bridge_message *message)
{
    bridge_message reply;
    const enum bridge_action action = bridge_gate_receive(&fw->gate, now_us, message, &reply);
    if (action == BRIDGE_ANSWER) {
        send(&reply);
    } else if (action == BRIDGE_ARM) {
        drives_arm(&fw->drives);
    } else if (action == BRIDGE_FOLLOW) {
        motion_take(&fw->motion, fw->gate.targets);
    } else if (action == BRIDGE_DROP) {
        drives_release(&fw->drives);
    } /* a stop is latched in the gate */
}

static void hear_upward(firmware *fw, uint32_t now_us)
{
    uint8_t bytes[POLL_BYTES];
    bridge_message message;
    const size_t count = hal_upward_read(bytes, sizeof bytes);
    for (size_t i = 0; i < count; ++i) {
        if (bridge_parser_push(&fw->parser, bytes[i], &message)) {
            receive(fw, now_us, &message);
        }
    }
}

/* A position that is known has been measured less than SERVO_LOST cycles ago. */
static uint8_t age_ms(const firmware *fw, const bus_servo *of)
{
    return of->known ? (uint8_t)(of->missed * (uint32_t)fw->arm->tick_us / 1000) : UINT8_MAX;
}

static void report(const firmware *fw, uint32_t now_us)
{
    bridge_message message;
    bridge_state *state = &message.as.state;
    message.kind = BRIDGE_STATE;
    bridge_gate_report(&fw->gate, now_us, state);
    state->limited = fw->drives.stage == DRIVES_ON ? fw->motion.limited : 0;
    for (int i = 0; i < fw->arm->count; ++i) {
        const bus_servo *of = &fw->bus.servos[i];
        const uint8_t age = age_ms(fw, of);
        const bool fresh = of->known && of->missed == 0;
        state->positions[i] = arm_position(&fw->arm->joints[i], of->encoder);
        state->stale |= (uint8_t)(!fresh << i);
        state->age_ms = age > state->age_ms ? age : state->age_ms;
    }
    send(&message);
}

/* --- faults --------------------------------------------------------------------------------------------------------
 */

/* What a servo says of itself. A servo in overload has let go, and says so until its torque is switched on again, which
 * only a clear does: so it must not stand in a clear's way. It is latched when it is found, and counts again once on.
 */
static unsigned reported(const firmware *fw, const bus_servo *of)
{
    const bool on = fw->drives.stage == DRIVES_ON;
    const bool told = fw->drives.stage != DRIVES_LEFT || (fw->gate.faults & BRIDGE_FAULT_DRIVE) != 0;
    unsigned errors = of->errors;
    if (!on && told) {
        errors &= ~(unsigned)FEETECH_ERROR_OVERLOAD;
    }
    unsigned faults = (errors & FEETECH_ERROR_VOLTAGE) != 0 ? BRIDGE_FAULT_POWER : 0u;
    if ((errors & ~(unsigned)FEETECH_ERROR_VOLTAGE) != 0 || (on && of->limp)) {
        faults |= BRIDGE_FAULT_DRIVE;
    }
    return faults;
}

static bool astray(firmware *fw, int joint)
{
    const int32_t off = fw->bus.servos[joint].encoder - fw->drives.goals[joint];
    const int32_t tracking = fw->arm->joints[joint].tracking;
    const bool with_it = fw->drives.stage != DRIVES_ON || tracking == 0 || (off <= tracking && -off <= tracking);
    fw->astray[joint] = with_it ? 0 : fw->astray[joint] + 1;
    return fw->astray[joint] >= FIRMWARE_TRACKING_US / fw->arm->tick_us;
}

static uint16_t present(firmware *fw)
{
    unsigned faults = fw->held ? BRIDGE_FAULT_STOP : 0u;
    for (int i = 0; i < fw->arm->count; ++i) {
        const bus_servo *of = &fw->bus.servos[i];
        faults |= reported(fw, of);
        faults |= of->missed >= SERVO_LOST && !fw->starting ? BRIDGE_FAULT_FEEDBACK : 0u;
        faults |= astray(fw, i) ? BRIDGE_FAULT_TRACKING : 0u;
    }
    return (uint16_t)faults;
}

/* A stage that does not end is given up; what it has switched on holds its pose. */
static uint16_t stuck(firmware *fw)
{
    if (!drives_stuck(&fw->drives)) {
        return 0;
    }
    const uint16_t fault = fw->drives.stage == DRIVES_MEASURING ? BRIDGE_FAULT_FEEDBACK : BRIDGE_FAULT_DRIVE;
    drives_abandon(&fw->drives);
    return fault;
}

/* --- a tick --------------------------------------------------------------------------------------------------------
 */

static void look(firmware *fw, uint32_t now_us)
{
    servo_bus_end_cycle(&fw->bus);
    if (servo_bus_complete(&fw->bus) || now_us - fw->begun_us >= FIRMWARE_START_US) {
        fw->starting = false;
    }
    if (drives_advance(&fw->drives, &fw->bus)) {
        motion_rest(&fw->motion, fw->arm, fw->drives.goals);
        if (fw->gate.arm == BRIDGE_RUNNING) { /* commands have come meanwhile */
            motion_take(&fw->motion, fw->gate.targets);
        }
    }
}

static void set_goals(firmware *fw)
{
    for (int i = 0; i < fw->arm->count; ++i) {
        fw->drives.goals[i] = arm_encoder(&fw->arm->joints[i], fw->motion.joints[i].position);
    }
}

/* Nothing moves that is not on; and what is on follows, brakes or stays as the gate says, and nothing else. */
static void move(firmware *fw, uint32_t now_us, uint16_t faults)
{
    const bool on = fw->drives.stage == DRIVES_ON;
    if (on && fw->gate.arm == BRIDGE_RUNNING) {
        if (!motion_follow(&fw->motion)) {
            bridge_gate_tick(&fw->gate, now_us, faults | BRIDGE_FAULT_LIMITER);
        }
        set_goals(fw);
    } else if (on && fw->gate.arm == BRIDGE_BRAKING) {
        const bool rest = motion_brake(&fw->motion);
        set_goals(fw);
        if (rest) {
            bridge_gate_at_rest(&fw->gate);
        }
    } else if (fw->gate.arm != BRIDGE_READY && fw->gate.arm != BRIDGE_RUNNING) {
        bridge_gate_at_rest(&fw->gate);
        drives_halt(&fw->drives);
    }
}

static void speak(firmware *fw)
{
    uint8_t out[SERVO_FRAMES];
    const size_t told = drives_tell(&fw->drives, &fw->bus, out, sizeof out);
    const size_t count = told + servo_bus_ask(&fw->bus, out + told, sizeof out - told);
    if (count != 0) {
        (void)hal_bus_send(out, count); /* what is not sent is not answered, and that is noticed */
    }
}

static void tick(firmware *fw, uint32_t now_us)
{
    look(fw, now_us);
    const uint16_t faults = present(fw);
    bridge_gate_tick(&fw->gate, now_us, (uint16_t)(faults | stuck(fw)));
    fw->held = false;
    move(fw, now_us, faults);
    speak(fw);
    report(fw, now_us);
    hal_kick_watchdog(); /* here alone: a loop that hangs, or does no ticks, is restarted */
}

static void look_at_stop(firmware *fw, uint32_t now_us)
{
    static const bridge_message stop = {.kind = BRIDGE_STOP};
    const bool pressed = hal_stop_pressed();
    if (pressed && !fw->pressed) {
        receive(fw, now_us, &stop); /* counts like a stop that was received, and as a fault as long as it is pressed */
    }
    fw->pressed = pressed;
    fw->held |= pressed;
}

void firmware_poll(firmware *fw, uint32_t now_us)
{
    uint8_t bytes[POLL_BYTES];
    look_at_stop(fw, now_us);
    hear_upward(fw, now_us);
    servo_bus_hear(&fw->bus, bytes, hal_bus_read(bytes, sizeof bytes));
    const uint32_t late_us = now_us - fw->due_us;
    if (late_us >= UINT32_C(1) << 31) {
        return;
    }
    /* A tick that was missed is not caught up with: two in a row would be twice as fast. */
    fw->due_us = late_us < fw->arm->tick_us ? fw->due_us + fw->arm->tick_us : now_us + fw->arm->tick_us;
    tick(fw, now_us);
}
