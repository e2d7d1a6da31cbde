"""The bridge protocol, byte for byte as docs/bridge-protocol.md has it, and judged as it says."""

from __future__ import annotations

import hashlib
import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import _bridge as bridge
from firmware_bridge._bridge import (
    Action,
    Assembly,
    Clear,
    Command,
    Gate,
    Hello,
    HelloReply,
    Message,
    Parser,
    Release,
    State,
    Stop,
)

ROOT = Path(__file__).parent.parent
SESSION = 0xA1B2C3D4


def golden() -> dict[str, bytes]:
    """The last block of the page: a name of at most 22 columns, then bytes."""
    block = (ROOT / "docs/bridge-protocol.md").read_text().split("```")[-2]
    return {line[:22].strip(): bytes.fromhex(line[22:]) for line in block.strip().splitlines()}


GOLDEN = golden()
MESSAGES: dict[str, Message] = {
    "hello": Hello(6, 1000, SESSION, 0x0BADCAFE, 0x12345678),
    "reply": HelloReply(6, 1000, SESSION, 0x0BADCAFE, 0x12345678),
    "reply wrong protocol": HelloReply(6, 1000, 0, 0x0BADCAFE, 0x9ABCDEF0, 1),
    "clear latch 3": Clear(50, SESSION, 1, 1_000_000, 3),
    "command 1.0, -0.5": Command(20, SESSION, 2, 1_004_000, ((2**32, 4294967), (-(2**31), -1))),
    "stop": Stop(),
    "release latch 5": Release(50, SESSION, 3, 1_106_000, 5),
    "state running": State(3, 0, SESSION, 2, 1_006_000, 0, 3, 2, 0, 1, (2**32 - 1, -(2**31) + 16)),
    "state stopped": State(5, 8, SESSION, 2, 1_106_000, 3, 5, 0, 1, 255, (0,)),
}

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
some_u32 = st.integers(1, 2**32 - 1)
expiries = st.integers(1, bridge.MAX_EXPIRY_MS)
positions = st.integers(-(2**40), 2**40)
velocities = st.integers(-(2**27), 2**27)
hellos = st.builds(Hello, u8, u16, some_u32, u32, u32, st.just(0))
replies = st.builds(HelloReply, u8, u16, u32, u32, u32, u8)
targets = st.lists(st.tuples(positions, velocities), min_size=1, max_size=8).map(tuple)
commands = st.builds(Command, expiries, some_u32, some_u32, u32, targets)
clears = st.builds(Clear, expiries, some_u32, some_u32, u32, u16)
releases = st.builds(Release, expiries, some_u32, some_u32, u32, u16)


@st.composite
def states(draw: st.DrawFn) -> State:
    measured = tuple(draw(st.lists(positions, min_size=1, max_size=8)))
    joints = st.integers(0, 2 ** len(measured) - 1)
    numbers = st.tuples(st.integers(1, 5), st.integers(0, 11), u32, u32, u32, st.integers(0, 0x1FF), u16)
    return State(*draw(numbers), draw(joints), draw(joints), draw(u8), measured)


messages = st.one_of(hellos, replies, commands, clears, releases, states(), st.just(Stop()))


