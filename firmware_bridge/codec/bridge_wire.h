/* What goes over the wire between the computer and the microcontroller: docs/bridge-protocol.md says why.
 *
 * BRIDGE_PROTOCOL (bridge.h) is the hash of this file, and the build stops when it is not. So whatever changes here,
 * even a comment, makes another protocol, and the two ends refuse each other instead of misunderstanding.
 *
 * A message, the same bytes over every link. Numbers are little-endian, i48 and i32 in two's complement:
 *
 *     hello        kind  joints  tick_us u16    protocol u32  session u32   config u32   refusal
 *     command      kind  joints  expiry_ms u16  session u32   sequence u32  basis_us u32
 *                  joints x (position i48  velocity i32)
 *     clear        kind  0       expiry_ms u16  session u32   sequence u32  basis_us u32  latch u16
 *     release      as clear
 *     stop         kind  0
 *     hello reply  as hello
 *     state        kind  joints  arm  refusal  session u32  sequence u32  time_us u32  faults u16  latch u16
 *                  limited  stale  age_ms  joints x (position i48)
 *
 * each followed by the CRC-32 of all its bytes. Nothing else is a message: what has another kind, another length or a
 * number that is not defined here is refused whole. Hello, its reply and stop are the same in every protocol: a
 * mismatch is said in them, and a stop is understood whatever else is not.
 *
 * Position: in units of 2^-32 of the joint's own unit. Velocity: in those units a tick of tick_us, as the difference of
 * two positions; the target of a command is where the joint should be at the end of the tick in which it is taken up.
 * From then on the target moves by the velocity every tick. Times are microseconds of the microcontroller's clock,
 * modulo 2^32, and milliseconds of duration on that clock. limited and stale have a bit for each joint, the first
 * lowest.
 *
 * Serial line: a zero, the message in COBS, a zero.
 * CAN: frames of 8 bytes or, CAN-FD, of 64. The first byte is the transfer's number modulo 16 in the high four bits and
 * the fragment's place in the low four; the rest is the message, cut up. Every fragment but the last is full; the last
 * of a CAN-FD transfer is filled up with zeros to the next length that CAN-FD has. Identifiers: bridge_can below, plus
 * the node's number.
 */
#ifndef EDGEARM_BRIDGE_WIRE_H
#define EDGEARM_BRIDGE_WIRE_H

enum bridge_kind {
    BRIDGE_HELLO = 0x01,
    BRIDGE_COMMAND = 0x02,
    BRIDGE_STOP = 0x03,
    BRIDGE_CLEAR = 0x04,
    BRIDGE_RELEASE = 0x05,
    BRIDGE_HELLO_REPLY = 0x81,
    BRIDGE_STATE = 0x82
};

enum {
    BRIDGE_MAX_JOINTS = 8,
    BRIDGE_MAX_EXPIRY_MS = 100,
    BRIDGE_MAX_POSITION_LOG2 = 40, /* 256 in the joint's unit, as far as the safety limiter goes */
    BRIDGE_MAX_VELOCITY_LOG2 = 27  /* the fastest that the safety limiter can be set to */
};

/* Lengths with the CRC; a command is longer by 10 a joint, a state by 6. */
enum {
    BRIDGE_CRC_LENGTH = 4,
    BRIDGE_HELLO_LENGTH = 21,
    BRIDGE_COMMAND_LENGTH = 20,
    BRIDGE_STOP_LENGTH = 6,
    BRIDGE_CLEAR_LENGTH = 22,
    BRIDGE_STATE_LENGTH = 27,
    BRIDGE_TARGET_LENGTH = 10,
    BRIDGE_POSITION_LENGTH = 6,
    BRIDGE_MAX_LENGTH = BRIDGE_COMMAND_LENGTH + BRIDGE_MAX_JOINTS * BRIDGE_TARGET_LENGTH
};

/* What the arm may do. */
enum bridge_arm {
    BRIDGE_IDLE = 1,    /* never armed since power-on: the drives are as they were found */
    BRIDGE_READY = 2,   /* armed, held where it was measured; waits for the first command */
    BRIDGE_RUNNING = 3, /* follows commands */
    BRIDGE_BRAKING = 4, /* a fault is latched; comes to rest within the limits */
    BRIDGE_STOPPED = 5  /* a fault is latched; at rest, the drives as they are */
};

/* Bits of what is latched. */
enum bridge_fault {
    BRIDGE_FAULT_STOP = 0x0001,     /* a stop was received */
    BRIDGE_FAULT_EXPIRED = 0x0002,  /* no command in time */
    BRIDGE_FAULT_SESSION = 0x0004,  /* another session began while the arm was armed */
    BRIDGE_FAULT_FEEDBACK = 0x0008, /* a joint was not measured for too long */
    BRIDGE_FAULT_DRIVE = 0x0010,    /* a servo or motor reports an error */
    BRIDGE_FAULT_LIMITER = 0x0020,  /* the safety limiter rejected a target */
    BRIDGE_FAULT_TRACKING = 0x0040, /* a joint is too far from where it was sent */
    BRIDGE_FAULT_POWER = 0x0080,
    BRIDGE_FAULT_RESET = 0x0100, /* the microcontroller's own watchdog has restarted it */
    BRIDGE_FAULTS = 0x01FF
};

/* Why the newest hello, command, clear or release was refused; accepted once the next one is. */
enum bridge_refusal {
    BRIDGE_ACCEPTED = 0,
    BRIDGE_WRONG_PROTOCOL = 1,
    BRIDGE_WRONG_JOINTS = 2,
    BRIDGE_WRONG_TICK = 3,
    BRIDGE_WRONG_CONFIG = 4,
    BRIDGE_NO_SESSION = 5,    /* not the session that is open */
    BRIDGE_OLD_SEQUENCE = 6,  /* not above the last one accepted */
    BRIDGE_STALE = 7,         /* answers a state that is older than the expiry */
    BRIDGE_NOT_ARMED = 8,     /* a command while neither ready nor running */
    BRIDGE_NOT_AT_REST = 9,   /* a clear or release while ready, running or braking */
    BRIDGE_WRONG_LATCH = 10,  /* a clear or release of something else than what is latched now */
    BRIDGE_FAULT_PRESENT = 11 /* a clear while the cause is still there */
};

/* Lower wins the bus: a stop never waits behind another frame. */
enum bridge_can {
    BRIDGE_CAN_STOP = 0x010,     /* stop alone, always one frame */
    BRIDGE_CAN_TO_ARM = 0x020,   /* hello, command, clear, release */
    BRIDGE_CAN_FROM_ARM = 0x030, /* hello reply, state */
    BRIDGE_CAN_MAX_NODE = 0x00F
};

#endif
