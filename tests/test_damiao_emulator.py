"""Emulated Damiao motors by themselves, on a bus without an adapter, under a clock that the test moves."""

from __future__ import annotations

import struct

import pytest

from firmware_bridge import _damiao as damiao
from firmware_bridge.emulators.can_bus import CanBus, CanFrame, CanNode
from firmware_bridge.emulators.damiao import MODELS, DamiaoMotors, MotorSetting, bench_arm

MS = 1_000_000
LIMITS = MODELS["DM4310"]
OVERLOAD = 14


class Host(CanNode):
    """Who speaks to the motors."""

    def __init__(self) -> None:
        super().__init__(bit_rate=1_000_000)
        self.heard: list[CanFrame] = []

    def hear(self, frame: CanFrame, now_ns: int) -> None:
        self.heard.append(frame)


class Bench:
    def __init__(self) -> None:
        self.bus, self.host, self.now = CanBus(), Host(), 1_000 * MS
        self.motors = DamiaoMotors(self.bus, [MotorSetting(1, 17, position=0.1), MotorSetting(2, 18)])
        self.bus.nodes.append(self.host)

    def wait(self, milliseconds: int) -> None:
        for _ in range(milliseconds):
            self.now += MS
            self.bus.advance(self.now)

    def say(self, id: int, data: bytes) -> list[CanFrame]:
        """What came back within a few milliseconds."""
        self.host.heard.clear()
        self.host.outbox.append((self.now, CanFrame(id, data)))
        self.wait(3)
        return list(self.host.heard)

    def command(self, position: float, kp: float = 20.0, kd: float = 1.0) -> damiao.Feedback:
        (frame,) = self.say(1, damiao.pack_command(LIMITS, damiao.Command(position, 0.0, kp, kd, 0.0)))
        return damiao.unpack_feedback(LIMITS, frame.data)

    def order(self, order: int) -> damiao.Feedback:
        (frame,) = self.say(1, damiao.pack_order(order))
        return damiao.unpack_feedback(LIMITS, frame.data)

    def read(self, address: int) -> bytes:
        (frame,) = self.say(damiao.REGISTER_ID, damiao.register_read(1, address))
        assert (frame.id, frame.data[:4]) == (17, bytes((1, 0, 0x33, address)))
        return frame.data[4:]

    def write(self, address: int, value: bytes) -> None:
        self.say(damiao.REGISTER_ID, bytes((1, 0, 0x55, address)) + value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_motor_speaks_only_when_it_is_spoken_to(bench: Bench) -> None:
    bench.wait(50)
    assert bench.host.heard == []
    (frame,) = bench.say(damiao.REGISTER_ID, damiao.refresh(1))
    assert frame.id == 17
    assert damiao.unpack_feedback(LIMITS, frame.data)[:2] == (1, damiao.OFF)
    assert len(bench.say(damiao.REGISTER_ID, damiao.refresh(3))) == 0


def test_its_limits_are_registers_and_a_command_means_what_they_say(bench: Bench) -> None:
    for address, value in zip((21, 22, 23), LIMITS, strict=True):
        assert struct.unpack("<f", bench.read(address)) == (value,)
    bench.motors[0].store(damiao.MAX_POSITION, struct.pack("<f", 6.25))
    bench.order(damiao.ENABLE)
    bench.command(1.0)
    bench.wait(500)
    bench.motors[0].advance(bench.now)
    assert bench.motors[0].position == pytest.approx(0.5, abs=1e-2)


def test_it_goes_where_it_is_told_while_it_is_on_and_nowhere_else(bench: Bench) -> None:
    bench.command(1.0)
    bench.wait(500)
    assert bench.command(1.0)[1:3] == (damiao.OFF, pytest.approx(0.1, abs=1e-3))
    bench.order(damiao.ENABLE)
    for _ in range(100):
        seen = bench.command(0.8)
    assert seen.status == damiao.ON
    assert seen.position == pytest.approx(0.8, abs=2e-3)
    assert bench.order(damiao.DISABLE).status == damiao.OFF


def test_it_goes_on_with_the_command_it_had_before_it_was_disabled(bench: Bench) -> None:
    bench.order(damiao.ENABLE)
    bench.command(0.5)
    bench.order(damiao.DISABLE)
    bench.motors[0].position = 0.0
    bench.order(damiao.ENABLE)
    bench.wait(500)
    bench.motors[0].advance(bench.now)
    assert bench.motors[0].position == pytest.approx(0.5, abs=2e-3)


def test_silence_switches_it_off_and_questions_do_not_count(bench: Bench) -> None:
    bench.write(damiao.TIMEOUT, struct.pack("<I", 2000))  # 100 ms
    bench.order(damiao.ENABLE)
    for _ in range(20):
        bench.wait(50)
        assert bench.command(0.1).status == damiao.ON
    for _ in range(10):
        bench.wait(20)
        bench.say(damiao.REGISTER_ID, damiao.refresh(1))
    assert bench.command(0.1).status == damiao.LOST_COMMANDS
    assert bench.order(damiao.ENABLE).status == damiao.LOST_COMMANDS
    assert bench.order(damiao.CLEAR).status == damiao.OFF
    assert bench.order(damiao.ENABLE).status == damiao.ON


def test_a_fault_switches_it_off_and_stays_while_its_cause_does(bench: Bench) -> None:
    bench.order(damiao.ENABLE)
    bench.motors[0].trip(OVERLOAD, cause_stays=True)
    assert bench.command(0.1).status == OVERLOAD
    assert bench.order(damiao.CLEAR).status == OVERLOAD
    bench.motors[0].cause_stays = False
    assert bench.order(damiao.CLEAR).status == damiao.OFF


def test_power_that_goes_takes_what_was_written_with_it(bench: Bench) -> None:
    bench.write(damiao.TIMEOUT, struct.pack("<I", 2000))
    bench.write(7, struct.pack("<I", 99))  # its identifiers are not written over the bus here
    assert bench.read(damiao.TIMEOUT) == struct.pack("<I", 2000)
    assert bench.read(7) == struct.pack("<I", 17)
    bench.order(damiao.ENABLE)
    bench.motors[0].power_up()
    assert bench.read(damiao.TIMEOUT) == bytes(4)
    assert bench.command(0.1).status == damiao.OFF


def test_faults_on_request(bench: Bench) -> None:
    bench.motors[0].drop_answers = 1
    assert bench.say(damiao.REGISTER_ID, damiao.refresh(1)) == []
    assert len(bench.say(damiao.REGISTER_ID, damiao.refresh(1))) == 1
    bench.motors[0].wrong_positions = 1
    assert bench.command(0.1).position == pytest.approx(0.6, abs=1e-3)
    assert bench.command(0.1).position == pytest.approx(0.1, abs=1e-3)
    bench.motors[0].silent = True
    assert bench.say(1, damiao.pack_order(damiao.ENABLE)) == []
    assert bench.motors[0].on
    bench.motors.remove(1)
    assert bench.say(damiao.REGISTER_ID, damiao.refresh(2)) == []
    assert bench_arm({3: LIMITS})[2].limits == LIMITS
