/* The golden vectors of docs/bridge-protocol.md; tests/test_bridge.py reads them there. */
#ifndef EDGEARM_TESTS_CODEC_BRIDGE_VECTORS_H
#define EDGEARM_TESTS_CODEC_BRIDGE_VECTORS_H

#include "bridge.h"

typedef struct {
    const char *hex;
    bridge_message message;
} bridge_vector;

enum { BRIDGE_VECTORS = 9 };
extern const bridge_vector bridge_vectors[BRIDGE_VECTORS];

/* Those that other tests cut up. */
enum { HELLO, REPLY, REFUSAL, CLEAR, COMMAND, STOP, STATE, RELEASE, STOPPED };

/* As large as messages get, no two bytes of its targets alike. */
bridge_message long_command(void);

bool same_message(const bridge_message *a, const bridge_message *b);

#endif
