"""The rules of docs/bridge-protocol.md on a running machine, judged by what the servos hear.

make hil                                emulator, host and QEMU
make hil REPEAT=100                     the same again and again, and a table of what failed how often
EDGEARM_HIL_PORT=/dev/ttyACM0 make hil  a board, too: what can be tested without looking at its servos
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from wire import GOAL_POSITION, SYNC_WRITE, Wire

from edge.arm import SO101
from firmware_bridge.arm_table import ArmTable, arm_table
from firmware_bridge.emulators import ServoBlock
from hil import backends
from hil.backends import Backend
from hil.computer import (
    ACCEPTED,
    BRAKING,
    BUSY,
    DRIVE,
    EXPIRED,
    FAULT_PRESENT,
    FEEDBACK,
    IDLE,
    NOT_ARMED,
    RESET,
    STOP,
    STOPPED,
    WRONG_CONFIG,
    WRONG_LATCH,
    Computer,
)

TORQUE, MOTION = 40, 41
GOALS = (2100, 1600, 2300, 2800, 2200, 2400)
BACKENDS = ("emulator", "host", "qemu", "board")


@pytest.fixture(scope="session")
def table() -> ArmTable:
    return arm_table(json.loads(SO101.read_text("utf-8")))


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Built when first asked for."""
    return {}


