"""A line with faults between two ends: what it does follows from its seed, and whoever listens behind it recovers."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge._bridge import Parser as BridgeParser
from firmware_bridge._bridge import Stop, encode, serial_frame
from firmware_bridge._feetech import Parser, encode_ping, encode_read, encode_sync_write, encode_write
from firmware_bridge.emulators import BusProcess, Fault, FaultError, FaultPlan, FaultyLine, FaultyPort
from firmware_bridge.emulators.faults import FRAME_KINDS
from firmware_bridge.emulators.framing import SPLITTERS

ROOT = Path(__file__).resolve().parents[1]
IDS = (1, 2, 3, 4, 5, 6)
MS, S = 1_000_000, 1_000_000_000
GOALS = encode_sync_write(42, 2, {id: (1000 + id).to_bytes(2, "little") for id in IDS})

ANYWHERE = ("drop", "flip", "swap", "truncate", "duplicate", "delay", "reorder", "garbage")


def through(plan: FaultPlan, frames: list[bytes], protocol: str = "feetech", gap_ns: int = MS) -> bytes:
    """What arrives of frames that are sent one by one."""
    line, out = FaultyLine(plan, "requests", protocol), b""
    for n, data in enumerate(frames):
        line.push(data, n * gap_ns)
        out += line.pull(n * gap_ns)
    return out + line.pull(len(frames) * gap_ns + S)


plans = st.builds(
    FaultPlan,
    st.lists(st.builds(Fault, st.sampled_from(ANYWHERE), st.floats(0, 1), by_s=st.floats(1e-4, 0.02)), max_size=4).map(
        tuple
    ),
    st.integers(0, 2**32),
)


@pytest.mark.parametrize("protocol", SPLITTERS)
@given(data=st.binary(max_size=400))
def test_without_faults_every_byte_comes_through_in_order(protocol: str, data: bytes) -> None:
    assert through(FaultPlan(), [data], protocol) == data


@given(st.lists(st.sampled_from((b"\xff", b"\xff\xff", b"\x01", b"\x02", encode_ping(1), GOALS, b"\x00")), max_size=40))
def test_a_stream_is_cut_into_pieces_that_are_the_stream(parts: list[bytes]) -> None:
    stream, splitter = b"".join(parts), SPLITTERS["feetech"]()
    pieces = [piece for byte in stream for piece in splitter.push(byte)]
    assert b"".join(pieces) + splitter.flush() == stream
    found = [f"{piece.hex()}" for piece in pieces if splitter.is_frame(piece)]
    assert len(found) >= len(Parser().feed(stream))


@settings(deadline=None)
@given(plans, st.integers(1, 64))
def test_the_same_seed_does_the_same_however_the_stream_is_cut_up(plan: FaultPlan, size: int) -> None:
    stream = (GOALS + encode_ping(3)) * 8
    cut = FaultyLine(plan, "requests")
    for at in range(0, len(stream), size):
        cut.push(stream[at : at + size], 0)
    whole = FaultyLine(plan, "requests")
    whole.push(stream, 0)
    assert cut.pull(S) == whole.pull(S)
    assert cut.counts == whole.counts


def test_each_direction_has_its_own_chances() -> None:
    plan = FaultPlan.of(["drop=0.5"], 1)
    lost = []
    for way in ("requests", "replies"):
        line = FaultyLine(plan, way)
        for n in range(64):
            line.push(encode_write(1, 42, bytes((n, 0))), 0)
        lost.append(tuple(frame.params[1] for frame in Parser().feed(line.pull(S))))
    assert lost[0] != lost[1]
    assert FaultyLine(FaultPlan.of(["drop=1,replies"]), "requests").counts == {}


@settings(deadline=None, max_examples=50)
@given(plans)
def test_servos_behind_it_understand_the_first_clean_frame_after_silence(plan: FaultPlan) -> None:
    noisy = through(plan, [GOALS, encode_ping(2), encode_read(4, 56, 2)] * 4)
    parser = Parser()
    parser.feed(noisy)
    parser.reset()  # as a servo does after silence
    assert [frame.id for frame in parser.feed(encode_ping(5))] == [5]


@settings(deadline=None, max_examples=50)
@given(plans)
def test_a_microcontroller_behind_it_understands_the_next_stop_without_any_silence(plan: FaultPlan) -> None:
    """And what it understands was sent: the CRC lets no damage pass here (2^-32 a frame)."""
    stop = serial_frame(encode(Stop()))
    parser = BridgeParser()
    heard = parser.feed(through(plan, [stop] * 20, "cobs"))
    assert set(map(type, heard)) <= {Stop}
    assert parser.feed(stop)[-1:] == [Stop()]  # its first zero may complete one that had lost its last


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_so_many_are_lost(rate: float) -> None:
    line = FaultyLine(FaultPlan.of([f"drop={rate}"], 7), "requests")
    count = 20_000
    for _ in range(count):
        line.push(encode_ping(1), 0)
    arrived = len(Parser().feed(line.pull(S)))
    sigma = (count * rate * (1 - rate)) ** 0.5
    assert abs(count - arrived - count * rate) < 4 * sigma
    assert line.counts["drop"] == count - arrived


def test_what_is_late_holds_up_what_is_behind_it_or_is_overtaken() -> None:
    frames = [encode_ping(id) for id in IDS]
    for kind, order in (("delay", [1, 2, 3, 4, 5, 6]), ("reorder", [2, 3, 1, 4, 5, 6])):
        out = through(FaultPlan.of([f"{kind}=1,by=2500us,count=1"]), frames)
        assert [frame.id for frame in Parser().feed(out)] == order
    line = FaultyLine(FaultPlan.of(["delay=1,by=2500us,count=1"]), "requests")
    line.push(frames[0] + frames[1], 0)
    assert line.pull(2_499_999) == b""
    assert line.next_due_ns == 2_500_000
    assert line.pull(2_500_000) == frames[0] + frames[1]


def test_half_a_frame_is_not_kept_for_ever() -> None:
    line = FaultyLine(FaultPlan.of(["drop=1"]), "requests")
    line.push(GOALS[:9], 0)
    assert line.pull(4 * MS) == b""
    assert line.next_due_ns == 5 * MS
    assert line.pull(5 * MS) == GOALS[:9]
    assert line.next_due_ns is None


def test_faults_that_are_about_servos_are_refused_on_other_lines() -> None:
    for fault in ("sum=1", "id=1", "drop=1,servo=3"):
        with pytest.raises(FaultError, match="only for servo frames"):
            FaultyLine(FaultPlan.of([fault]), "requests", "cobs")


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_every_kind_happens_and_is_counted(kind: str) -> None:
    line = FaultyLine(FaultPlan.of([f"{kind}=1,count=3"]), "requests")
    sent = [encode_write(1, 42, bytes((n, 7))) for n in range(20)]
    for data in sent:
        line.push(data, 0)
    assert line.counts == {kind: 3}
    assert line.pull(0) != b"".join(sent)


# --- in front of a port ----------------------------------------------------------------------------------------------


def _read(port: serial.Serial, count: int) -> bytes:
    data: bytes = port.read(count)
    return data


def test_in_front_of_emulated_servos() -> None:
    faults = FaultPlan.of(["drop=1,requests,count=1", "sum=1,replies,count=1"])
    with (
        BusProcess(IDS) as bus,
        FaultyPort(bus.port, faults) as line,
        serial.Serial(line.port, 1_000_000, timeout=0.3) as port,
    ):
        port.write(encode_ping(1))
        assert _read(port, 6) == b""
        port.timeout = 5.0
        port.write(encode_ping(1))
        assert Parser().feed(_read(port, 6)) == []
        port.write(encode_ping(1))
        assert _read(port, 6) == bytes.fromhex("FF FF 01 02 00 FC")
        assert (line.lines["requests"].counts, line.lines["replies"].counts) == ({"drop": 1}, {"sum": 1})
        port.baudrate = 115_200  # the port behind follows, and its servos hear noise
        port.timeout = 0.3
        port.write(encode_ping(1))
        assert _read(port, 6) == b""
        assert bus.block.baud == 115_200
        bus.close()
        deadline = time.monotonic() + 20
        while not line.gone and time.monotonic() < deadline:
            time.sleep(0.01)
        assert line.gone


def test_a_plan_in_the_process_of_the_servos() -> None:
    faults = FaultPlan.of(["overload=3@0.2s", "duplicate=1,replies,servo=1"], 5)
    with BusProcess(IDS, faults=faults) as bus, serial.Serial(bus.port, 1_000_000, timeout=5.0) as port:
        port.write(encode_ping(1))
        assert _read(port, 12) == bytes.fromhex("FF FF 01 02 00 FC") * 2
        deadline = time.monotonic() + 20
        while not bus.block.status[2] and time.monotonic() < deadline:
            time.sleep(0.01)  # nobody speaks: it happens all the same
        assert bus.block.status.tolist() == [0, 0, 0x20, 0, 0, 0]
        assert bus.block.injected["duplicate"] == 1


def test_both_from_the_command_line(tmp_path: Path) -> None:
    arm, link = tmp_path / "arm", tmp_path / "line"
    base = [sys.executable, "-m", "firmware_bridge.emulators"]
    servos = subprocess.Popen(
        [*base, "so101", "--link", str(arm), "--fault", "mute=2", "--seed", "4"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert servos.stdout is not None
    assert "1 Mbps" in servos.stdout.readline()
    assert servos.stdout.readline() == "goes wrong, seed 4: mute=2\n"
    line = subprocess.Popen(
        [*base, "line", str(arm), "--link", str(link), "--fault", "garbage=1,replies"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert line.stdout is not None
    assert f"{link} leads to {arm}" in line.stdout.readline()
    with serial.Serial(str(link), 1_000_000, timeout=5.0) as port:
        port.write(encode_ping(1))
        heard = _read(port, 7)  # at least one byte of noise
        ready, _, _ = select.select([port], [], [], 0.2)
        heard += os.read(port.fileno(), 64) if ready else b""
        assert heard.endswith(bytes.fromhex("FF FF 01 02 00 FC"))
        assert "a client speaks at 1000000" in servos.stdout.readline()
        for process in (line, servos):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            process.stdout.close()  # type: ignore[union-attr]
    assert not link.is_symlink()
    assert not arm.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["so101", "--fault", "flup=1"], "perhaps 'flip'"),
        (["line", "/dev/null", "--fault", "mute=1"], "happens to servos, not on a line"),
        (["line", "/nowhere"], "No such file"),
        (["line", "/nowhere", "--protocol", "cobs", "--fault", "sum=1"], "only for servo frames"),
    ],
)
def test_the_command_says_what_is_wrong_with_it(arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "firmware_bridge.emulators", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr


def test_the_help_teaches_every_fault() -> None:
    command = [sys.executable, "-m", "firmware_bridge.emulators", "so101", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(kind in text for kind in FRAME_KINDS)
    assert "overload=3@5s" in text