def described(message: Message) -> bytes:
    """The layouts of the page once more, with nothing of the codec."""

    def signed(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little", signed=True)

    match message:
        case Hello() | HelloReply():
            kind = 0x01 if isinstance(message, Hello) else 0x81
            numbers = (message.protocol, message.session, message.config, message.refusal)
            body = struct.pack("<BBHIIIB", kind, message.joints, message.tick_us, *numbers)
        case Command():
            body = struct.pack("<BBHIII", 0x02, len(message.targets), *message[:4])
            body += b"".join(signed(position, 6) + signed(velocity, 4) for position, velocity in message.targets)
        case Clear() | Release():
            body = struct.pack("<BBHIIIH", 0x04 if isinstance(message, Clear) else 0x05, 0, *message)
        case State():
            joints = len(message.positions)
            body = struct.pack("<BBBBIIIHHBBB", 0x82, joints, *message[:-1])
            body += b"".join(signed(position, 6) for position in message.positions)
        case Stop():
            body = b"\x03\x00"
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_the_protocol_is_the_wire_header() -> None:
    header = (ROOT / "firmware_bridge/codec/bridge_wire.h").read_bytes()
    assert hashlib.sha256(header).hexdigest()[:8] == f"{bridge.PROTOCOL:08x}"


def test_firmware_with_another_wire_header_is_not_built(tmp_path: Path) -> None:
    for part in ("codec", "firmware"):
        shutil.copytree(ROOT / "firmware_bridge" / part, tmp_path / part)
    header = tmp_path / "codec/bridge_wire.h"
    header.write_bytes(header.read_bytes() + b"\n")
    build = [tmp_path / "firmware/ports/mps2_an386/build.sh", tmp_path / "built"]
    said = subprocess.run(build, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert f"set BRIDGE_PROTOCOL in bridge.h to 0x{hashlib.sha256(header.read_bytes()).hexdigest()[:8]}" in said.stderr
    assert not (tmp_path / "built").exists()


@pytest.mark.parametrize("name", MESSAGES)
def test_golden_messages(name: str) -> None:
    assert bridge.encode(MESSAGES[name]) == GOLDEN[name]
    assert bridge.decode(GOLDEN[name]) == MESSAGES[name]


def test_golden_frames() -> None:
    clear, command, stop = (GOLDEN[name] for name in ("clear latch 3", "command 1.0, -0.5", "stop"))
    assert bridge.serial_frame(stop) == GOLDEN["serial stop"]
    assert bridge.serial_frame(clear) == GOLDEN["serial clear"]
    assert bridge.can_fragments(stop, 8, 5) == [GOLDEN["CAN stop"]]
    assert bridge.can_fragments(command, 8, 2) == [GOLDEN[f"CAN command {place}"] for place in range(6)]
    assert bridge.can_fragments(command, 64, 2) == [GOLDEN["CAN-FD command"]]


@given(messages)
def test_messages_are_as_described(message: Message) -> None:
    encoded = bridge.encode(message)
    assert encoded == described(message)
    assert bridge.decode(encoded) == message


@given(st.binary(max_size=120))
def test_nothing_else_is_a_message(data: bytes) -> None:
    """Two different strings of bytes never are the same message, with a right CRC neither."""
    for candidate in (data, data + zlib.crc32(data).to_bytes(4, "little")):
        message = bridge.decode(candidate)
        assert message is None or bridge.encode(message) == candidate


@given(messages, st.binary(max_size=400))
def test_garbage_on_a_serial_line_costs_nothing(message: Message, garbage: bytes) -> None:
    parser = Parser()
    before = len(parser.feed(garbage + b"\0"))
    assert parser.feed(bridge.serial_frame(bridge.encode(message))) == [message]
    assert parser.frames == before + 1


@given(st.lists(messages, max_size=5), st.data())
def test_a_serial_line_may_be_cut_anywhere(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(bridge.serial_frame(bridge.encode(message)) for message in sent)
    cut = data.draw(st.integers(0, len(stream)))
    parser = Parser()
    assert parser.feed(stream[:cut]) + parser.feed(stream[cut:]) == sent
    assert (parser.frames, parser.corrupt, parser.skipped) == (len(sent), 0, 0)


@given(st.lists(messages, min_size=1, max_size=4), st.sampled_from([8, 64]))
def test_can_fragments_come_together_again(sent: list[Message], size: int) -> None:
    assembly = Assembly(size)
    for transfer, message in enumerate(sent):
        *first, last = bridge.can_fragments(bridge.encode(message), size, transfer)
        assert [assembly.push(frame) for frame in first] == [None] * len(first)
        assert assembly.push(last) == message
    assert (assembly.frames, assembly.corrupt, assembly.skipped) == (len(sent), 0, 0)


@given(messages, messages, st.sampled_from([8, 64]), st.randoms(use_true_random=False), u8)
def test_disorder_on_can_commits_nothing_that_was_not_sent(
    one: Message, two: Message, size: int, chance: random.Random, transfer: int
) -> None:
    frames = [frame for m in (one, two) for frame in bridge.can_fragments(bridge.encode(m), size, transfer)]
    frames = [frame for frame in frames for _ in range(chance.choice([0, 1, 1, 1, 1, 2]))]
    if chance.random() < 0.5:
        chance.shuffle(frames)
    assembly = Assembly(size)
    assert {assembly.push(frame) for frame in frames} <= {one, two, None}
    found = [assembly.push(frame) for frame in bridge.can_fragments(bridge.encode(one), size, transfer + 1)]
    assert found[-1] == one


@given(st.binary(max_size=600))
def test_cobs_has_no_zero_and_comes_back(data: bytes) -> None:
    encoded = bridge.cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert bridge.cobs_decode(encoded) == data


@given(st.binary(max_size=80))
def test_crc_is_the_usual_one(data: bytes) -> None:
    assert bridge.crc32(data) == zlib.crc32(data)


@pytest.mark.parametrize(
    "message",
    [
        Hello(6, 1000, 0, 0),
        Hello(6, 1000, 1, 0, refusal=1),
        Command(0, 1, 1, 0, ((0, 0),)),
        Command(101, 1, 1, 0, ((0, 0),)),
        Command(20, 0, 1, 0, ((0, 0),)),
        Command(20, 1, 0, 0, ((0, 0),)),
        Command(20, 1, 1, 0, ()),
        Command(20, 1, 1, 0, ((0, 0),) * 9),
        Command(20, 1, 1, 0, ((2**40 + 1, 0),)),
        Command(20, 1, 1, 0, ((0, -(2**27) - 1),)),
        State(6, 0, 0, 0, 0, 0, 0, 0, 0, 0, (0,)),
        State(1, 0, 0, 0, 0, 0, 0, 2, 0, 0, (0,)),
        State(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, (0,) * 9),
    ],
)
def test_what_is_not_allowed_is_not_sent(message: Message) -> None:
    with pytest.raises(ValueError, match="does not allow"):
        bridge.encode(message)


def test_what_has_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        bridge.serial_frame(bytes(5))
    with pytest.raises(ValueError, match="bytes"):
        bridge.can_fragments(bytes(101), 8, 0)
    with pytest.raises(ValueError, match="CAN frame"):
        bridge.can_fragments(bytes(6), 16, 0)
    with pytest.raises(ValueError, match="CAN frames"):
        Assembly(16)


def test_a_session_from_hello_to_stop_and_back() -> None:
    """One of each in order; disorder is in tests/codec/test_bridge_gate.c and tests/fuzz/bridge_gate.c."""
    gate = Gate(2, 1000, 77)
    hello = Hello(2, 1000, SESSION, 77)
    assert gate.receive(0, hello._replace(protocol=1)) == (Action.ANSWER, HelloReply(2, 1000, 0, 77, refusal=1))
    assert gate.receive(0, hello) == (Action.ANSWER, HelloReply(2, 1000, SESSION, 77))
    assert gate.receive(1000, Clear(20, SESSION, 1, 500, 0)) == (Action.ARM, None)
    targets = ((2**32, 5), (-7, 0))
    assert gate.receive(2000, Command(20, SESSION, 2, 1500, targets)) == (Action.FOLLOW, None)
    assert gate.targets == targets
    gate.tick(21_999)
    assert gate.report(21_999) == State(3, 0, SESSION, 2, 21_999, 0, 0, 0, 0, 0, (0, 0))
    gate.tick(22_000)
    assert gate.report(22_000) == State(4, 0, SESSION, 2, 22_000, 2, 1, 0, 0, 0, (0, 0))
    gate.at_rest()
    assert gate.receive(23_000, Stop()) == (Action.BRAKE, None)
    assert gate.receive(24_000, Clear(20, SESSION, 3, 22_000, 1)) == (Action.NOTHING, None)
    assert gate.report(24_000) == State(5, 10, SESSION, 2, 24_000, 3, 2, 0, 0, 0, (0, 0))
    assert gate.receive(25_000, Clear(20, SESSION, 4, 24_000, 2)) == (Action.ARM, None)
    gate.tick(26_000, present=0x10)
    assert gate.report(26_000)[:1] == (4,)
    assert gate.receive(27_000, Release(20, SESSION, 5, 26_000, 3)) == (Action.NOTHING, None)
    gate.at_rest()
    assert gate.receive(28_000, Release(20, SESSION, 6, 26_000, 3)) == (Action.DROP, None)
    assert gate.report(28_000)[:2] == (5, 0)


def test_an_order_lives_no_longer_than_the_gate_lets_it() -> None:
    gate = Gate(2, 1000, 77, max_expiry_ms=16)
    gate.receive(0, Hello(2, 1000, SESSION, 77))
    assert gate.receive(0, Clear(100, SESSION, 1, 0, 0)) == (Action.ARM, None)
    gate.tick(15_999)
    assert gate.report(15_999).arm == 2
    gate.tick(16_000)
    assert gate.report(16_000)[:1] == (4,)


def test_an_arm_has_joints() -> None:
    for joints in (0, 9):
        with pytest.raises(ValueError, match="joints"):
            Gate(joints, 1000, 0)
