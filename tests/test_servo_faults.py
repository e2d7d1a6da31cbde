"""A plan of faults does to the emulated servos what it says, and what a servo does when it happens is what one does."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge._feetech import Frame, Parser, encode_ping, encode_read, encode_sync_read, encode_write
from firmware_bridge.emulators import Fault, FaultError, FaultPlan, ServoBlock, ServoBus
from firmware_bridge.emulators.faults import FRAME_KINDS, MOMENTS, SERVO_KINDS
from firmware_bridge.emulators.watch import Watch

IDS = (1, 2, 3, 4, 5, 6)
BYTE_NS, MS, S = 10_000, 1_000_000, 1_000_000_000


class Bench:
    """A bus on which a plan runs, with a clock that the test moves."""

    def __init__(self, *faults: str, seed: int = 0, ids: tuple[int, ...] = IDS, return_delay: int = 0) -> None:
        self.block = ServoBlock.local(ids)
        stored = {id: {"return_delay": return_delay} for id in ids}
        self.bus = ServoBus(self.block, stored, FaultPlan.of(faults, seed))
        self.heard: list[Frame] = []
        self.bus.on_request = lambda frame, _: self.heard.append(frame)
        self.now = 0

    def ask(self, request: bytes, wait_ns: int = 20 * MS) -> bytes:
        self.bus.receive(request, self.now)
        self.now += wait_ns
        return self.bus.transmit(self.now)

    def frames(self, request: bytes, wait_ns: int = 20 * MS) -> list[Frame]:
        return Parser().feed(self.ask(request, wait_ns))

    def at(self, seconds: float) -> Bench:
        self.now = round(seconds * S)
        self.bus.advance(self.now)
        return self


# --- the plan --------------------------------------------------------------------------------------------------------

times = st.floats(0, 1000).filter(lambda value: value == 0 or value > 1e-6)
ids = st.none() | st.frozensets(st.integers(0, 253), min_size=1, max_size=6)


@st.composite
def any_fault(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from((*FRAME_KINDS, *SERVO_KINDS)))
    start = draw(times)
    end = (
        math.inf if kind in MOMENTS else draw(st.just(math.inf) | st.floats(1e-3, 1000).map(lambda more: start + more))
    )
    if kind in SERVO_KINDS:
        return Fault(kind, servos=draw(ids), start_s=start, end_s=end)
    return Fault(
        kind,
        draw(st.floats(0, 1)),
        draw(ids),
        draw(st.sampled_from(("both", "requests", "replies"))),
        start,
        end,
        draw(st.none() | st.integers(1, 99)),
        draw(st.floats(1e-6, 10)),
    )


@given(any_fault())
def test_a_fault_reads_back_as_it_is_written(fault: Fault) -> None:
    assert Fault.parse(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop=0.01", Fault("drop", 0.01)),
        ("drop=1%,replies", Fault("drop", 0.01, direction="replies")),
        ("swap", Fault("swap")),
        ("overload=3@5s", Fault("overload", servos=frozenset({3}), start_s=5)),
        ("missing=4-6@8s-12s", Fault("missing", servos=frozenset({4, 5, 6}), start_s=8, end_s=12)),
        ("brownout=all@300ms", Fault("brownout", start_s=0.3)),
        ("mute=2+5", Fault("mute", servos=frozenset({2, 5}))),
        ("flip=1,replies,servo=3,count=2@10s", Fault("flip", 1, frozenset({3}), "replies", 10, count=2)),
        ("delay=0.5,by=20ms", Fault("delay", 0.5, by_s=0.02)),
    ],
)
def test_faults_as_a_person_writes_them(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flup=0.1", "perhaps 'flip'"),
        ("drop=2", "a share of the frames from 0 to 1"),
        ("drop=few", "no share"),
        ("overload", "say which servos"),
        ("overload=three", "names no servos"),
        ("overload=3@5s-6s", "happens at a moment"),
        ("missing=3@5s-4s", "an end after the start"),
        ("missing=3@soon", "no time"),
        ("drop=0.1,twice", "option 'twice'"),
        ("drop=0.1@1s@2s", "one time"),
        ("drop=0.1,count=0", "1 or more"),
        ("drop=0.1,count=-1", "no whole number"),
        ("delay=0.1,by=0s", "a time above 0"),
        ("mute=300", "bus ids"),
        ("mute=3,replies", "happens to servos"),
    ],
)
def test_what_is_no_fault_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(FaultError, match=says):
        Fault.parse(text)


# --- answers that are wrong ------------------------------------------------------------------------------------------

POSITION = encode_read(3, 56, 2)
RIGHT = bytes.fromhex("FF FF 03 04 00 00 08 F0")


def test_without_faults_the_answer_is_right() -> None:
    assert Bench().ask(POSITION) == RIGHT


def test_a_wrong_checksum() -> None:
    answer = Bench("sum=1,replies").ask(POSITION)
    assert answer[:-1] == RIGHT[:-1]
    assert answer[-1] != RIGHT[-1]


def test_a_wrong_id_under_a_right_sum() -> None:
    (frame,) = Bench("id=1,replies").frames(POSITION)
    assert frame.id != 3
    assert frame.params == b"\x00\x08"


def test_a_truncated_answer() -> None:
    for seed in range(20):
        answer = Bench("truncate=1,replies", seed=seed).ask(POSITION)
        assert len(answer) < len(RIGHT)
        assert RIGHT.startswith(answer)


def test_two_bytes_exchanged_pass_the_sum() -> None:
    (frame,) = Bench("swap=1,replies").frames(POSITION)
    assert (frame.id, frame.params) == (3, b"\x08\x00")


def test_a_flipped_bit_does_not_pass_the_sum() -> None:
    for seed in range(50):
        bench = Bench("flip=1,replies", seed=seed)
        assert bench.frames(POSITION) == []
        assert bench.block.injected["flip"] == 1


def test_an_answer_that_comes_late_is_taken_for_the_next_one_unless_one_looks() -> None:
    bench = Bench("delay=1,replies,by=3ms,count=1")
    assert bench.ask(POSITION, 2 * MS) == b""
    bench.block.position[2] = 1000
    assert bench.ask(b"", 3 * MS) == RIGHT


def test_an_answer_that_comes_late_collides_with_the_next_request() -> None:
    bench = Bench("delay=1,replies,by=3ms,count=1")
    bench.bus.receive(POSITION, 0)
    bench.now = 8 * BYTE_NS + 3 * MS
    assert bench.frames(encode_ping(1)) == []
    assert bench.block.collisions == 1
    assert [frame.id for frame in bench.frames(encode_ping(1))] == [1]


def test_an_answer_that_comes_twice() -> None:
    assert Bench("duplicate=1,replies").ask(POSITION) == RIGHT + RIGHT


def test_noise_before_an_answer() -> None:
    bench = Bench("garbage=1,replies", seed=3)
    answer = bench.ask(POSITION)
    assert answer.endswith(RIGHT)
    assert len(answer) > len(RIGHT)


def test_a_fault_keeps_to_its_servo_its_time_its_count_and_its_direction() -> None:
    bench = Bench("drop=1,replies,servo=3,count=2@1s-2s")
    everyone = encode_sync_read(56, 2, IDS)
    assert [frame.id for frame in bench.frames(everyone)] == list(IDS)
    bench.at(1.0)
    assert [frame.id for frame in bench.frames(everyone)] == [1, 2, 4, 5, 6]
    assert [frame.id for frame in bench.frames(everyone)] == [1, 2, 4, 5, 6]
    assert [frame.id for frame in bench.frames(everyone)] == list(IDS)
    assert len(bench.heard) == 4
    late = Bench("drop=1,replies,servo=3@1s-2s").at(2.0)
    assert [frame.id for frame in late.frames(everyone)] == list(IDS)


# --- requests that are wrong -----------------------------------------------------------------------------------------


def test_a_request_that_is_lost_moves_nothing() -> None:
    bench = Bench("drop=1,requests,count=1")
    write = encode_write(1, 42, b"\x00\x04")
    assert bench.ask(write) == b""
    assert bench.block.goal[0] == 2048
    assert bench.ask(write) != b""
    assert bench.block.goal[0] == 1024


def test_a_request_with_two_bytes_exchanged_is_obeyed() -> None:
    bench = Bench("swap=1,requests,count=1", seed=1)
    bench.block.goal[:] = 0
    for seed in range(20):  # until it is the goal's bytes that are exchanged
        bench = Bench("swap=1,requests,count=1", seed=seed)
        bench.ask(encode_write(1, 42, (2048).to_bytes(2, "little")))
        if bench.block.goal[0] == 8:
            return
    pytest.fail("no seed exchanges the goal's bytes")


def test_a_request_that_is_held_up_is_obeyed_late() -> None:
    bench = Bench("delay=1,requests,by=10ms")
    bench.bus.receive(encode_write(1, 42, b"\x00\x04"), 0)
    due = bench.bus.next_event_ns
    assert due == 9 * BYTE_NS + 10 * MS
    bench.bus.advance(due - 1)
    assert bench.block.goal[0] == 2048
    bench.bus.advance(due)
    assert bench.block.goal[0] == 1024


frame_faults = st.builds(
    Fault,
    st.sampled_from(tuple(FRAME_KINDS)),
    st.floats(0, 1),
    direction=st.sampled_from(("both", "requests", "replies")),
    by_s=st.floats(1e-4, 0.03),
)
goals = st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 4095)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=200)
@example([Fault("flip", 0.875, direction="requests", by_s=0.004)], 20020, [(1, 0)] * 3, 0)
@given(st.lists(frame_faults, max_size=4), st.integers(0, 2**32), goals, st.integers(0, 3000))
def test_no_goal_is_decoded_that_no_whole_frame_contained(
    faults: list[Fault], seed: int, goals: list[tuple[int, int]], pause_us: int
) -> None:
    """And a bus that was tampered with understands the next clean request.

    Two flips can leave the 8-bit sum whole, of a frame that then writes to another register, or is another instruction:
    to whom one of those was said may have any goal.
    """
    block = ServoBlock.local(IDS)
    bus = ServoBus(block, {id: {"return_delay": 0} for id in IDS}, FaultPlan(tuple(faults), seed))
    wire = bytearray()
    told: set[tuple[int, int]] = set()
    told_otherwise: set[int] = set()
    hear = bus._hear

    def listen(data: bytes, end_ns: int, baud: int) -> None:
        wire.extend(data)
        hear(data, end_ns, baud)

    def understood(frame: Frame, _: int) -> None:
        whole = bytes((0xFF, 0xFF, frame.id, len(frame.params) + 2, frame.code)) + frame.params
        assert whole + bytes((~sum(whole[2:]) & 0xFF,)) in wire
        if frame.code == 3 and frame.params[:1] == b"\x2a" and len(frame.params) == 3:
            told.add((frame.id, int.from_bytes(frame.params[1:], "little")))
        elif frame.code not in (1, 2, 0x82):  # ping, read, sync read
            told_otherwise.update(IDS if frame.id == 0xFE else {frame.id})

    bus._hear, bus.on_request = listen, understood  # type: ignore[method-assign]
    now = 0
    for id, goal in goals:
        before = block.goal.tolist()
        bus.receive(encode_write(id, 42, goal.to_bytes(2, "little")), now)
        now += 90_000 + pause_us * 1000
        bus.transmit(now)
        for servo, old, new in zip(IDS, before, block.goal.tolist(), strict=True):
            limited = {min(goal & 0x7FFF, 4095) if not goal & 0x8000 else 0 for id, goal in told if id in (servo, 0xFE)}
            assert new == old or new in limited or servo in told_otherwise
    bus.transmit(now + S)
    bus._on_requests = bus._on_replies = type(bus._on_requests)(FaultPlan(), "requests")
    bus.receive(encode_ping(5), now + 2 * S)
    assert Parser().feed(bus.transmit(now + 3 * S)) == [Frame(5, 0, b"")]


@settings(deadline=None)
@given(st.lists(frame_faults, min_size=1, max_size=3), st.integers(0, 2**32))
def test_the_same_seed_does_the_same(faults: list[Fault], seed: int) -> None:
    def run() -> tuple[list[bytes], dict[str, int]]:
        bench = Bench(*map(str, faults), seed=seed)
        return [bench.ask(encode_sync_read(56, 2, IDS), 3 * MS) for _ in range(10)], bench.block.injected

    assert run() == run()


# --- servos that fail ------------------------------------------------------------------------------------------------


def test_a_servo_shuts_off_after_its_protection_time_above_its_overload_torque() -> None:
    bench = Bench()
    bench.ask(encode_write(3, 40, b"\x01"))
    bench.block.load[2] = -800  # of either sign
    bench.at(1.0)
    bench.block.load[2] = -799
    bench.at(1.5)
    bench.block.load[2] = -800
    bench.at(2.0).at(3.9)
    assert bench.block.driven[2]
    bench.at(4.1)
    assert not bench.block.driven[2]
    assert bench.frames(POSITION)[0].code == 0x20
    bench.block.load[2] = 0
    assert bench.frames(encode_ping(3))[0].code == 0x20  # latched
    bench.ask(encode_write(3, 42, b"\x00\x08"))
    assert not bench.block.driven[2]
    assert bench.frames(encode_write(3, 40, b"\x00"))[0].code == 0x20
    assert bench.frames(encode_write(3, 40, b"\x01"))[0].code == 0
    assert bench.block.driven[2]


@pytest.mark.parametrize(("address", "value", "trips"), [(36, 90, False), (35, 20, True), (19, 0x0C, False)])
def test_when_a_servo_shuts_off_is_in_its_registers(address: int, value: int, trips: bool) -> None:
    bench = Bench()
    bench.ask(encode_write(3, 40, b"\x01"))
    bench.ask(encode_write(3, address, bytes((value,))))
    bench.block.load[2] = 850
    bench.at(1.0).at(1.1).at(1.25)
    assert bool(bench.block.status[2]) == trips
    bench.at(1.0).at(4.0)
    assert bool(bench.block.status[2]) == trips


def test_an_overload_on_request() -> None:
    bench = Bench("overload=3@5s")
    bench.ask(encode_write(3, 40, b"\x01"))
    assert bench.at(4.99).block.driven[2]
    assert bench.bus.next_event_ns == 5 * S
    assert not bench.at(5.0).block.driven[2]
    assert bench.block.status.tolist() == [0, 0, 0x20, 0, 0, 0]
    bench.ask(encode_write(3, 40, b"\x01"))
    assert bench.block.driven[2]


def test_a_goal_switches_torque_on() -> None:
    bench = Bench()
    bench.ask(encode_write(2, 42, b"\x00\x08"))
    assert bench.block.torque.tolist() == [0, 1, 0, 0, 0, 0]


def test_a_brown_out_loses_torque_and_registers_and_keeps_the_eeprom() -> None:
    bench = Bench("brownout=3@5s-5.5s")
    for address, data in ((55, b"\x00"), (9, b"\x64\x00"), (55, b"\x01"), (11, b"\x00\x0f"), (48, b"\xf4\x01")):
        bench.ask(encode_write(3, address, data))
    bench.ask(encode_write(3, 42, b"\x00\x04"))
    assert bench.block.driven[2]
    bench.at(5.0)
    assert not bench.block.driven[2]
    assert bench.frames(POSITION) == []
    assert [frame.id for frame in bench.frames(encode_sync_read(56, 2, IDS))] == [1, 2, 4, 5, 6]
    bench.ask(encode_write(3, 42, b"\x00\x05"))
    bench.block.position[2] = 1500
    bench.at(5.5)
    servo = bench.bus.servos[2]
    assert bench.frames(encode_read(3, 40, 1))[0].params == b"\x00"
    assert (servo["min_position_limit"], servo["max_position_limit"]) == (100, 4095)  # the lock was off, then on
    assert (servo["torque_limit"], servo["return_delay"], servo["lock"]) == (1000, 0, 1)
    assert (bench.block.goal[2], bench.block.torque[2]) == (1500, 0)


def test_a_brown_out_is_short_unless_told() -> None:
    bench = Bench("brownout=all@1s").at(1.0)
    assert bench.frames(encode_ping(1)) == []
    assert [frame.id for frame in bench.at(1.31).frames(encode_ping(1))] == [1]


def test_a_servo_that_is_missing_leaves_its_place_empty() -> None:
    bench = Bench("missing=3")
    bench.bus.receive(encode_sync_read(56, 2, IDS), 0)
    asked, slot = 14 * BYTE_NS, 2_000 + 8 * BYTE_NS
    arrived = {now // slot for now in range(0, 2 * MS, 1_000) if bench.bus.transmit(asked + now)}
    assert arrived == {1, 2, 4, 5, 6}
    bench.now = 10 * MS
    assert bench.ask(encode_write(3, 42, b"\x00\x04")) == b""
    assert bench.block.goal[2] == 2048


def test_a_mute_servo_obeys() -> None:
    bench = Bench("mute=3")
    assert bench.ask(encode_write(3, 42, b"\x00\x04")) == b""
    assert bench.block.goal[2] == 1024


def test_stale_measurements_look_like_good_ones() -> None:
    bench = Bench("stale=3@1s-2s")
    bench.ask(POSITION)
    bench.at(1.0).block.position[2] = 1000
    assert bench.ask(POSITION) == RIGHT
    assert bench.at(2.0).frames(POSITION)[0].params == (1000).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("kind", "bit", "drives"), [("voltage", 1, True), ("overheat", 4, False), ("overcurrent", 8, False)]
)
def test_errors_that_pass(kind: str, bit: int, drives: bool) -> None:
    bench = Bench(f"{kind}=3@1s-2s")
    bench.ask(encode_write(3, 40, b"\x01"))
    assert bench.at(1.0).frames(encode_ping(3))[0].code == bit
    assert bench.block.driven[2] == drives
    assert bench.at(2.0).frames(encode_ping(3))[0].code == 0
    assert bench.block.driven[2]


# --- the wire itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bench", [Bench(ids=(1, 2, 2, 4)), Bench("twin=2", ids=(1, 2, 3, 4))])
def test_two_servos_with_the_same_id_destroy_each_others_answers(bench: Bench) -> None:
    assert bench.frames(encode_ping(2)) == []
    assert bench.block.collisions > 0
    assert [frame.id for frame in bench.frames(encode_sync_read(56, 2, (1, 2, 4)))] == [1, 4]
    assert [frame.id for frame in bench.frames(encode_ping(1))] == [1]


def test_servos_with_different_return_delays_do_not_keep_to_their_places() -> None:
    bench = Bench()
    bench.bus.servos[0].write(7, b"\x64")  # 0.2 ms; the others come when they would have come anyway
    assert len(bench.frames(encode_sync_read(56, 2, IDS))) < len(IDS)
    assert bench.block.collisions > 0


def test_a_master_that_goes_on_talking_within_the_return_delay_loses_the_answer() -> None:
    bench = Bench(return_delay=250)
    bench.bus.receive(encode_ping(1), 0)
    bench.now = 520_000  # servo 1 is about to answer
    assert bench.frames(encode_ping(2)) == []
    assert bench.block.collisions > 0


def test_a_port_that_changes_its_rate_before_the_answer_hears_noise() -> None:
    bench = Bench()
    bench.bus.receive(POSITION, 0)
    heard = bench.bus.transmit(10 * MS, 115_200)
    assert 0 < len(heard) < len(RIGHT)
    assert Parser().feed(heard) == []
    bench.bus.receive(POSITION, 20 * MS)
    assert bench.bus.transmit(30 * MS, 1_000_000) == RIGHT


# --- what a person sees ----------------------------------------------------------------------------------------------


def test_the_watch_says_what_has_changed_and_no_more() -> None:
    bench = Bench("overload=3@2s", "flip=1,replies,count=1")
    watch = Watch(bench.block)
    assert watch.lines(0.1) == []
    bench.ask(encode_write(3, 40, b"\x01"))
    assert watch.lines(0.2) == ["     0.2 s  a client speaks at 1000000 bit/s", "     0.2 s  torque on: 3"]
    assert watch.lines(0.3) == []
    (second,) = watch.lines(1.3)
    assert "at 2048 2048" in second
    assert second.endswith("so far: flip 1")
    bench.at(2.0)
    assert watch.lines(2.0) == ["     2.0 s  servo 3: overload"]
    assert watch.lines(2.5) == ["     2.5 s  nobody speaks"]
    assert watch.lines(4.0) == []
