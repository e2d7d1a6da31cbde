/* Feetech servos on one wire, a cycle at a time: one question that all of them answer in turn, and what of the answers
 * may be believed. Pure: bytes in, bytes out.
 *
 * Every answer holds the registers from Torque_Enable to Present_Position: the position, and whether the servo has
 * understood what it was told, out of the same frame.
 *
 *     question 8 + joints bytes, answers 24 each, goals 8 + 3 each: 184 bytes for 6 joints, 1.84 ms at 1 Mbps
 *
 * which with no return delay is less than half of a cycle of 4 ms. With the factory's, the answers of six servos do not
 * fit and collide with the next question. So when a servo is silent all are told to have no return delay, which they
 * keep until they are next switched off; a few times only, because one whose EEPROM was left unlocked writes it there.
 */
#ifndef EDGEARM_FIRMWARE_SERVO_BUS_H
#define EDGEARM_FIRMWARE_SERVO_BUS_H

#include "arm_table.h"
#include "feetech.h"

enum {
    SERVO_BLOCK = FEETECH_PRESENT_POSITION + 2 - FEETECH_TORQUE_ENABLE,
    SERVO_LOST = 5,       /* cycles without a believable answer: the position is not known any more */
    SERVO_RETELL = 32,    /* cycles from one attempt to reach silent servos to the next */
    SERVO_RETELL_ALL = 4, /* of the first attempts, which go to all servos */
    SERVO_FRAMES = 160,   /* bytes for all that goes out in a cycle */
};

typedef struct {
    uint8_t block[SERVO_BLOCK]; /* registers of the newest believed answer */
    int32_t encoder;            /* newest believed position */
    int32_t candidate;          /* newest position while none is known */
    bool known;
    bool suspected; /* `candidate` is one */
    bool heard;     /* a believed answer in this cycle */
    uint8_t missed; /* cycles since the last one; 255 is that or more */
    uint8_t errors; /* error bits of the last two answers alike */
    uint8_t newest_errors;
    bool limp; /* torque was off in the last two answers */
    bool newest_limp;
} bus_servo;

/* Read it; only the functions below write it. */
typedef struct {
    const arm_table *arm;
    feetech_parser parser;
    bus_servo servos[BRIDGE_MAX_JOINTS];
    uint32_t cycle;
    uint32_t retold;       /* how often all were told since one began to answer */
    uint32_t unbelievable; /* intact answers that no servo can have meant */
} servo_bus;

void servo_bus_init(servo_bus *bus, const arm_table *arm);

/* Bytes off the wire, as they come. */
void servo_bus_hear(servo_bus *bus, const uint8_t *bytes, size_t count);

/* No answer to the last question counts as missing before this. */
void servo_bus_end_cycle(servo_bus *bus);

/* Writes the question of the next cycle, and what silent servos are to be told; returns its length. */
size_t servo_bus_ask(servo_bus *bus, uint8_t *out, size_t capacity);

/* Tells a servo for which `bits` has a one, the first joint lowest, `length` bytes out of `data` (`length` a joint)
 * from register `address`; returns the frame's length, 0 when it is for nobody. */
size_t servo_bus_tell(const servo_bus *bus, unsigned bits, uint8_t address, uint8_t length, const uint8_t *data,
                      uint8_t *out, size_t capacity);

/* A register of the newest believed answer, as a position in encoder ticks or a byte. */
int32_t servo_goal(const bus_servo *from);
bool servo_torque(const bus_servo *from);

/* Whether every servo gave a believable answer in the cycle that has ended, and where it is is known. */
bool servo_bus_complete(const servo_bus *bus);

#endif
