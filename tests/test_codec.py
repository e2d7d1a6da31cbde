"""The C codec speaks Feetech byte for byte, and finds every intact frame again after any garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge._feetech import (
    MAX_PARAMS,
    Frame,
    Parser,
    encode_ping,
    encode_read,
    encode_status,
    encode_sync_read,
    encode_sync_write,
    encode_write,
    from_sign_magnitude,
    to_sign_magnitude,
)

CENTRE = (2048).to_bytes(2, "little")
SIX = (1, 2, 3, 4, 5, 6)

VECTORS = {
    "ping": (encode_ping(1), "FF FF 01 02 01 FB"),
    "ping reply": (encode_status(1, 0), "FF FF 01 02 00 FC"),
    "read position": (encode_read(1, 56, 2), "FF FF 01 04 02 38 02 BE"),
    "reply 2048": (encode_status(1, 0, CENTRE), "FF FF 01 04 00 00 08 F2"),
    "reply -5": (encode_status(1, 0, to_sign_magnitude(-5, 15).to_bytes(2, "little")), "FF FF 01 04 00 05 80 75"),
    "torque on": (encode_write(1, 40, b"\x01"), "FF FF 01 04 03 28 01 CE"),
    "torque off all": (encode_write(0xFE, 40, b"\x00"), "FF FF FE 04 03 28 00 D2"),
    "goal 2048": (encode_write(1, 42, CENTRE), "FF FF 01 05 03 2A 00 08 C4"),
    "acceleration, goal, time, velocity": (
        encode_write(1, 41, b"\x32" + CENTRE + b"\x00\x00" + (1000).to_bytes(2, "little")),
        "FF FF 01 0A 03 29 32 00 08 00 00 E8 03 A3",
    ),
    "sync_read position": (encode_sync_read(56, 2, SIX), "FF FF FE 0A 82 38 02 01 02 03 04 05 06 26"),
    "sync_write goals": (
        encode_sync_write(42, 2, dict.fromkeys(SIX, CENTRE)),
        "FF FF FE 16 83 2A 02 01 00 08 02 00 08 03 00 08 04 00 08 05 00 08 06 00 08 F7",
    ),
    "overload status": (encode_status(6, 0x20), "FF FF 06 02 20 D7"),
}

ids = st.integers(0, 0xFE)
codes = st.integers(0, 0xFF)
frames = st.builds(Frame, ids, codes, st.binary(max_size=20))


def encode(frame: Frame) -> bytes:
    return encode_status(*frame)


@pytest.mark.parametrize("name", VECTORS)
def test_golden_vectors(name: str) -> None:
    encoded, golden = VECTORS[name]
    assert encoded == bytes.fromhex(golden)


@pytest.mark.parametrize("name", VECTORS)
def test_golden_vectors_are_found_in_a_stream(name: str) -> None:
    golden = bytes.fromhex(VECTORS[name][1])
    assert Parser().feed(golden) == [Frame(golden[2], golden[4], golden[5:-1])]


@given(ids, codes, st.binary(max_size=MAX_PARAMS))
def test_what_is_encoded_is_parsed(id: int, code: int, params: bytes) -> None:
    assert Parser().feed(encode_status(id, code, params)) == [Frame(id, code, params)]


@given(st.lists(frames, max_size=8), st.data())
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


@given(st.binary(max_size=300).map(lambda noise: noise.replace(b"\xff", b"\x00")), frames)
def test_noise_without_a_header_costs_nothing(noise: bytes, frame: Frame) -> None:
    parser = Parser()
    assert parser.feed(noise + encode(frame)) == [frame]
    assert parser.skipped == len(noise)


@given(st.binary(max_size=600), frames)
def test_any_garbage_is_outlived(garbage: bytes, frame: Frame) -> None:
    """A false header can swallow at most one longest frame; every intact frame behind that is found."""
    parser = Parser(max_params=20)
    parser.feed(garbage)
    found = parser.feed(encode(frame) * 12)
    swallowed = -(-26 // len(encode(frame)))
    assert found[-1] == frame
    assert found.count(frame) >= 12 - swallowed - 1


@given(st.lists(frames, min_size=3, max_size=6), st.data())
def test_one_damaged_frame_costs_no_other(sent: list[Frame], data: st.DataObject) -> None:
    """Every flip of one bit shows in the sum; the frames around it are still found once the line went on."""
    which = data.draw(st.integers(0, len(sent) - 1))
    encoded = [bytearray(encode(frame)) for frame in sent]
    at = data.draw(
        st.integers(4, len(encoded[which]) - 1)
    )  # not the header, id or length: those may swallow what follows
    encoded[which][at] ^= 1 << data.draw(st.integers(0, 7))
    parser = Parser(max_params=20)
    found = parser.feed(b"".join(encoded))
    assert found[:which] == sent[:which]
    assert parser.corrupt >= 1 or parser.skipped == 0
    if b"\xff\xff" not in bytes(encoded[which][2:]):
        assert found == sent[:which] + sent[which + 1 :]


@given(st.integers(-32767, 32767))
def test_sign_magnitude_round_trip(value: int) -> None:
    assert from_sign_magnitude(to_sign_magnitude(value, 15), 15) == value


@pytest.mark.parametrize(
    ("value", "bit", "word"),
    [(-5, 15, 0x8005), (5, 15, 5), (-1, 11, 0x0801), (-1, 10, 0x0401), (5000, 11, 0x07FF), (-(2**31), 15, 0xFFFF)],
)
def test_sign_magnitude_keeps_the_sign_bit_and_saturates(value: int, bit: int, word: int) -> None:
    assert to_sign_magnitude(value, bit) == word


def test_minus_zero_is_zero() -> None:
    assert from_sign_magnitude(0x8000, 15) == 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: encode_ping(0xFF),
        lambda: encode_write(1, 0, bytes(MAX_PARAMS)),
        lambda: encode_status(1, 0, bytes(MAX_PARAMS + 1)),
        lambda: encode_sync_read(56, 2, range(252)),
        lambda: encode_sync_write(42, 2, {id: bytes(2) for id in range(84)}),
        lambda: encode_sync_write(42, 2, {1: b"\x00"}),
        lambda: to_sign_magnitude(1, 16),
        lambda: from_sign_magnitude(1, 16),
    ],
)
def test_what_does_not_fit_a_frame_is_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(ValueError, match=r"frame|bytes|sign bit"):
        build()


def test_the_longest_frames_fit() -> None:
    assert len(encode_write(1, 0, bytes(MAX_PARAMS - 1))) == 259
    assert len(encode_sync_read(56, 2, range(251))) == 259
    assert Parser().feed(encode_status(1, 0, bytes(MAX_PARAMS))) == [Frame(1, 0, bytes(MAX_PARAMS))]


def test_a_reset_forgets_what_was_begun() -> None:
    parser = Parser()
    assert parser.feed(encode_ping(1)[:4]) == []
    parser.reset()
    assert parser.feed(encode_ping(2)) == [Frame(2, 1, b"")]
