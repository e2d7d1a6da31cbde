/* Feetech STS/SMS frames: build them, and find them again in a byte stream.
 *
 *   FF FF ID LEN INST P... SUM      LEN = parameters + 2, SUM = ~(ID + LEN + ... ) & FF
 *
 * A status reply has an error byte in place of INST. Words are little-endian. C99, no allocation, no I/O:
 * the same file runs in the host's driver, in the emulators and on a microcontroller.
 */
#ifndef EDGEARM_FEETECH_H
#define EDGEARM_FEETECH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FEETECH_MAX_PARAMS = 253, /* LEN is one byte and counts two more */
    FEETECH_OVERHEAD = 6,     /* FF FF ID LEN INST ... SUM */
    FEETECH_MAX_FRAME = FEETECH_MAX_PARAMS + FEETECH_OVERHEAD,
    FEETECH_BROADCAST = 0xFE
};

enum feetech_instruction {
    FEETECH_PING = 0x01,
    FEETECH_READ = 0x02,
    FEETECH_WRITE = 0x03,
    FEETECH_REG_WRITE = 0x04,
    FEETECH_ACTION = 0x05,
    FEETECH_SYNC_READ = 0x82,
    FEETECH_SYNC_WRITE = 0x83
};

/* Bits of a status reply's error byte. */
enum feetech_error {
    FEETECH_ERROR_VOLTAGE = 0x01,
    FEETECH_ERROR_ANGLE = 0x02,
    FEETECH_ERROR_OVERHEAT = 0x04,
    FEETECH_ERROR_OVERCURRENT = 0x08,
    FEETECH_ERROR_OVERLOAD = 0x20
};

/* Register addresses that this project reads or writes (STS3215 memory table). */
enum feetech_register {
    FEETECH_MODEL_NUMBER = 3,
    FEETECH_RETURN_DELAY = 7,
    FEETECH_MIN_POSITION_LIMIT = 9,
    FEETECH_MAX_POSITION_LIMIT = 11,
    FEETECH_HOMING_OFFSET = 31,
    FEETECH_TORQUE_ENABLE = 40,
    FEETECH_ACCELERATION = 41,
    FEETECH_GOAL_POSITION = 42,
    FEETECH_PRESENT_POSITION = 56
};

/* The bit that carries the sign in a sign-magnitude word. */
enum feetech_sign_bit { FEETECH_SIGN_LOAD = 10, FEETECH_SIGN_HOMING_OFFSET = 11, FEETECH_SIGN_POSITION = 15 };

/* Every builder writes one whole frame and returns its length, or returns 0 and writes nothing when the frame does
 * not fit in `capacity`, has too many parameters, or has an id above FEETECH_BROADCAST. */
size_t feetech_frame_build(uint8_t id, uint8_t code, const uint8_t *params, size_t count, uint8_t *out,
                           size_t capacity);
size_t feetech_ping(uint8_t id, uint8_t *out, size_t capacity);
size_t feetech_read(uint8_t id, uint8_t address, uint8_t length, uint8_t *out, size_t capacity);
size_t feetech_write(uint8_t id, uint8_t address, const uint8_t *data, size_t length, uint8_t *out, size_t capacity);
size_t feetech_sync_read(uint8_t address, uint8_t length, const uint8_t *ids, size_t count, uint8_t *out,
                         size_t capacity);
/* `data` holds `count` values of `length` bytes each, in the order of `ids`. */
size_t feetech_sync_write(uint8_t address, uint8_t length, const uint8_t *ids, const uint8_t *data, size_t count,
                          uint8_t *out, size_t capacity);
size_t feetech_status(uint8_t id, uint8_t error, const uint8_t *params, size_t count, uint8_t *out, size_t capacity);

/* Sign-magnitude words with the sign in `sign_bit`; magnitudes that do not fit saturate. */
uint16_t feetech_to_sign_magnitude(int32_t value, unsigned sign_bit);
int32_t feetech_from_sign_magnitude(uint16_t word, unsigned sign_bit);

/* One frame found in a stream. `code` is the instruction of a request or the error byte of a reply; `params` points
 * into the parser and lives until the parser is next called. */
typedef struct {
    uint8_t id;
    uint8_t code;
    const uint8_t *params;
    size_t count;
} feetech_frame;

/* Incremental parser. After garbage or a damaged frame it drops one byte and looks again, so that no intact frame
 * behind the damage is lost. `max_params` bounds how long a false header can make it wait. */
typedef struct {
    uint8_t buffer[FEETECH_MAX_FRAME];
    size_t length;   /* bytes in `buffer` */
    size_t consumed; /* leading bytes that belong to the frame handed out last */
    size_t max_params;
    uint32_t frames;  /* intact frames handed out */
    uint32_t corrupt; /* whole candidates whose sum was wrong */
    uint32_t skipped; /* bytes that belonged to no frame */
} feetech_parser;

/* `max_params` above FEETECH_MAX_PARAMS is taken as that. */
void feetech_parser_init(feetech_parser *parser, size_t max_params);
/* Forgets what is buffered (at the start of a transaction); counters stay. */
void feetech_parser_reset(feetech_parser *parser);
/* Takes as many bytes as fit and returns how many; call feetech_parser_next until it is false, then push the rest. */
size_t feetech_parser_push(feetech_parser *parser, const uint8_t *bytes, size_t count);
/* True and `frame` filled when an intact frame is buffered. */
bool feetech_parser_next(feetech_parser *parser, feetech_frame *frame);

#ifdef __cplusplus
}
#endif

#endif
