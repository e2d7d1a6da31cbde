"""The native core. Times are int64 nanoseconds on CLOCK_MONOTONIC; joints are (6,) in the order of `edge.types.JOINTS`,
radians, the gripper 0 (closed) … 1 (open)."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.types import Chunk

PoseTuple = tuple[float, float, float, float]
LoopState = Literal["idle", "ready", "running", "hold", "fault"]

class Arm:
    """The described arm, its servos' zeros and ranges from a LeRobot calibration file if one is named.

    ArmError from `edge.arm.load_description` and `edge.calibration.load_calibration` when a file is not usable.
    """

    def __init__(self, path: str | PathLike[str], calibration: str | PathLike[str] | None = None) -> None: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def servo_ids(self) -> tuple[int, ...]: ...
    @property
    def lower(self) -> NDArray[np.float64]: ...
    @property
    def upper(self) -> NDArray[np.float64]: ...
    @property
    def max_velocity(self) -> NDArray[np.float64]:
        """Joint units (radians, or the gripper's 0…1) per second."""
    @property
    def max_acceleration(self) -> NDArray[np.float64]:
        """Joint units per second squared."""
    @property
    def max_jerk(self) -> NDArray[np.float64]:
        """Joint units per second cubed."""
    def forward(
        self, joints: ArrayLike, frame: str = "pinch"
    ) -> tuple[float, float, float, float, float, float, float]:
        """Pose x, y, z, qw, qx, qy, qz of a frame, or of a joint's body by its name. ValueError: unknown frame."""
    def pinch_pose(self, joints: ArrayLike) -> PoseTuple:
        """x, y, z and yaw of the pinch point; yaw is the heading, in the base's xy plane, of the pinch frame's +z axis,
        which points from the fixed pad to the moving one: the direction the gripper opens in."""
    @property
    def bridge_config(self) -> int | None:
        """Of an arm behind a microcontroller, the hash of the table that its firmware must have."""
    def to_ticks(self, joints: ArrayLike) -> NDArray[np.int32]: ...
    def from_ticks(self, ticks: ArrayLike) -> NDArray[np.float64]: ...

class ServoBus:
    """A port and the servos behind it, for tools that look and set up; never beside a driver on the same port.

    Answers are the servo's error bits and what it sent, or None where nobody answered in time. LinkError: the port is
    missing, busy or no serial port.
    """

    def __init__(self, port: str, baud: int = 1_000_000) -> None: ...
    def ping(self, id: int, timeout_ns: int = 50_000_000) -> tuple[int, bytes] | None: ...
    def read(self, id: int, address: int, length: int, timeout_ns: int = 50_000_000) -> tuple[int, bytes] | None:
        """At most 16 bytes; asked twice where the first answer is lost."""
    def write(self, id: int, address: int, data: bytes, timeout_ns: int = 50_000_000) -> bool:
        """Sent once. False where nobody acknowledged it, and then it may have been obeyed all the same."""
    @property
    def corrupt(self) -> int:
        """Answers with a wrong sum so far, as two servos with one id make them."""

class ControllerState:
    """What a microcontroller says every tick (docs/bridge-protocol.md)."""

    arm: str
    """idle, ready, running, braking or stopped."""
    faults: str
    """What is latched, in words; empty for nothing."""
    joints: int
    session: int
    sequence: int
    time_us: int
    latch: int
    """How often something was latched since it started."""
    stale: int
    """A bit for each joint that was not measured in the last tick."""
    age_ms: int
    """Of the oldest position; 255 is that or more."""

class ControllerIdentity:
    """What a microcontroller says of itself; `protocol` and `config` are hashes."""

    joints: int
    tick_us: int
    protocol: int
    config: int

BRIDGE_PROTOCOL: int
"""Hash of the wire header that this core was built with."""

class ControllerPort:
    """A port and the microcontroller behind it, for tools that look; never beside a driver on the same port.

    LinkError: the port is missing, busy or no serial port.
    """

    def __init__(self, port: str) -> None: ...
    def state(self, timeout_ns: int = 1_000_000_000) -> ControllerState | None:
        """The next one; None when none came."""
    def identity(self, timeout_ns: int = 200_000_000) -> ControllerIdentity | None:
        """Asks, and opens no session; None when nobody answered."""
    @property
    def corrupt(self) -> int:
        """Frames that were damaged, or no messages at all."""

class MotorBus:
    """A CAN bus with Damiao motors, for tools that look; never together with a driver on the same port.

    Args:
        port: A serial adapter that speaks slcan, or the name of an interface of the kernel.
    """

    def __init__(self, port: str) -> None:
        """LinkError when it does not open."""
    def read(self, id: int, master_id: int, address: int, timeout_ns: int = ...) -> int | None:
        """A register's bits; None when nobody answered."""
    def refresh(
        self, id: int, master_id: int, limits: tuple[float, float, float], timeout_ns: int = ...
    ) -> tuple[int, float, int, int] | None:
        """Status, position in rad, °C of driver and coil; `limits` are the motor's registers 21 to 23."""

def describe_motor_status(status: int) -> str:
    """In words; empty for off and on."""

def describe_servo_error(bits: int) -> str:
    """The names of a reply's error bits."""

class LoopConfig:
    """Frozen. `max_jump` is (6,) in joint units: between two targets, and from the commanded position to the first one
    ahead. Steps left out in a row that add up to `stall_ns` hold the arm until steps come in time for as long again.
    ValueError from `ControlLoop` unless 0 < period_ns <= feedback_timeout_ns <= watchdog_ns, and period_ns <= stall_ns.
    """

    def __init__(
        self,
        *,
        period_ns: int = 1_000_000,
        feedback_timeout_ns: int = 12_000_000,
        watchdog_ns: int = 200_000_000,
        stall_ns: int = 20_000_000,
        blend_ns: int = 50_000_000,
        lookahead_ns: int = 1_000_000_000,
        max_jump: ArrayLike | None = None,
    ) -> None: ...
    @property
    def period_ns(self) -> int: ...
    @property
    def feedback_timeout_ns(self) -> int: ...
    @property
    def watchdog_ns(self) -> int: ...
    @property
    def stall_ns(self) -> int: ...
    @property
    def blend_ns(self) -> int: ...
    @property
    def lookahead_ns(self) -> int: ...
    @property
    def max_jump(self) -> NDArray[np.float64]: ...

class Command:
    """What one step commands. `flags`: 1 position, 2 velocity, 4 acceleration, 8 jerk limit active; 16 chunk taken, 32
    chunk refused, 64 feedback late."""

    @property
    def joints(self) -> NDArray[np.float64]:
        """(6,); not a number until the first feedback."""
    @property
    def state(self) -> LoopState: ...
    @property
    def flags(self) -> int: ...

class Offer:
    """True when the chunk was accepted."""

    @property
    def accepted(self) -> bool: ...
    @property
    def chunk_id(self) -> int:
        """Counts from 1; 0 when refused."""
    @property
    def reason(self) -> str:
        """Why it was refused: a keyword, the element and the bound. Empty when accepted."""
    def __bool__(self) -> bool: ...

class LoopCounters(TypedDict):
    steps: int
    chunks_taken: int
    chunks_refused: int
    """Refused inside a step; refusals of `offer` are its result."""
    holds_out_of_targets: int
    holds_feedback: int
    holds_stalled: int
    """Because too many steps in a row were left out."""
    faults: int
    starts_refused: int
    """A joint was farther away than can be counted; the loop stayed idle."""

class LoopSnapshot(TypedDict):
    """The loop as of its last step."""

    now_ns: int
    state: LoopState
    hold_cause: str
    fault_cause: str
    flags: int
    measured: NDArray[np.float64]
    commanded: NDArray[np.float64]
    velocity: NDArray[np.float64]
    at_rest: bool
    feedback_age_ns: int | None
    chunk_id: int
    chunk_age_ns: int | None
    """Since the observation the chunk was computed from."""
    last_refusal: str
    counters: LoopCounters

class ControlLoop:
    """The pure step. One thread steps; any thread may offer, start, hold, clear and take snapshots."""

    def __init__(self, arm: Arm, config: LoopConfig = ...) -> None: ...
    def step(self, now_ns: int, feedback: ArrayLike | None = None) -> Command:
        """`feedback` (6,) is a measurement taken since the last step. ArmError while a `Driver` steps this loop."""
    def advance(self, start_ns: int, count: int, feedback: ArrayLike) -> NDArray[np.float64]:
        """`count` steps one period apart, the first at `start_ns`, with `feedback` measured afresh at each; the next
        call starts at `start_ns + count * period_ns`. Returns the last command (6,)."""
    def offer(self, chunk: Chunk) -> Offer: ...
    def start(self) -> None:
        """idle → ready from the measured pose, at the next step that has feedback."""
    def hold(self) -> None:
        """Come to rest. Chunks computed from observations before this are refused."""
    def clear(self) -> None:
        """Come to rest, then idle; the only way out of fault."""
    def fault_log(self) -> NDArray[np.void]:
        """Every step of the two seconds (at 1 kHz) before the last fault and of how the arm came to rest after it.

        Oldest first. Fields: time_ns, feedback_age_ns (-1: none yet), chunk_id, measured, commanded and velocity (6,),
        flags as in `Command`, and the indices state into `STATES`, hold_cause into `HOLD_CAUSES`, fault_cause into
        `FAULT_CAUSES`. Empty without a fault, until the arm rests, and again after the next `start`; `clear` keeps it.
        """
    def snapshot(self) -> LoopSnapshot: ...
    @property
    def arm(self) -> Arm: ...
    @property
    def config(self) -> LoopConfig: ...

class CallRow(TypedDict):
    call: str
    object: str
    outcome: str | None
    begin_ns: int
    end_ns: int | None

class Recovery(TypedDict):
    """What opening a journal found."""

    records: int
    """Changes that were restored."""
    torn_bytes: int
    """Of a last record that a crash cut short; it was never acknowledged."""
    damaged_bytes: int
    """From the first damaged record to the end."""
    kept: str
    """File that the damaged bytes were moved to; empty when there are none, and after `peek`."""
    in_use: bool
    """`peek`: whether a process has the journal open."""

class SubtaskMemory:
    """What was called, how it ended, and where objects were. At most 256 calls and 32 objects a task.

    With a journal every change is on the disk before the call returns, and opening it again restores the memory.
    TaskError when it is full, a text is too long (a task 510 bytes, a call 126, an object 62, an outcome 14) or calls
    come in a wrong order; ConfigError when the journal is not usable. A change that raises changes nothing.
    """

    def __init__(self, journal_path: str = "") -> None: ...
    @staticmethod
    def peek(journal_path: str) -> SubtaskMemory:
        """What a journal holds, in a memory without one; the journal is neither changed nor locked."""
    def clear(self, task: str) -> None:
        """Forget everything and start a task."""
    def begin(self, call_text: str, object: str, now_ns: int) -> None: ...
    def end(self, outcome: str, now_ns: int) -> None: ...
    def grasped(self, object: str, pose: Sequence[float]) -> None:
        """`pose` is x, y, z, yaw of the pinch point."""
    def released(self, object: str, pose: Sequence[float]) -> None: ...
    def conclude(self, ending: str, now_ns: int) -> None:
        """The task is over, `finished` or `failed`; another `begin` takes it up again."""
    def place_of(self, object: str) -> PoseTuple | None:
        """Where the object was when it was first grasped in this task."""
    def released_at(self, object: str) -> PoseTuple | None:
        """Where it was last released in this task."""
    def places(self) -> dict[str, PoseTuple]:
        """`place_of` of every object that has one, in the order of first mention."""
    def transcript(self) -> tuple[tuple[str, str], ...]:
        """(call, outcome) of every call that has ended, oldest first."""
    def calls(self) -> list[CallRow]: ...
    @property
    def task(self) -> str: ...
    @property
    def running(self) -> str | None:
        """The call that has begun and not ended: after a crash, the one that was cut short."""
    @property
    def held(self) -> str | None:
        """What was grasped last and not released since."""
    @property
    def ending(self) -> str | None:
        """How the task ended, None while it goes on."""
    @property
    def recovery(self) -> Recovery: ...

STATES: tuple[LoopState, ...]
"""State names by the number that `Driver.drain` and `ControlLoop.fault_log` give."""
HOLD_CAUSES: tuple[str, ...]
FAULT_CAUSES: tuple[str, ...]

class BusCounters(TypedDict):
    cycles: int
    overruns: int
    """Cycles that were not started because the one before took too long."""
    ok: int
    """Times that every joint had given a new believable position."""
    replies: int
    corrupt: int
    stray: int
    """Intact frames that answered nothing."""
    timeout: int
    """Replies that did not come in time."""
    implausible: int
    """Intact positions that the joint could not have reached."""

class ServoSnapshot(TypedDict):
    error: str
    """What its last reply says is wrong, in words; empty for nothing."""
    age_ns: int | None
    """Since its last believable position."""

class DriverSnapshot(LoopSnapshot):
    pinch_pose: PoseTuple
    """Of the measured joints."""
    running: bool
    connected: bool
    port: str
    link: str
    """Why the port is not usable, empty while it is."""
    torque: str
    """What was last done about it: "as found", "on", "off", "kept on", or "not off: " and the reason."""
    realtime: str
    """What was granted, or what to grant."""
    lateness_p50_ns: int
    lateness_p99_ns: int
    lateness_max_ns: int
    step_mean_ns: int
    """From waking to the published command: what a step costs the loop's thread, interruptions included."""
    step_max_ns: int
    deadline_misses: int
    """Steps that were left out because the thread woke more than a period late. `counters["holds_stalled"]` says how
    often so many came in a row that the arm held."""
    page_faults: int
    """Of the loop's thread since its first step, as of the last log sample."""
    log_dropped: int
    controller: str
    """Of an arm behind a microcontroller: why that has stopped the arm, or is silent; else empty."""
    bus: BusCounters
    servos: dict[str, ServoSnapshot]

class Driver:
    """The 1 kHz real-time thread and the bus thread of one arm; nothing is opened before `start`.

    Args:
        loop: Stepped by this driver only, from `start` to `stop`; offer chunks and take snapshots as before.
        port: Serial port of the servo bus, a USB adapter or a pty. For an arm on CAN, an adapter that speaks slcan, or
            the name of an interface of the kernel (`can0`). For an arm behind a microcontroller, the microcontroller's.
        reply_timeout_ns: How long one bus cycle may wait for replies; a slow line slows the bus, never the loop.
        bus_period_ns: One bus cycle; ConfigError when the line cannot carry its bytes in that time.
        priority: SCHED_FIFO priority of the loop's thread.
        cpu: Core the loop's thread keeps to; None for any. ConfigError when there is no such core.
        keep_torque: Leave torque on after `stop`.
        log_every: One log sample every so many steps.
    """

    def __init__(
        self,
        loop: ControlLoop,
        port: str,
        *,
        bus_period_ns: int = 4_000_000,
        reply_timeout_ns: int = 8_000_000,
        priority: int = 80,
        cpu: int | None = None,
        lock_memory: bool = True,
        keep_torque: bool = False,
        log_every: int = 10,
    ) -> None: ...
    def start(self) -> None:
        """Check every motor, switch torque on with the measured pose as goal, and return once the loop is ready.

        After a fault: `loop.clear()`, then this again. When it fails, motors that were on stay on.

        Raises:
            ConfigError: The core named by `cpu` is closed to this process.
            LinkError: The port is missing, busy, not a serial port, or gone.
            ArmError: A motor is silent, of another model, holds other limits than described or has a fault, or the
                loop is in fault or started already.
        """
    def stop(self) -> None:
        """Come to rest, then torque off (unless `keep_torque`), end the threads, close the port. An arm that does not
        come to rest within 3 s is not switched off. `snapshot()["torque"]` says what came of it. A driver that is
        dropped without this brings the arm to rest and leaves torque on."""
    def snapshot(self) -> DriverSnapshot: ...
    def drain(self) -> NDArray[np.void]:
        """Log samples since the last call, oldest first: fields time_ns, measured (6,), commanded (6,), chunk_id, and
        state as an index into `STATES`."""
    def lateness(self) -> NDArray[np.void]:
        """How late the loop's thread woke, since this driver was made: a histogram of fields longest_ns (upper edge of
        a bucket, at most 0.8 % above its samples) and count, shortest first, without empty buckets."""
    def step_times(self) -> NDArray[np.void]:
        """How long its steps took, likewise: from waking to the published command."""
    @property
    def running(self) -> bool: ...
    @property
    def port(self) -> str: ...

CanResult = Literal["ok", "timeout", "gone", "corrupt", "refused"]
"""How a transfer ended. `gone`: unplugged or switched off, open the link again. `corrupt`: damage was skipped.
`refused`: the bus cannot carry the frame, the controller is off the bus, or the adapter said no, to this frame or to an
earlier one it had not answered yet."""

def release_memory() -> None:
    """For when no driver runs: nothing is locked any more, and what malloc keeps for later goes to the system."""

def share_memory_pools() -> None:
    """For a process whose threads come and go, before most of them do: they share two of malloc's pools."""

class CanFrame:
    """One frame. Whether a bus can carry it is for `send` to say.

    Args:
        id: 11 bits, or 29 if `extended`.
        data: Up to 8 bytes; in CAN FD up to 64, of the lengths that CAN FD has.
        remote: Asks for `length` bytes and carries none.
        bit_rate_switch: Of CAN FD: the data goes at the data bit rate.
    """

    def __init__(
        self,
        id: int,
        data: bytes = b"",
        *,
        extended: bool = False,
        remote: bool = False,
        fd: bool = False,
        bit_rate_switch: bool = False,
        length: int | None = None,
    ) -> None: ...
    @property
    def id(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def extended(self) -> bool: ...
    @property
    def remote(self) -> bool: ...
    @property
    def fd(self) -> bool: ...
    @property
    def bit_rate_switch(self) -> bool: ...
    @property
    def length(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

class CanCounters(TypedDict):
    sent: int
    received: int
    refused: int
    corrupt: int
    overruns: int
    unanswered: int
    bus_errors: int

class _CanLink:
    def send(self, frame: CanFrame, timeout_ns: int) -> CanResult: ...
    def receive(self, timeout_ns: int) -> tuple[CanResult, CanFrame]:
        """The next frame of another node; the frame means something with "ok" only."""
    @property
    def path(self) -> str: ...
    @property
    def state(self) -> Literal["unknown", "active", "warning", "passive", "off"]:
        """Of the controller; "unknown" for slcan, which does not tell."""
    @property
    def counters(self) -> CanCounters: ...

class SlcanLink(_CanLink):
    """A CAN bus behind a USB adapter that speaks slcan. One thread at a time.

    Args:
        port: The adapter's serial port.
        data_bit_rate: Of CAN FD; 0 for a classic bus.
        window: Frames that may be without acknowledgement; with 1 the result of `send` is about this very frame.

    Raises:
        LinkError: The port is missing, busy or no serial port, no slcan adapter answers, or it refuses a rate.
    """

    def __init__(self, port: str, *, bit_rate: int = 1_000_000, data_bit_rate: int = 0, window: int = 16) -> None: ...
    @property
    def acknowledges(self) -> bool:
        """False for firmware that never does: refused frames then go unnoticed."""
    @property
    def stable_path(self) -> str:
        """The name to open the same adapter by after it was unplugged."""

class SocketCanLink(_CanLink):
    """A CAN bus behind an interface of the kernel, which is up with its bit rates set. One thread at a time.

    Args:
        interface: E.g. can0.
        loopback: Let other programs of this machine hear what is sent.

    Raises:
        LinkError: The kernel has no CAN, or the interface is missing, of another kind, down, or without CAN FD.
    """

    def __init__(self, interface: str, *, fd: bool = False, loopback: bool = False) -> None: ...
