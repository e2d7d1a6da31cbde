"""The C codec speaks Damiao's MIT mode byte for byte, and never bends a number to make it fit."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import _damiao as damiao
from firmware_bridge._damiao import Command, Feedback, Limits

DM4310 = Limits(12.5, 30.0, 10.0)
COMMANDS = {
    "7F FF 7F F0 51 19 97 FF": Command(0, 0, 10, 0.5, 0),
    "8A 3C 7F F0 51 19 97 FF": Command(1.0, 0, 10, 0.5, 0),
    "70 A3 88 81 99 33 3A 65": Command(-1.5, 2, 50, 1, 3),
}
RANGES = {"position": 12.5, "velocity": 30.0, "kp": (0.0, 500.0), "kd": (0.0, 5.0), "torque": 10.0}


def span(name: str) -> tuple[float, float]:
    limit = RANGES[name]
    return limit if isinstance(limit, tuple) else (-limit, limit)


commands = st.builds(Command, *(st.floats(*span(name), width=32) for name in Command._fields))
limits = st.builds(Limits, *([st.floats(0.125, 1000.0, width=32)] * 3))


@pytest.mark.parametrize("golden", COMMANDS)
def test_golden_commands(golden: str) -> None:
    assert damiao.pack_command(DM4310, COMMANDS[golden]) == bytes.fromhex(golden)


def test_golden_feedback() -> None:
    golden = bytes.fromhex("11 7F FF 7F F7 FF 20 1E")
    feedback = damiao.unpack_feedback(DM4310, golden)
    assert (feedback.id, feedback.status, feedback.mosfet_celsius, feedback.coil_celsius) == (1, 1, 32, 30)
    assert feedback[2:5] == pytest.approx((0, 0, 0), abs=0.01)
    assert damiao.pack_feedback(DM4310, Feedback(1, 1, 0.0, 0.0, 0.0, 32, 30)) == golden


def test_orders() -> None:
    for order, last in ((damiao.CLEAR, "FB"), (damiao.ENABLE, "FC"), (damiao.DISABLE, "FD"), (damiao.ZERO, "FE")):
        assert damiao.pack_order(order) == bytes.fromhex("FF" * 7 + last)
    assert damiao.refresh(0x105) == bytes.fromhex("05 01 CC 00 00 00 00 00")
    with pytest.raises(ValueError, match="order"):
        damiao.pack_order(0xFF)


@given(commands)
def test_every_field_is_its_fraction_of_the_range(command: Command) -> None:
    """The formula in exact arithmetic; binary fractions of 24 bits may round up to the next step at its very edge."""
    bits = int.from_bytes(damiao.pack_command(DM4310, command), "big")
    for name, shift, width in (
        ("position", 48, 16),
        ("velocity", 36, 12),
        ("kp", 24, 12),
        ("kd", 12, 12),
        ("torque", 0, 12),
    ):
        low, high = map(Fraction, span(name))
        exact = (Fraction(getattr(command, name)) - low) / (high - low) * (2**width - 1)
        step = bits >> shift & (2**width - 1)
        assert step in (math.floor(exact), math.floor(exact + Fraction(1, 64)), math.floor(exact - Fraction(1, 64)))


@given(limits, st.data())
def test_what_is_packed_comes_back_within_a_step(limit: Limits, data: st.DataObject) -> None:
    sent = Feedback(
        data.draw(st.integers(0, 15)),
        data.draw(st.integers(0, 15)),
        *(data.draw(st.floats(-bound, bound, width=32)) for bound in limit),
        data.draw(st.integers(0, 255)),
        data.draw(st.integers(0, 255)),
    )
    back = damiao.unpack_feedback(limit, damiao.pack_feedback(limit, sent))
    assert back[:2] + back[5:] == sent[:2] + sent[5:]
    for value, expected, bound, steps in zip(back[2:5], sent[2:5], limit, (65535, 4095, 4095), strict=True):
        assert abs(value - expected) <= 2 * bound * (1 / steps + 1e-6)


@given(st.binary(min_size=8, max_size=8))
def test_every_frame_is_a_command_within_the_limits(data: bytes) -> None:
    command = damiao.unpack_command(DM4310, data)
    for name in Command._fields:
        low, high = span(name)
        assert low <= getattr(command, name) <= high


@pytest.mark.parametrize("field", Command._fields)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "above", "below"])
def test_no_number_is_bent(field: str, bad: float | str) -> None:
    low, high = (np.float32(end) for end in span(field))
    edges = {"above": np.nextafter(high, np.float32(np.inf)), "below": np.nextafter(low, -np.float32(np.inf))}
    command = Command(0, 0, 10, 0.5, 0)._replace(**{field: float(edges.get(bad, bad))})
    with pytest.raises(ValueError, match="beyond the limits"):
        damiao.pack_command(DM4310, command)


@pytest.mark.parametrize("status", range(16))
def test_the_status_is_never_lost(status: int) -> None:
    data = damiao.pack_feedback(DM4310, Feedback(3, status, 0.0, 0.0, 0.0, 20, 20))
    assert damiao.unpack_feedback(DM4310, data).status == status
    assert damiao.status_is_fault(status) == (status not in (0, 1))


@pytest.mark.parametrize("length", [0, 7, 9])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        damiao.unpack_feedback(DM4310, bytes(length))
    with pytest.raises(ValueError, match="8 bytes"):
        damiao.unpack_command(DM4310, bytes(length))


def test_limits_are_read_and_compared() -> None:
    assert damiao.register_read(1, damiao.MAX_VELOCITY) == bytes.fromhex("01 00 33 16 00 00 00 00")
    reply = bytes.fromhex("01 00 33 16 00 00 20 41")
    assert damiao.register_value(reply, 1, damiao.MAX_VELOCITY) == 10.0
    assert damiao.register_value(reply, 2, damiao.MAX_VELOCITY) is None
    assert damiao.register_value(reply, 1, damiao.MAX_TORQUE) is None
    assert damiao.register_write(1, damiao.MAX_VELOCITY, 10.0) == bytes.fromhex("01 00 55 16 00 00 20 41")
    assert damiao.limits_agree(Limits(12.5, 10, 28), Limits(12.5, 10, 28))
    assert not damiao.limits_agree(Limits(12.5, 8, 28), Limits(12.5, 10, 28))
    assert not damiao.limits_agree(Limits(12.5, math.nan, 28), Limits(12.5, math.nan, 28))
