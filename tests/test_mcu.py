"""The emulated microcontroller is a second reading of docs/bridge-protocol.md: it and the firmware say the same.

tests/hil runs the same suite on both. Here they run on one virtual clock, and are compared bit by bit.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hil import backends
from hil.computer import Computer
from hil.twins import Twins
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.arm import SO101
from firmware_bridge._bridge import (
    PROTOCOL,
    Action,
    Clear,
    Command,
    Gate,
    Hello,
    Message,
    Release,
    Stop,
    encode,
    serial_frame,
)
from firmware_bridge.arm_table import ArmTable, arm_table
from firmware_bridge.emulators import FaultError, FaultPlan, McuProcess, ServoBlock, ServoBus
from firmware_bridge.emulators.mcu import Mcu
from firmware_bridge.emulators.mcu_orders import Arm, Latched, Orders, Refusal, Task

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "firmware_bridge/codec/bridge_wire.h"
TICK_US = 4000
TASKS = {Task.ARM: Action.ARM, Task.FOLLOW: Action.FOLLOW, Task.RELEASE: Action.DROP}


@pytest.fixture(scope="session")
def table() -> ArmTable:
    return arm_table(json.loads(SO101.read_text("utf-8")))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backends.build_twin(tmp_path_factory.mktemp("twin"))


@pytest.mark.parametrize(("name", "numbers"), [("arm", Arm), ("fault", Latched), ("refusal", Refusal)])
def test_the_numbers_are_the_wire_headers(name: str, numbers: type[IntEnum]) -> None:
    found = re.search(rf"enum bridge_{name} \{{(.*?)\}};", HEADER.read_text("utf-8"), re.DOTALL)
    assert found is not None
    written = dict(re.findall(r"BRIDGE_(?:FAULT_(?!PRESENT))?(\w+) = (\w+)", found[1]))
    written.pop("FAULTS", None)
    assert {each.name: each.value for each in numbers} == {key: int(value, 0) for key, value in written.items()}


# --- judgement of messages: emulators/mcu_orders.py and codec/bridge_gate.c -----------------------------------------

ORDER = st.tuples(
    st.sampled_from([1, 15, 20, 100]),  # expiry, ms
    st.sampled_from([0, 1, 1, 1, 1, 2]),  # session
    st.integers(-1, 3),  # sequence, above the last one sent
    st.sampled_from([0, 0, 0, 0, 14_999, 15_000, 20_000, 100_000, -1]),  # age, us
)
STEPS = st.one_of(
    st.tuples(st.just("command"), ORDER, st.sampled_from([2, 2, 2, 1])),
    st.tuples(st.just("clear"), ORDER, st.sampled_from([0, 0, 0, 1])),
    st.tuples(st.just("release"), ORDER, st.sampled_from([0, 0, 0, 1])),
    st.tuples(
        st.just("hello"), st.sampled_from([1, 1, 1, 2]), st.sampled_from(["", "", "", "joints", "protocol", "config"])
    ),
    st.tuples(st.just("stop")),
    st.tuples(st.just("tick"), st.sampled_from([0, 0, 0, 0, 0x08, 0x18, 0x101])),
    st.tuples(st.just("rest")),
    st.tuples(st.just("wait"), st.sampled_from([1, 4000, 14_999, 15_000, 60_000])),
)


def message_of(step: tuple[object, ...], sequence: int, now_us: int, latch: int) -> Message | None:
    match step:
        case ("hello", int(session), str(wrong)):
            hello = Hello(2, TICK_US, session, 7, PROTOCOL)
            return hello._replace(**{wrong: 1}) if wrong else hello
        case ("stop",):
            return Stop()
        case (kind, (expiry, session, above, age), int(detail)):
            order = (expiry, session, max(0, sequence + above), (now_us - age) % 2**32)
            if kind == "command":
                return Command(*order, ((5, 1),) * detail)
            return (Clear if kind == "clear" else Release)(*order, (latch + detail) % 2**16)
    return None


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_both_readings_judge_messages_alike(steps: list[tuple[object, ...]]) -> None:
    gate, orders = Gate(2, TICK_US, 7, 15), Orders(2, TICK_US, 7, 15)
    now_us, sequence = 2**32 - 100_000, 0
    for step in [("hello", 1, ""), ("clear", (100, 1, 1, 0), 0), *steps]:
        message = message_of(step, sequence, now_us, orders.latch)
        if message is not None:
            sequence = max(sequence, getattr(message, "sequence", 0))
            did, reply = gate.receive(now_us % 2**32, message)
            mine = orders.receive(now_us, message)
            assert mine == reply if reply is not None else TASKS.get(mine, did) == did
            assert (mine is None) == (did in (Action.NOTHING, Action.BRAKE))
        elif step[0] == "tick":
            gate.tick(now_us % 2**32, step[1])
            orders.tick(now_us, Latched(step[1]))
        elif step[0] == "rest":
            gate.at_rest()
            orders.come_to_rest()
        else:
            now_us += step[1]
        expected = gate.report(now_us % 2**32)
        assert orders.report(now_us, expected.positions, 0, 0, 0) == expected


# --- the whole of it ------------------------------------------------------------------------------------------------


class Client:
    """A computer that is mostly good, on the clock of the twins."""

    def __init__(self, twins: Twins, table: ArmTable, random: Random) -> None:
        self._twins, self._table, self._random = twins, table, random
        self.session, self.sequence = 0, 0
        self.aim: tuple[tuple[int, int], ...] = ()

    def send(self, message: Message) -> None:
        self._twins.hear(serial_frame(encode(message)))

    def order(self, expiry_ms: int = 20) -> tuple[int, int, int, int]:
        self.sequence += 1
        return expiry_ms, self.session, self.sequence, self._twins.state.time_us

    def act(self) -> None:
        """Hello, clear, then commands; now and then something else."""
        state, chance = self._twins.state, self._random.random()
        if chance < 0.03:
            self.misbehave()
        elif state.session == 0 or state.session != self.session:
            self.session, self.sequence = self._random.randrange(1, 2**32), 0
            self.send(Hello(len(self._table.joints), self._table.tick_us, self.session, self._table.config))
        elif state.arm in (Arm.READY, Arm.RUNNING):
            if chance < 0.06 or not self.aim:
                self.aim = tuple(self._target(joint.limits) for joint in self._table.joints)
            self.send(Command(*self.order(), self.aim))
        elif state.arm != Arm.BRAKING and chance < 0.5:
            self.aim = tuple((at, 0) for at in state.positions) if chance < 0.4 else ()
            self.send(Clear(*self.order(), state.latch))

    def _target(self, limits: tuple[int, ...]) -> tuple[int, int]:
        far = limits[1] - limits[0]
        at = self._random.randrange(limits[0] - far // 4, limits[1] + far // 4)
        return at, self._random.choice((0, 0, self._random.randrange(-limits[2], limits[2] + 1)))

    def misbehave(self) -> None:
        twins, random = self._twins, self._random
        servo = random.randrange(len(self._table.joints))
        deeds: list[Callable[[], None]] = [
            lambda: self.send(Stop()),
            lambda: self.send(Release(*self.order(), twins.state.latch)),
            lambda: self.send(Clear(*self.order(), twins.state.latch + 1)),
            lambda: self.send(Hello(6, 4000, 5, 6, 7)),
            lambda: twins.hear(random.randbytes(40) + b"\0"),
            lambda: twins.press(True),
            lambda: twins.boot(random.random() < 0.5),
            lambda: twins.each(lambda block: set_word(block.silent, servo, 1)),
            lambda: twins.each(lambda block: set_word(block.status, servo, random_bits[0])),
            lambda: [twins.tick() for _ in range(6)],  # silence
        ]  # fmt: skip
        random_bits = [random.choice((0x01, 0x04, 0x20))]
        random.choice(deeds)()

    def repair(self) -> None:
        self._twins.press(False)

        def good(block: ServoBlock) -> None:
            block.silent[:] = 0
            block.status[:] &= 0x20

        self._twins.each(good)


def set_word(words: object, at: int, value: int) -> None:
    words[at] = value  # type: ignore[index]


PLANS = {
    "calm": FaultPlan(),
    "noise": FaultPlan.of(["flip=2%,replies", "swap=1%,replies", "drop=1%,requests"], 3),
    "servos": FaultPlan.of(["missing=2@0.6s-0.9s", "overload=5@1.2s", "brownout=3@1.7s", "stale=4@0.3s-0.5s"]),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("seed", range(3))
def test_emulator_and_firmware_do_the_same(library: Path, table: ArmTable, plan: str, seed: int) -> None:
    random = Random(f"{plan} {seed}")
    holding = (2048, 2048, 2200, 2048, 2048, 2040) if seed == 1 else None  # one of them on its way
    twins = Twins(library, table, PLANS[plan], holding)
    client = Client(twins, table, random)
    arms = set()
    for n in range(600):
        twins.tick()
        twins.wait(random.randrange(1, TICK_US - 1))
        client.act()
        if n % 60 == 59:
            client.repair()
        arms.add(Arm(twins.state.arm))
    assert {Arm.RUNNING, Arm.STOPPED} <= arms  # it went somewhere
    assert twins.replies


# --- as a device -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick_us", [1, 2000, 18_000, 18_001, 20_000, 65_535])
def test_an_order_lives_a_millisecond_at_least_whatever_the_table_says(table: ArmTable, tick_us: int) -> None:
    table = replace(table, tick_us=tick_us)
    orders = Mcu(table, ServoBus(ServoBlock.local(range(1, 7)))).orders
    orders.receive(0, Hello(6, tick_us, 1, table.config))
    orders.receive(0, Clear(100, 1, 1, 0, 0))
    most_us = max(1000, (19_000 - tick_us) // 1000 * 1000)
    for now_us, armed in ((0, True), (most_us - 1, True), (most_us, False)):
        orders.tick(now_us, Latched(0))
        assert orders.armed is armed


def test_its_tick_is_that_of_its_description(tmp_path: Path) -> None:
    described = {**json.loads(SO101.read_text("utf-8")), "bridge": {"tick_us": 2500}}
    (tmp_path / "arm.json").write_text(json.dumps(described))
    with McuProcess(tmp_path / "arm.json", pace=0.25) as mcu:
        computer = Computer(mcu.port, arm_table(described))
        assert computer.hello().tick_us == 2500
        assert computer.reply.refusal == Refusal.ACCEPTED
        times = [computer.next_state().time_us for _ in range(6)]  # now and then one is passed over
        assert all((later - earlier) % 2500 == 0 for earlier, later in pairwise(times))
        computer.close()


def test_a_power_dip_leaves_no_session_and_nothing_armed(table: ArmTable) -> None:
    with McuProcess(pace=0.25) as mcu:
        computer = Computer(mcu.port, table)
        computer.next_state()
        computer.hello()
        computer.arm()
        mcu.push(b"P")
        state = computer.wait(lambda state: state.session == 0)
        assert (state.arm, state.faults, state.latch) == (Arm.IDLE, 0, 0)
        assert mcu.block.torque.all()  # what held, holds
        computer.close()


def test_wrong_frames_on_the_line_up_are_survived(table: ArmTable) -> None:
    plan = FaultPlan.of(["flip=10%", "drop=10%", "garbage=10%", "duplicate=10%"], 1)
    with McuProcess(pace=0.25, upward_faults=plan) as mcu:
        computer = Computer(mcu.port, table)
        computer.next_state()
        while computer.state.session != computer.session:
            computer.session, computer.sequence = computer.session + 1, 0
            computer.send(Hello(len(table.joints), table.tick_us, computer.session, table.config))
            computer.states(5)

        def again() -> None:
            state = computer.state
            computer.sequence += 1
            order = (100, computer.session, computer.sequence, state.time_us)
            if state.arm in (Arm.READY, Arm.RUNNING):
                computer.send(Command(*order, tuple((at, 0) for at in state.positions)))
            else:
                computer.send(Clear(*order, state.latch))

        computer.wait(lambda state: state.arm == Arm.RUNNING and bool(mcu.block.torque.all()), again)
        computer.close()


def test_what_happens_to_servos_does_not_happen_to_the_line() -> None:
    with pytest.raises(FaultError, match="not on the line to the computer"):
        McuProcess(upward_faults=FaultPlan.of(["overload=3"]))


def test_the_command_says_its_port_and_leaves_nothing_behind(table: ArmTable, tmp_path: Path) -> None:
    link = tmp_path / "mcu"
    command = [sys.executable, "-m", "firmware_bridge.emulators", "mcu", "--link", str(link), "--pace", "0.25"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert str(link) in process.stdout.readline()
    computer = Computer(str(link), table)
    computer.next_state()
    process.stdin.write("s\n")
    process.stdin.flush()
    computer.wait(lambda state: state.faults == Latched.STOP)
    computer.close()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (process.returncode, os.path.lexists(link)) == (0, False)
