#include "servos.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { BYTE_US = 10, TICKS_A_MS = 5, FACTORY_DELAY = 250 };

int32_t servo_word(const emulated_servo *servo, int address)
{
    const uint8_t *at = servo->registers + address;
    return feetech_from_sign_magnitude((uint16_t)(at[0] | at[1] << 8), FEETECH_SIGN_POSITION);
}

void servo_set_word(emulated_servo *servo, int address, int32_t value)
{
    const uint16_t word = feetech_to_sign_magnitude(value, FEETECH_SIGN_POSITION);
    servo->registers[address] = (uint8_t)(word & 0xFF);
    servo->registers[address + 1] = (uint8_t)(word >> 8);
}

void servo_restart(emulated_servo *servo)
{
    servo->registers[FEETECH_TORQUE_ENABLE] = 0;
    servo->registers[FEETECH_RETURN_DELAY] = FACTORY_DELAY;
    servo->registers[FEETECH_ACCELERATION] = 30;
    servo_set_word(servo, FEETECH_GOAL_POSITION, servo->position);
}

void servo_line_init(servo_line *line, int32_t position)
{
    memset(line, 0, sizeof *line);
    line->writes = malloc(WRITES * sizeof *line->writes);
    REQUIRE(line->writes != NULL);
    feetech_parser_init(&line->parser, FEETECH_MAX_PARAMS);
    for (int i = 0; i < SERVOS; ++i) {
        line->servos[i].position = position;
        servo_restart(&line->servos[i]);
    }
}

void servo_line_free(servo_line *line)
{
    free(line->writes);
}

static void store(servo_line *line, uint32_t now_us, int index, uint8_t address, const uint8_t *data, size_t length)
{
    emulated_servo *servo = &line->servos[index];
    if (servo->deaf || address + length > REGISTERS) {
        return;
    }
    for (size_t i = 0; i < length; ++i) {
        if (servo->deaf_to == 0 || address + i != (size_t)servo->deaf_to) {
            servo->registers[address + i] = data[i];
        }
    }
    const bool goal = address <= FEETECH_GOAL_POSITION && FEETECH_GOAL_POSITION < address + length;
    if (goal && !servo->meek && servo->deaf_to == 0) {
        servo->registers[FEETECH_TORQUE_ENABLE] = 1;
    }
    if (address == FEETECH_TORQUE_ENABLE && data[0] == 1) {
        servo->error &= (uint8_t)~FEETECH_ERROR_OVERLOAD;
    }
    REQUIRE(line->written < WRITES);
    const bool word = address == FEETECH_GOAL_POSITION;
    line->writes[line->written++] =
        (servo_write){now_us, (uint8_t)index, address, word ? servo_word(servo, address) : data[0]};
}

static void carry(servo_line *line, uint32_t time_us, uint8_t byte)
{
    REQUIRE(line->carried < WIRE_BYTES);
    line->wire[line->carried].time_us = time_us;
    line->wire[line->carried++].byte = byte;
}

static uint32_t answer(servo_line *line, uint32_t free_us, int index, uint8_t address, uint8_t length)
{
    emulated_servo *servo = &line->servos[index];
    if (servo->silent || servo->deaf) {
        return free_us;
    }
    servo_set_word(servo, FEETECH_PRESENT_POSITION, servo->position);
    uint8_t frame[FEETECH_MAX_FRAME];
    const size_t size =
        feetech_status((uint8_t)(index + 1), servo->error, servo->registers + address, length, frame, sizeof frame);
    uint8_t *position = frame + size - 3;
    if (line->flip > 0) {
        line->flip -= 1;
        frame[any_below((uint32_t)size - 2) + 2] ^= (uint8_t)(1u << any_below(8));
    } else if (line->swap > 0 && position[0] != position[1]) {
        line->swap -= 1;
        const uint8_t low = position[0];
        position[0] = position[1];
        position[1] = low;
    }
    free_us += servo->registers[FEETECH_RETURN_DELAY] * 2u;
    uint8_t acknowledgement[FEETECH_OVERHEAD];
    feetech_status((uint8_t)(index + 1), servo->error, NULL, 0, acknowledgement, sizeof acknowledgement);
    for (size_t i = 0; line->chatty && i < sizeof acknowledgement; ++i) {
        free_us += BYTE_US;
        carry(line, free_us, acknowledgement[i]);
    }
    for (size_t i = 0; i < size; ++i) {
        free_us += BYTE_US;
        carry(line, free_us, frame[i]);
    }
    return free_us;
}

static void obey(servo_line *line, uint32_t time_us, const feetech_frame *frame)
{
    const uint8_t *params = frame->params;
    if (frame->code == FEETECH_SYNC_WRITE) {
        const size_t each = params[1] + 1u;
        for (size_t at = 2; at + each <= frame->count; at += each) {
            store(line, time_us, params[at] - 1, params[0], params + at + 1, params[1]);
        }
    } else {
        REQUIRE(frame->code == FEETECH_SYNC_READ); /* the firmware says nothing else */
        for (size_t i = 2; i < frame->count; ++i) {
            time_us = answer(line, time_us, params[i] - 1, params[0], params[1]);
        }
    }
}

void servo_line_hear(servo_line *line, uint32_t now_us, const uint8_t *bytes, size_t count)
{
    const bool collides = line->carried > 0 && line->wire[line->carried - 1].time_us - now_us < UINT32_C(1) << 31;
    if (collides) {
        line->collisions += 1;
    }
    if (line->free_us - now_us >= UINT32_C(1) << 31) {
        line->free_us = now_us;
    }
    size_t lost = count;
    if (line->lose > 0) { /* one frame of what is said at once: the first */
        line->lose -= 1;
        lost = 7;
    }
    for (size_t i = 0; i < count; ++i) {
        const uint8_t heard = collides || i == lost ? (uint8_t)(bytes[i] ^ 0x55u) : bytes[i];
        feetech_frame frame;
        line->free_us += BYTE_US;
        if (line->echo) {
            carry(line, line->free_us, bytes[i]);
        }
        feetech_parser_push(&line->parser, &heard, 1);
        while (feetech_parser_next(&line->parser, &frame)) {
            obey(line, line->free_us, &frame);
        }
    }
    for (size_t i = 0; collides && i < line->carried; ++i) {
        line->wire[i].byte ^= 0x55;
    }
}

size_t servo_line_read(servo_line *line, uint32_t now_us, uint8_t *to, size_t most)
{
    size_t count = 0;
    while (count < most && count < line->carried && now_us - line->wire[count].time_us < UINT32_C(1) << 31) {
        to[count] = line->wire[count].byte;
        count += 1;
    }
    line->carried -= count;
    memmove(line->wire, line->wire + count, line->carried * sizeof *line->wire);
    return count;
}

void servo_line_step(servo_line *line, uint32_t us)
{
    const int32_t most = (int32_t)(us * TICKS_A_MS / 1000);
    for (int i = 0; i < SERVOS; ++i) {
        emulated_servo *servo = &line->servos[i];
        if (servo->registers[FEETECH_TORQUE_ENABLE] == 1 && !servo->jammed &&
            (servo->error & FEETECH_ERROR_OVERLOAD) == 0) {
            const int32_t off = servo_word(servo, FEETECH_GOAL_POSITION) - servo->position;
            servo->position += off > most ? most : off < -most ? -most : off;
        }
    }
}
