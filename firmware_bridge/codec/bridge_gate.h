/* What a microcontroller does with the computer's messages: whether to move, and until when. It trusts nothing that it
 * has not checked itself, on its own clock. Every way out of order leads to braking and stays there (latched) until
 * a clear that names it; nothing but a clear arms. Pure: no clock, no I/O, no allocation.
 *
 *              clear              command                stop, expiry, fault, another session
 *     idle ------------> ready ------------> running ----------------------------------------+
 *                          ^  \------------------------------------------------------> braking
 *                          |                    clear, by the latch's number              | at rest
 *                          +------------------------------------------------- stopped <---+
 */
#ifndef EDGEARM_BRIDGE_GATE_H
#define EDGEARM_BRIDGE_GATE_H

#include "bridge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Read it; only the functions below write it. */
typedef struct {
    uint8_t joints;
    uint16_t tick_us;
    uint32_t config;
    uint16_t max_expiry_ms;
    uint8_t arm;     /* enum bridge_arm */
    uint8_t refusal; /* of the newest hello, command, clear or release */
    uint32_t session;
    uint32_t sequence;    /* last one accepted in this session */
    uint32_t accepted_us; /* while ready or running: when the newest order was, */
    uint16_t expiry_ms;   /* and how long it lives: by then the next command must be there */
    uint16_t faults;      /* latched */
    uint16_t present;     /* those whose cause is still there */
    uint16_t latch;
    bridge_target targets[BRIDGE_MAX_JOINTS]; /* while running */
} bridge_gate;

/* What the caller has to do about a message, besides looking at `arm` in every tick. */
enum bridge_action {
    BRIDGE_NOTHING,
    BRIDGE_ANSWER, /* send the reply */
    BRIDGE_ARM,    /* take up the measured pose, at rest, as the limiter's state; then drives on */
    BRIDGE_FOLLOW, /* new targets */
    BRIDGE_BRAKE,  /* a stop: brake, if moving */
    BRIDGE_DROP    /* drives off */
};

/* Joints (1 to BRIDGE_MAX_JOINTS), tick and configuration as they are here; nothing is armed and no session open. */
void bridge_gate_init(bridge_gate *gate, uint8_t joints, uint16_t tick_us, uint32_t config);

/* From now on an accepted order lives `most_ms` at most, whatever it asks for; BRIDGE_MAX_EXPIRY_MS until then. */
void bridge_gate_cap_expiry(bridge_gate *gate, uint16_t most_ms);

/* For every message that arrives, as it arrives. `reply` is written when the answer is BRIDGE_ANSWER. */
enum bridge_action bridge_gate_receive(bridge_gate *gate, uint32_t now_us, const bridge_message *message,
                                       bridge_message *reply);

/* At the begin of every tick, at least once in 2^31 us, with those bits of bridge_fault whose cause is there now:
 * brakes when there is one, or when no command came in time. */
void bridge_gate_tick(bridge_gate *gate, uint32_t now_us, uint16_t present);

/* The limiter has come to rest. */
void bridge_gate_at_rest(bridge_gate *gate);

/* A state with all that the gate knows; positions, `limited`, `stale` and `age_ms` are the caller's to fill in. */
void bridge_gate_report(const bridge_gate *gate, uint32_t now_us, bridge_state *state);

#ifdef __cplusplus
}
#endif

#endif
