/* Bridge messages over CAN: cut into fragments, and put together again.
 *
 * A message counts when its last fragment is in and its CRC is right; until then nothing of it does. Fragments count
 * only in order, each once, of one transfer: after a lost, repeated or misplaced one the rest is dropped up to the next
 * first fragment. The sender must therefore queue them in order (a controller with several mailboxes can be set to).
 */
#ifndef EDGEARM_BRIDGE_CAN_H
#define EDGEARM_BRIDGE_CAN_H

#include "bridge.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BRIDGE_CAN_CLASSIC = 8, BRIDGE_CAN_FD = 64 };

/* Writes fragment number `place` of what bridge_encode has written, into data for one frame of at most `frame_size`
 * bytes (BRIDGE_CAN_CLASSIC or BRIDGE_CAN_FD). Returns its length; 0 after the last one, and for a length that no
 * message has. `transfer` is one more for each message sent; only its low four bits count. */
size_t bridge_can_fragment(const uint8_t *message, size_t length, size_t frame_size, uint8_t transfer, size_t place,
                           uint8_t out[BRIDGE_CAN_FD]);

/* One for each identifier that is received. */
typedef struct {
    uint8_t buffer[BRIDGE_MAX_LENGTH];
    size_t frame_size;
    size_t expected; /* of the message under way; 0 while there is none */
    size_t length;
    uint8_t next;     /* first byte of the fragment that comes next */
    uint32_t frames;  /* messages handed out */
    uint32_t corrupt; /* all fragments there, and not a message */
    uint32_t skipped; /* fragments that were not the one to come next */
} bridge_assembly;

/* `frame_size` as the sender's. */
void bridge_assembly_init(bridge_assembly *assembly, size_t frame_size);

/* Takes the data of one frame; true, and `message` filled, when it completes a message. */
bool bridge_assembly_push(bridge_assembly *assembly, const uint8_t *data, size_t size, bridge_message *message);

#ifdef __cplusplus
}
#endif

#endif
