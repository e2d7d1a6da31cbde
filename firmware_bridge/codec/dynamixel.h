/* Dynamixel protocol 2.0 frames: build them, and find them again in a byte stream.
 *
 *   FF FF FD 00 ID LENl LENh INST P... CRCl CRCh      LEN = instruction + stuffed parameters + CRC
 *
 * Between INST and the CRC every FF FF FD is followed by one FD more (byte stuffing), so that what looks like a header
 * is one. A status has INST 0x55 and an error byte before its parameters. Words are little-endian. C99, no allocation,
 * no I/O: the same file runs on the host and on a microcontroller.
 */
#ifndef EDGEARM_DYNAMIXEL_H
#define EDGEARM_DYNAMIXEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DYNAMIXEL_MAX_PARAMS = 250, /* as they go over the wire, stuffed; ours, the protocol allows more */
    DYNAMIXEL_OVERHEAD = 10,    /* header, id, length, instruction, CRC */
    DYNAMIXEL_MAX_FRAME = DYNAMIXEL_MAX_PARAMS + DYNAMIXEL_OVERHEAD,
    DYNAMIXEL_MAX_ID = 0xFC,
    DYNAMIXEL_BROADCAST = 0xFE
};

enum dynamixel_instruction {
    DYNAMIXEL_PING = 0x01,
    DYNAMIXEL_READ = 0x02,
    DYNAMIXEL_WRITE = 0x03,
    DYNAMIXEL_STATUS = 0x55,
    DYNAMIXEL_SYNC_WRITE = 0x83
};

/* Register addresses of the X series that this project reads or writes, all little-endian. */
enum dynamixel_register {
    DYNAMIXEL_TORQUE_ENABLE = 64,     /* 1 byte */
    DYNAMIXEL_BUS_WATCHDOG = 98,      /* 1 byte */
    DYNAMIXEL_GOAL_POSITION = 116,    /* 4 bytes */
    DYNAMIXEL_PRESENT_POSITION = 132, /* 4 bytes */
};

/* Every builder writes one whole frame and returns its length, or returns 0 when the frame does not fit in `capacity`,
 * has too many parameters, or has an id that is neither a device's nor the broadcast; `out` then holds nothing of use.
 * `out` must not overlap what is sent. */
size_t dynamixel_frame_build(uint8_t id, uint8_t instruction, const uint8_t *params, size_t count, uint8_t *out,
                             size_t capacity);
size_t dynamixel_ping(uint8_t id, uint8_t *out, size_t capacity);
size_t dynamixel_read(uint8_t id, uint16_t address, uint16_t length, uint8_t *out, size_t capacity);
size_t dynamixel_write(uint8_t id, uint16_t address, const uint8_t *data, size_t length, uint8_t *out, size_t capacity);
/* `data` holds `count` values of `length` bytes each, in the order of `ids`. */
size_t dynamixel_sync_write(uint16_t address, uint16_t length, const uint8_t *ids, const uint8_t *data, size_t count,
                            uint8_t *out, size_t capacity);
size_t dynamixel_status(uint8_t id, uint8_t error, const uint8_t *params, size_t count, uint8_t *out, size_t capacity);

/* One frame found in a stream, without its stuffing. `error` is 0 in what is not a status. `params` points into the
 * parser and lives until the parser is next called. */
typedef struct {
    uint8_t id;
    uint8_t instruction;
    uint8_t error;
    const uint8_t *params;
    size_t count;
} dynamixel_frame;

/* Incremental parser. After garbage or a damaged frame it drops one byte and looks again, so that no intact frame
 * behind the damage is lost. `max_params` bounds how long a false header can make it wait. */
typedef struct {
    uint8_t buffer[DYNAMIXEL_MAX_FRAME];
    size_t length;   /* bytes in `buffer` */
    size_t consumed; /* leading bytes that belong to the frame handed out last */
    size_t max_params;
    uint32_t frames;  /* intact frames handed out */
    uint32_t corrupt; /* whole candidates with a wrong CRC, wrong stuffing, or a status without its error byte */
    uint32_t skipped; /* bytes that belonged to no frame */
} dynamixel_parser;

/* `max_params`, as they go over the wire; above DYNAMIXEL_MAX_PARAMS it is taken as that. */
void dynamixel_parser_init(dynamixel_parser *parser, size_t max_params);
/* Forgets what is buffered (at the start of a transaction); counters stay. */
void dynamixel_parser_reset(dynamixel_parser *parser);
/* Takes as many bytes as fit and returns how many; call dynamixel_parser_next until it is false, then push the rest. */
size_t dynamixel_parser_push(dynamixel_parser *parser, const uint8_t *bytes, size_t count);
/* True and `frame` filled when an intact frame is buffered. */
bool dynamixel_parser_next(dynamixel_parser *parser, dynamixel_frame *frame);

#ifdef __cplusplus
}
#endif

#endif
