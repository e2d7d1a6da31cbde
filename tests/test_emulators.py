"""The emulated servos do what STS3215 servos do, byte for byte and at their pace, and are no kinder."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import serial

from firmware_bridge._feetech import (
    Parser,
    encode_ping,
    encode_read,
    encode_sync_read,
    encode_sync_write,
    encode_write,
)
from firmware_bridge.emulators import BusProcess, KinematicServos, ServoBlock, ServoBus

ROOT = Path(__file__).resolve().parents[1]
IDS = (1, 2, 3, 4, 5, 6)
BYTE_NS = 10_000
SYNC_READ = "FF FF FE 0A 82 38 02 01 02 03 04 05 06 26"
SYNC_WRITE = "FF FF FE 16 83 2A 02 01 00 08 02 00 08 03 00 08 04 00 08 05 00 08 06 00 08 F7"


class Bench:
    """A bus with a clock that the test moves."""

    def __init__(self, return_delay: int = 0) -> None:
        self.block = ServoBlock.local(IDS)
        self.bus = ServoBus(self.block)
        self.now = 0
        for servo in self.bus.servos:
            servo.write(55, b"\x00")
            servo.write(7, bytes((return_delay,)))

    def ask(self, request: bytes | str, *, baud: int = 1_000_000) -> str:
        """Sends, waits for the whole answer, returns it as hex."""
        self.bus.receive(bytes.fromhex(request) if isinstance(request, str) else request, self.now, baud)
        self.now += 100_000_000
        return self.bus.transmit(self.now).hex(" ").upper()


def test_the_golden_vectors() -> None:
    bench = Bench()
    assert bench.ask("FF FF 01 02 01 FB") == "FF FF 01 02 00 FC"
    assert bench.ask("FF FF 01 04 02 38 02 BE") == "FF FF 01 04 00 00 08 F2"
    bench.block.position[0] = -5
    assert bench.ask("FF FF 01 04 02 38 02 BE") == "FF FF 01 04 00 05 80 75"
    assert bench.ask("FF FF 01 04 03 28 01 CE") == "FF FF 01 02 00 FC"
    assert bench.block.torque.tolist() == [1, 0, 0, 0, 0, 0]
    assert bench.ask("FF FF FE 04 03 28 00 D2") == ""
    assert bench.block.torque.tolist() == [0] * 6
    bench.block.goal[:] = 0
    assert bench.ask("FF FF 01 05 03 2A 00 08 C4") == "FF FF 01 02 00 FC"
    assert bench.block.goal.tolist() == [2048, 0, 0, 0, 0, 0]
    assert bench.ask("FF FF 01 0A 03 29 32 00 08 00 00 E8 03 A3") == "FF FF 01 02 00 FC"
    assert (bench.block.acceleration[0], bench.block.goal_velocity[0]) == (50, 1000)
    assert bench.ask(SYNC_WRITE) == ""
    assert bench.block.goal.tolist() == [2048] * 6
    bench.block.status[5] = 0x20
    assert bench.ask(encode_ping(6)) == "FF FF 06 02 20 D7"


def test_sync_read_is_answered_by_one_status_a_servo_in_the_order_asked() -> None:
    bench = Bench()
    bench.block.position[:] = [10, 20, 30, 40, 50, 60]
    frames = Parser().feed(bytes.fromhex(bench.ask(encode_sync_read(56, 2, (3, 1, 6)))))
    assert [(f.id, int.from_bytes(f.params, "little")) for f in frames] == [(3, 30), (1, 10), (6, 60)]


def test_replies_take_their_time_on_the_wire() -> None:
    bench = Bench(return_delay=0)
    bench.bus.receive(bytes.fromhex(SYNC_WRITE + SYNC_READ), 0)
    arrived = []
    for now in range(0, 2_000_000, 1_000):
        arrived += [now] * len(bench.bus.transmit(now))
    requests, reply, delay = 26 + 14, 8, 2_000
    assert len(arrived) == 6 * reply
    slots = [requests * BYTE_NS + (n + 1) * (delay + reply * BYTE_NS) for n in range(6)]
    assert sorted(set(arrived)) == slots
    assert slots[-1] == 880_000 + 6 * delay


def test_the_factory_return_delay_is_half_a_millisecond() -> None:
    bus = ServoBus(ServoBlock.local((1,)))
    bus.receive(encode_ping(1), 0)
    assert bus.next_due_ns == 6 * BYTE_NS + 250 * 2_000 + 6 * BYTE_NS


def test_a_request_over_a_reply_destroys_both() -> None:
    bench = Bench(return_delay=0)
    bench.bus.receive(encode_ping(1), 0)
    heard = bench.ask(encode_ping(2))  # sent while servo 1 answers: it overlaps
    assert bench.block.collisions > 0
    assert Parser().feed(bytes.fromhex(heard)) == []
    assert bench.ask(encode_ping(2)) == "FF FF 02 02 00 FB"  # the bus recovers


def test_acknowledgements_of_hurried_writes_collide() -> None:
    """Unicast writes without reading the acknowledgements lose some of them: sync_write exists for that."""
    bench = Bench(return_delay=0)
    heard = bench.ask(b"".join(encode_write(id, 42, b"\x00\x04") for id in IDS))
    assert len(Parser().feed(bytes.fromhex(heard))) < len(IDS)


def test_goals_are_clamped_to_the_limits_and_shifted_by_the_homing_offset() -> None:
    bench = Bench()
    bench.ask(encode_write(2, 9, (1000).to_bytes(2, "little") + (3000).to_bytes(2, "little")))
    bench.ask(encode_write(2, 42, (3500).to_bytes(2, "little")))
    assert bench.block.goal[1] == 3000
    bench.ask(encode_write(2, 31, (100 | 1 << 11).to_bytes(2, "little")))  # -100, the sign is bit 11
    assert bench.bus.servos[1]["homing_offset"] == -100
    assert bench.bus.servos[1]["present_position"] == 2148
    assert bench.block.goal[1] == 2900


def test_a_locked_eeprom_forgets_over_a_power_cycle() -> None:
    bench = Bench()
    servo = bench.bus.servos[0]
    bench.ask(encode_write(1, 55, b"\x01"))
    bench.ask(encode_write(1, 9, b"\x64\x00"))
    assert servo["min_position_limit"] == 100  # in effect ...
    servo.power_cycle()
    assert servo["min_position_limit"] == 0  # ... but not kept
    bench.ask(encode_write(1, 55, b"\x00"))
    bench.ask(encode_write(1, 9, b"\x64\x00"))
    servo.power_cycle()
    assert servo["min_position_limit"] == 100
    assert servo["lock"] == 1


def test_a_power_cycle_drops_torque_and_asks_for_no_motion() -> None:
    bench = Bench()
    bench.ask(encode_write(1, 42, b"\x00\x04"))
    bench.ask(encode_write(1, 40, b"\x01"))
    bench.block.position[0] = 1500
    bench.bus.servos[0].power_cycle()
    assert bench.block.torque[0] == 0
    assert bench.block.goal[0] == 1500


def test_measurements_cannot_be_written() -> None:
    bench = Bench()
    assert bench.ask(encode_write(1, 56, b"\x00\x00")) == "FF FF 01 02 00 FC"  # acknowledged, without effect
    assert bench.bus.servos[0]["present_position"] == 2048
    assert bench.ask(encode_read(1, 3, 2)) == "FF FF 01 04 00 09 03 EE"  # 777


def test_reg_write_waits_for_action() -> None:
    bench = Bench()
    for id, word in ((1, b"\x00\x04"), (2, b"\x00\x05")):
        request = bytearray(encode_write(id, 42, word))
        request[4] = 4
        request[-1] = ~sum(request[2:-1]) & 0xFF
        assert bench.ask(bytes(request)) != ""
    assert bench.block.goal[:2].tolist() == [2048, 2048]
    assert bench.ask("FF FF FE 02 05 FA") == ""
    assert bench.block.goal[:2].tolist() == [1024, 1280]


def test_the_id_and_the_baud_rate_can_be_changed() -> None:
    bench = Bench()
    bench.ask(encode_write(1, 5, b"\x09"))
    assert bench.ask(encode_ping(1)) == ""
    assert bench.ask(encode_ping(9)) == "FF FF 09 02 00 F4"
    bench.ask(encode_write(9, 6, b"\x01"))
    assert bench.ask(encode_ping(9)) == ""
    assert bench.ask(encode_ping(9), baud=500_000) == "FF FF 09 02 00 F4"


def test_faults_that_can_be_injected() -> None:
    bench = Bench()
    bench.block.silent[2] = 1
    frames = Parser().feed(bytes.fromhex(bench.ask(SYNC_READ)))
    assert [frame.id for frame in frames] == [1, 2, 4, 5, 6]
    bench.block.silent[2] = 0
    bench.block.flip_replies = 1
    frames = Parser().feed(bytes.fromhex(bench.ask(SYNC_READ)))
    assert [frame.id for frame in frames] == [2, 3, 4, 5, 6]
    bench.block.swap_replies = 1
    frames = Parser().feed(bytes.fromhex(bench.ask(SYNC_READ)))
    assert int.from_bytes(frames[0].params, "little") == 8  # 2048 with its bytes swapped: the sum lets it pass
    assert [frame.id for frame in Parser().feed(bytes.fromhex(bench.ask(SYNC_READ)))] == list(IDS)


def test_an_overloaded_servo_lets_go_until_torque_is_enabled_again() -> None:
    bench = Bench()
    bench.ask(encode_write(1, 40, b"\x01"))
    bench.block.status[0] = 0x20
    assert not bench.block.driven[0]
    assert Parser().feed(bytes.fromhex(bench.ask(encode_read(1, 40, 1))))[0].code == 0x20
    bench.ask(encode_write(1, 40, b"\x01"))
    assert bench.block.driven[0]


def test_noise_and_half_frames_do_not_deafen_the_bus() -> None:
    bench = Bench()
    bench.ask(b"\xff\xff\x01\xf0\x03")  # a client that died inside a long frame
    assert bench.ask(encode_ping(1)) == "FF FF 01 02 00 FC"
    bench.bus.receive(b"\x00\xff\x13", bench.now)
    assert bench.ask(encode_ping(1)) == "FF FF 01 02 00 FC"


def test_kinematic_servos_reach_their_goal_without_exceeding_the_speed() -> None:
    block = ServoBlock.local(IDS)
    servos = KinematicServos(block)
    block.goal[:] = 3000
    block.torque[:3] = 1
    block.goal_velocity[0] = 500
    fastest = np.zeros(6)
    for _ in range(700):
        servos.step(0.004)
        fastest = np.maximum(fastest, np.abs(block.velocity))
        assert block.position.max() <= 3000
    assert block.position.tolist() == [3000, 3000, 3000, 2048, 2048, 2048]
    assert fastest[0] <= 500
    assert 2500 < fastest[1] <= 3000


def _read(port: serial.Serial, count: int) -> bytes:
    data: bytes = port.read(count)
    return data


def test_a_serial_client_on_the_pty() -> None:
    with BusProcess(IDS) as bus, serial.Serial(bus.port, 1_000_000, timeout=2.0) as port:
        bus.block.position[:] = [100, 200, 300, 400, 500, 600]
        port.write(encode_ping(4))
        assert _read(port, 6) == bytes.fromhex("FF FF 04 02 00 F9")
        port.write(encode_sync_write(42, 2, {id: (1000 + id).to_bytes(2, "little") for id in IDS}))
        port.write(encode_sync_read(56, 2, IDS))
        frames = Parser().feed(_read(port, 48))
        assert [int.from_bytes(frame.params, "little") for frame in frames] == [100, 200, 300, 400, 500, 600]
        assert bus.block.goal.tolist() == [1001, 1002, 1003, 1004, 1005, 1006]


def test_a_client_at_the_wrong_speed_hears_nothing() -> None:
    with BusProcess(IDS) as bus:
        with serial.Serial(bus.port, 115_200, timeout=0.1) as port:
            port.write(encode_ping(1))
            assert _read(port, 6) == b""
        with serial.Serial(bus.port, 1_000_000, timeout=2.0) as port:
            port.write(encode_ping(1))
            assert _read(port, 6) == bytes.fromhex("FF FF 01 02 00 FC")


def test_the_port_is_gone_once_the_bus_is_closed() -> None:
    with BusProcess(IDS) as bus:
        assert os.path.exists(bus.port)
        client = os.open(bus.port, os.O_RDWR | os.O_NOCTTY)
    try:
        assert os.read(client, 1) == b""  # hung up, as when an adapter is pulled
    except OSError:
        pass
    finally:
        os.close(client)


def test_the_command_serves_a_moving_arm_and_leaves_nothing_behind_when_killed(tmp_path: Path) -> None:
    link = tmp_path / "so101"
    command = [sys.executable, "-m", "firmware_bridge.emulators", "so101", "--link", str(link)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "1 Mbps" in process.stdout.readline()
    with serial.Serial(str(link), 1_000_000, timeout=2.0) as port:
        port.write(encode_write(1, 40, b"\x01"))
        assert len(_read(port, 6)) == 6
        port.write(encode_write(1, 42, (2500).to_bytes(2, "little")))
        assert len(_read(port, 6)) == 6
        position, deadline = 0, time.monotonic() + 20
        while position < 2495 and time.monotonic() < deadline:
            port.write(encode_read(1, 56, 2))
            position = int.from_bytes(Parser().feed(_read(port, 8))[0].params, "little")
        assert position >= 2495
        process.send_signal(signal.SIGKILL)
        process.wait()
        hung_up, _, _ = select.select([port.fileno()], [], [], 20)  # the bus process follows by itself
        assert hung_up


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_quietly(tmp_path: Path, sent: signal.Signals) -> None:
    link = tmp_path / "so101"
    command = [sys.executable, "-m", "firmware_bridge.emulators", "so101", "--link", str(link)]
    # A job in the background of a script ignores Ctrl-C, and so would what it starts: these tests may run in one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(sent)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors, link.is_symlink()) == (0, "", False)


def test_servos_that_were_left_holding_keep_holding() -> None:
    block = ServoBlock.local(IDS)
    block.goal[:], block.torque[:] = 1800, 1
    bus = ServoBus(block)
    bus.receive(encode_write(1, 41, b"\x20"), 0)  # any write
    assert block.goal.tolist() == [1800] * 6
    assert block.driven.all()