@pytest.fixture(params=BACKENDS)
def backend(
    request: pytest.FixtureRequest,
    programs: dict[str, Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Backend]:
    name = request.param
    if name == "board":
        yield backends.board()
        return
    wiretap = tmp_path / "wire"
    if name == "emulator":
        with backends.emulator(wiretap) as made:
            yield made
        return
    if name not in programs:
        programs[name] = backends.BUILDERS[name](tmp_path_factory.mktemp(name))
    with backends.firmware(name, programs, wiretap) as made:
        yield made


@pytest.fixture
def computer(backend: Backend, table: ArmTable) -> Iterator[Computer]:
    made = Computer(backend.port, table)
    made.next_state()
    yield made
    made.close()


@pytest.fixture
def servos(backend: Backend) -> ServoBlock:
    if backend.servos is None:
        pytest.skip("this test looks at the servos and moves them: not with a real arm")
    return backend.servos


@pytest.fixture
def press(backend: Backend) -> Callable[[bytes], None]:
    if backend.press is None:
        pytest.skip("this test pushes buttons: not a real board's")
    return backend.press


@pytest.fixture
def wire(backend: Backend, servos: ServoBlock) -> Wire:
    assert backend.wiretap is not None
    return Wire(backend.wiretap)


def told(wire: Wire) -> list[tuple[int, bytes]]:
    """Register and bytes of everything about torque and motion that was said to the servos."""
    return [
        (frame.params[0], frame.params)
        for _, frame in wire.frames()
        if frame.code == SYNC_WRITE and frame.params[0] >= TORQUE
    ]


def armed(frames: list[tuple[int, bytes]]) -> Iterator[NDArray[np.int64]]:
    """The goals (n, 6) of each time that the arm was armed anew: a busy machine lets commands expire."""
    goals: list[list[int]] = []
    for register, params in frames:
        if register == GOAL_POSITION:
            goals.append([int.from_bytes(params[at : at + 2], "little") for at in range(3, len(params), 3)])
        elif goals:
            yield np.array(goals)
            goals = []
    yield np.array(goals)


def targets(table: ArmTable, goals: tuple[int, ...] = GOALS) -> list[int]:
    return [joint.position(goal) for joint, goal in zip(table.joints, goals, strict=True)]


def reached(servos: ServoBlock, goals: tuple[int, ...] = GOALS) -> bool:
    return bool(np.all(np.abs(servos.position - goals) <= 2))


def on(servos: ServoBlock) -> Callable[[], bool]:
    return lambda: bool(np.all(servos.torque == 1))


def quiet(computer: Computer, wire: Wire) -> None:
    """Whatever the computer commands, the servos are told nothing."""
    computer.states(10)
    caught_up(computer)
    before = len(told(wire))
    for _ in range(50):
        computer.next_state()
        computer.command(list(computer.state.positions))
    caught_up(computer)
    assert len(told(wire)) == before


def caught_up(computer: Computer) -> None:
    """The wiretap holds all that was said before: servos have heard what was said to them before what they answer."""
    computer.next_state()
    computer.wait(lambda state: state.stale == 0)


def test_hello_says_what_does_not_match(computer: Computer) -> None:
    refused = computer.hello(config=computer.table.config ^ 1)
    assert (refused.refusal, refused.config) == (WRONG_CONFIG, computer.table.config)
    reply = computer.hello()
    assert (reply.refusal, reply.session) == (ACCEPTED, computer.session)
    computer.wait(lambda state: state.session == computer.session)


def test_a_command_without_a_clear_is_refused(computer: Computer) -> None:
    computer.hello()
    computer.wait(lambda state: state.refusal == NOT_ARMED, lambda: computer.command(list(computer.state.positions)))
    assert computer.state.arm in (IDLE, STOPPED)


def test_noise_on_the_line_is_survived(computer: Computer) -> None:
    chance = random.Random(1)
    for _ in range(20):
        computer.send_bytes(chance.randbytes(200))
        computer.next_state()
    computer.send_bytes(b"\0")
    assert computer.hello().refusal == ACCEPTED


def test_nothing_moves_on_power_up(computer: Computer, servos: ServoBlock, wire: Wire, table: ArmTable) -> None:
    computer.wait(lambda state: state.stale == 0)
    assert computer.state.session == 0
    assert [joint.encoder(p) for joint, p in zip(table.joints, computer.state.positions, strict=True)] == list(
        servos.position
    )
    quiet(computer, wire)
    assert not np.any(servos.torque)
    assert told(wire) == []


def test_it_goes_where_it_is_sent_within_the_limits(
    computer: Computer, servos: ServoBlock, wire: Wire, table: ArmTable
) -> None:
    pose = servos.position.copy()
    computer.hello()
    computer.drive(targets(table), lambda: reached(servos))
    assert np.all(servos.torque == 1)
    frames = told(wire)
    first = next(i for i, (register, _) in enumerate(frames) if register == TORQUE)
    assert all(register == MOTION for register, _ in frames[:first])  # goals are where it is before torque is on
    holds = frames[first - 1][1][2:]
    assert [int.from_bytes(holds[at + 2 : at + 4], "little") for at in range(0, len(holds), 8)] == list(pose)
    for goals in armed(frames):
        assert np.all(np.abs(np.diff(goals, axis=0)) <= [joint.travel // 2 + 1 for joint in table.joints])


def test_damaged_answers_do_not_stop_it(computer: Computer, servos: ServoBlock, table: ArmTable) -> None:
    computer.hello()
    intact = damages = 0

    def damaged() -> bool:
        """Every few cycles; two answers in a row of the same servo, others late or not, would rightly be a fault."""
        nonlocal intact, damages
        pending = servos.flip_replies or servos.swap_replies
        intact = 0 if pending else intact + (computer.state.stale == 0)
        if intact == 4:
            intact, damages = 0, damages + 1
            servos.flip_replies = servos.swap_replies = 1
        return reached(servos)

    computer.drive(targets(table), damaged)
    assert damages > 0


def test_silence_stops_it_for_good(computer: Computer, servos: ServoBlock, wire: Wire, table: ArmTable) -> None:
    computer.hello()
    while computer.state.faults & EXPIRED == 0:  # a busy machine's servos may be silent before the computer is
        computer.arm(on(servos))
        computer.command(targets(table, (3000, 2000, 2000, 2000, 3000, 3000)))
        computer.wait(lambda state: state.arm == STOPPED)
        assert computer.state.faults & ~BUSY == 0
    quiet(computer, wire)
    assert np.all(servos.torque == 1)  # held, not dropped


def test_a_stop_is_latched_and_only_a_clear_that_names_it_arms(computer: Computer, wire: Wire) -> None:
    computer.hello()
    computer.arm()
    latch = computer.state.latch
    computer.stop()
    quiet(computer, wire)
    assert computer.clear(latch).refusal == WRONG_LATCH
    assert computer.state.arm == STOPPED
    computer.arm()


def test_the_emergency_stop(press: Callable[[bytes], None], computer: Computer, wire: Wire) -> None:
    computer.hello()
    computer.arm()
    press(b"S")
    computer.wait(lambda state: state.arm == STOPPED and state.faults & STOP != 0)
    assert computer.clear().refusal == FAULT_PRESENT
    quiet(computer, wire)
    press(b"R")
    computer.states(5)
    assert computer.state.arm == STOPPED
    computer.arm()


def test_torque_goes_off_on_request_alone(computer: Computer, servos: ServoBlock) -> None:
    computer.hello()
    computer.arm(on(servos))
    computer.stop()
    assert np.all(servos.torque == 1)

    def again() -> None:
        assert computer.release().refusal == ACCEPTED

    computer.wait(lambda _: not np.any(servos.torque), again)
    assert computer.state.arm == STOPPED


def test_a_silent_servo_stops_it(computer: Computer, servos: ServoBlock) -> None:
    computer.hello()
    computer.arm(on(servos))
    servos.silent[2] = 1
    computer.wait(lambda state: state.arm in (BRAKING, STOPPED) and state.faults & FEEDBACK != 0)
    computer.wait(lambda state: state.arm == STOPPED and state.stale & 4 != 0)
    assert computer.clear().refusal == FAULT_PRESENT
    servos.silent[2] = 0
    computer.wait(lambda state: state.stale == 0)
    computer.arm(on(servos))


def test_an_overload_stops_it(computer: Computer, servos: ServoBlock) -> None:
    computer.hello()
    computer.arm(on(servos))

    def overloaded() -> None:
        servos.status[4] = 0x20  # again: torque that is still coming on takes it away
        computer.command(list(computer.state.positions))

    computer.wait(lambda state: state.arm == STOPPED and state.faults & DRIVE != 0, overloaded)
    computer.arm(lambda: servos.status[4] == 0)  # which a servo leaves when its torque comes on


def test_the_watchdog_restarts_it_and_nothing_moves(
    press: Callable[[bytes], None], computer: Computer, servos: ServoBlock, wire: Wire
) -> None:
    computer.hello()
    computer.arm(on(servos))
    press(b"H")
    computer.wait(lambda state: state.session == 0 and state.faults & RESET != 0)
    assert computer.state.arm == STOPPED
    quiet(computer, wire)
    assert np.all(servos.torque == 1)
    computer.hello()
    computer.arm(on(servos))
