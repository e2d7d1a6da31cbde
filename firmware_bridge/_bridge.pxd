# cython: language_level=3
# What _bridge.pyx uses of the C codec.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t


cdef extern from "crc32.h" nogil:
    uint32_t edgearm_crc32(const uint8_t *bytes, size_t count)


cdef extern from "cobs.h" nogil:
    size_t cobs_encode_c "cobs_encode"(const uint8_t *bytes, size_t count, uint8_t *out, size_t capacity)
    bint cobs_decode_c "cobs_decode"(uint8_t *bytes, size_t count, size_t *decoded)


cdef extern from "bridge.h" nogil:
    const uint32_t BRIDGE_PROTOCOL
    enum:
        BRIDGE_HELLO
        BRIDGE_COMMAND
        BRIDGE_STOP
        BRIDGE_CLEAR
        BRIDGE_RELEASE
        BRIDGE_HELLO_REPLY
        BRIDGE_STATE
        BRIDGE_MAX_JOINTS
        BRIDGE_MAX_LENGTH
        BRIDGE_MAX_EXPIRY_MS
        BRIDGE_CAN_STOP
        BRIDGE_CAN_TO_ARM
        BRIDGE_CAN_FROM_ARM

    ctypedef struct bridge_hello:
        uint8_t joints
        uint16_t tick_us
        uint32_t protocol
        uint32_t session
        uint32_t config
        uint8_t refusal

    ctypedef struct bridge_order:
        uint16_t expiry_ms
        uint32_t session
        uint32_t sequence
        uint32_t basis_us

    ctypedef struct bridge_target:
        int64_t position
        int32_t velocity

    ctypedef struct bridge_command:
        bridge_order order
        uint8_t joints
        bridge_target *targets

    ctypedef struct bridge_clear:
        bridge_order order
        uint16_t latch

    ctypedef struct bridge_state:
        uint8_t joints
        uint8_t arm
        uint8_t refusal
        uint32_t session
        uint32_t sequence
        uint32_t time_us
        uint16_t faults
        uint16_t latch
        uint8_t limited
        uint8_t stale
        uint8_t age_ms
        int64_t *positions

    ctypedef union bridge_union:
        bridge_hello hello
        bridge_command command
        bridge_clear clear
        bridge_state state

    ctypedef struct bridge_message:
        uint8_t kind
        bridge_union as_ "as"

    size_t bridge_encode(const bridge_message *message, uint8_t *out)
    bint bridge_decode(const uint8_t *bytes, size_t length, bridge_message *message)


cdef extern from "bridge_serial.h" nogil:
    enum:
        BRIDGE_SERIAL_MAX_FRAME

    ctypedef struct bridge_parser:
        uint32_t frames
        uint32_t corrupt
        uint32_t skipped

    size_t bridge_serial_frame(const uint8_t *message, size_t length, uint8_t *out)
    void bridge_parser_init(bridge_parser *parser)
    bint bridge_parser_push(bridge_parser *parser, uint8_t byte, bridge_message *message)


cdef extern from "bridge_can.h" nogil:
    enum:
        BRIDGE_CAN_CLASSIC
        BRIDGE_CAN_FD

    ctypedef struct bridge_assembly:
        uint32_t frames
        uint32_t corrupt
        uint32_t skipped

    size_t bridge_can_fragment(const uint8_t *message, size_t length, size_t frame_size, uint8_t transfer,
                               size_t place, uint8_t *out)
    void bridge_assembly_init(bridge_assembly *assembly, size_t frame_size)
    bint bridge_assembly_push(bridge_assembly *assembly, const uint8_t *data, size_t size, bridge_message *message)


cdef extern from "bridge_gate.h" nogil:
    enum:
        BRIDGE_NOTHING
        BRIDGE_ANSWER
        BRIDGE_ARM
        BRIDGE_FOLLOW
        BRIDGE_BRAKE
        BRIDGE_DROP

    ctypedef struct bridge_gate:
        uint8_t joints
        bridge_target *targets

    void bridge_gate_init(bridge_gate *gate, uint8_t joints, uint16_t tick_us, uint32_t config)
    void bridge_gate_cap_expiry(bridge_gate *gate, uint16_t most_ms)
    int bridge_gate_receive(bridge_gate *gate, uint32_t now_us, const bridge_message *message, bridge_message *reply)
    void bridge_gate_tick(bridge_gate *gate, uint32_t now_us, uint16_t present)
    void bridge_gate_at_rest(bridge_gate *gate)
    void bridge_gate_report(const bridge_gate *gate, uint32_t now_us, bridge_state *state)
