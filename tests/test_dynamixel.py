"""The C codec speaks Dynamixel 2.0 byte for byte, and finds every intact frame again after any garbage."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge._dynamixel import (
    MAX_PARAMS,
    Frame,
    Parser,
    encode_frame,
    encode_ping,
    encode_read,
    encode_status,
    encode_sync_write,
    encode_write,
)


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


VECTORS = {
    "ping": (encode_ping(1), "FF FF FD 00 01 03 00 01 19 4E"),
    "read position": (encode_read(1, 132, 4), "FF FF FD 00 01 07 00 02 84 00 04 00 1D 15"),
    "reply 166": (encode_status(1, 0, word(166)), "FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0"),
    "goal 512": (encode_write(1, 116, word(512)), "FF FF FD 00 01 09 00 03 74 00 00 02 00 00 CA 89"),
    "sync goals": (
        encode_sync_write(116, 4, {1: word(150), 2: word(170)}),
        "FF FF FD 00 FE 11 00 83 74 00 04 00 01 96 00 00 00 02 AA 00 00 00 82 87",
    ),
    "stuffed value": (
        encode_write(1, 116, word(0x00FDFFFF)),
        "FF FF FD 00 01 0A 00 03 74 00 FF FF FD FD 00 21 E7",
    ),
}
FOUND = {
    "ping": Frame(1, 1, 0, b""),
    "read position": Frame(1, 2, 0, bytes([132, 0, 4, 0])),
    "reply 166": Frame(1, 0x55, 0, word(166)),
    "goal 512": Frame(1, 3, 0, bytes([116, 0]) + word(512)),
    "sync goals": Frame(0xFE, 0x83, 0, bytes([116, 0, 4, 0, 1]) + word(150) + b"\x02" + word(170)),
    "stuffed value": Frame(1, 3, 0, bytes([116, 0]) + word(0x00FDFFFF)),
}

ids = st.one_of(st.integers(0, 0xFC), st.just(0xFE))
# Bytes of which headers and stuffing are made turn up often.
params = st.lists(st.one_of(st.sampled_from(b"\xff\xff\xfd\xfd\x00\x01"), st.integers(0, 255)), max_size=40).map(bytes)
frames = st.one_of(
    st.builds(Frame, ids, st.integers(0, 255).filter(lambda code: code != 0x55), st.just(0), params),
    st.builds(Frame, ids, st.just(0x55), st.integers(0, 255), params),
)


def encode(frame: Frame) -> bytes:
    if frame.instruction == 0x55:
        return encode_status(frame.id, frame.error, frame.params)
    return encode_frame(frame.id, frame.instruction, frame.params)


@pytest.mark.parametrize("name", VECTORS)
def test_golden_vectors(name: str) -> None:
    encoded, golden = VECTORS[name]
    assert encoded == bytes.fromhex(golden)
    assert Parser().feed(encoded) == [FOUND[name]]


@given(frames)
def test_what_is_encoded_is_parsed(frame: Frame) -> None:
    assert Parser().feed(encode(frame)) == [frame]


@given(frames)
def test_no_header_is_inside_a_frame(frame: Frame) -> None:
    assert b"\xff\xff\xfd\x00" not in encode(frame)[4:-2]


@given(st.lists(frames, max_size=6), st.data())
def test_a_stream_may_be_cut_anywhere(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    parser = Parser()
    found: list[Frame] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += parser.feed(stream[:size])
        stream = stream[size:]
    assert found == sent
    assert parser.skipped == parser.corrupt == 0
    assert parser.frames == len(sent)


@given(st.binary(max_size=600), frames)
def test_any_garbage_is_outlived(garbage: bytes, frame: Frame) -> None:
    """A false header can swallow at most one longest frame; every intact frame behind that is found."""
    parser = Parser(max_params=60)
    parser.feed(garbage)
    encoded = encode(frame)
    swallowed = -(-70 // len(encoded))
    found = parser.feed(encoded * (swallowed + 3))
    assert found[-1] == frame
    assert found.count(frame) >= 2


@given(st.binary(max_size=300).map(lambda noise: noise.replace(b"\xff", b"\x00")), frames)
def test_noise_without_a_header_costs_nothing(noise: bytes, frame: Frame) -> None:
    parser = Parser()
    assert parser.feed(noise + encode(frame)) == [frame]
    assert parser.skipped == len(noise)


@given(st.lists(frames, min_size=3, max_size=5), st.data())
def test_no_frame_is_made_of_damage(sent: list[Frame], data: st.DataObject) -> None:
    """One flipped bit: the frame it hits is not taken for another, and those before it are found."""
    which = data.draw(st.integers(0, len(sent) - 1))
    encoded = [bytearray(encode(frame)) for frame in sent]
    bit = data.draw(st.integers(0, 8 * len(encoded[which]) - 1))
    encoded[which][bit // 8] ^= 1 << bit % 8
    parser = Parser(max_params=60)
    found = parser.feed(b"".join(encoded))
    assert found[:which] == sent[:which]
    assert all(frame in sent[which + 1 :] for frame in found[which:])
    # What waits behind a false length is found once the line went on for a longest frame.
    found += parser.feed(bytes(70))
    assert found == sent[:which] + sent[which + 1 :]


@pytest.mark.parametrize(
    "build",
    [
        lambda: encode_ping(0xFF),
        lambda: encode_ping(0xFD),
        lambda: encode_write(1, 0, bytes(MAX_PARAMS - 1)),
        lambda: encode_frame(1, 3, b"\xff\xff\xfd" + bytes(MAX_PARAMS - 3)),
        lambda: encode_status(1, 0, bytes(MAX_PARAMS)),
        lambda: encode_sync_write(116, 4, {id: word(0) for id in range(50)}),
        lambda: encode_sync_write(116, 4, {1: b"\x00"}),
    ],
)
def test_what_does_not_fit_a_frame_is_refused(build: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match=r"frame|bytes"):
        build()


def test_a_reset_forgets_what_was_begun() -> None:
    parser = Parser()
    assert parser.feed(encode_ping(1)[:8]) == []
    parser.reset()
    assert parser.feed(encode_ping(2)) == [Frame(2, 1, 0, b"")]
