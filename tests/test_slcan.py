"""slcan end to end: the C++ link on the emulated adapter's pty, and the adapter by itself."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from edge import _core
from edge.errors import LinkError
from firmware_bridge.emulators import CanBus, CanFrame, EchoNode, SlcanAdapter, SlcanPorts
from firmware_bridge.emulators.can_bus import FD_LENGTHS
from firmware_bridge.emulators.slcan import STYLES, format_line, parse_line

ROOT = Path(__file__).resolve().parents[1]
PATIENT = 20_000_000_000
BRIEF = 30_000_000
MBIT = 1_000_000
FD = {"data_bit_rate": 5 * MBIT}


class Bench:
    """Two adapters on one bus."""

    def __init__(self, style: str = "canable") -> None:
        self.bus = CanBus()
        self.near, self.far = (SlcanAdapter(self.bus, style) for _ in range(2))
        self.served = SlcanPorts(self.bus, (self.near, self.far))

    @property
    def ports(self) -> list[str]:
        return self.served.ports


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    with made.served:
        yield made


def eventually(condition: Callable[[], bool], what: str) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"never: {what}")


def frames() -> list[CanFrame]:
    """Every kind and length."""
    rng = random.Random(3)
    made = []
    for extended in (False, True):
        for length in range(9):
            id = rng.getrandbits(29 if extended else 11)
            made.append(CanFrame(id, rng.randbytes(length), extended))
            made.append(CanFrame(id, b"", extended, remote=True, requested=length))
        for length in FD_LENGTHS:
            for switch in (False, True):
                id = rng.getrandbits(29 if extended else 11)
                made.append(CanFrame(id, rng.randbytes(length), extended, fd=True, bit_rate_switch=switch))
    return made


def native(frame: CanFrame) -> _core.CanFrame:
    return _core.CanFrame(
        frame.id,
        frame.data,
        extended=frame.extended,
        remote=frame.remote,
        fd=frame.fd,
        bit_rate_switch=frame.bit_rate_switch,
        length=frame.requested if frame.remote else None,
    )


# --- the link on the adapter ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_a_frame_of_every_kind_and_length_crosses_the_bus_both_ways(style: str) -> None:
    made = Bench(style)
    with made.served:
        near, far = (_core.SlcanLink(port, **FD) for port in made.ports)
        assert near.acknowledges == (style != "mute")
        for frame in map(native, frames()):
            for sender, receiver in ((near, far), (far, near)):
                assert sender.send(frame, PATIENT) == "ok"
                assert receiver.receive(PATIENT) == ("ok", frame)
        assert near.receive(BRIEF)[0] == "timeout"
        for link in (near, far):
            counters = link.counters
            assert counters["sent"] == counters["received"] == len(frames())
            assert not counters["corrupt"] + counters["refused"] + counters["overruns"] + counters["unanswered"]
        assert near.state == "unknown"


def test_many_frames_in_flight_arrive_in_order(bench: Bench) -> None:
    near, far = (_core.SlcanLink(port) for port in bench.ports)
    for number in range(400):
        assert near.send(_core.CanFrame(0x123, number.to_bytes(2, "big")), PATIENT) == "ok"
        if number % 8 == 7:  # the adapter has sixteen buffers
            got = [far.receive(PATIENT) for _ in range(8)]
            assert [int.from_bytes(f.data, "big") for _, f in got] == list(range(number - 7, number + 1))
    assert near.counters["refused"] == 0


def test_a_bus_without_anybody_else_fills_the_adapter_and_then_frames_are_refused() -> None:
    bus = CanBus()
    with SlcanPorts(bus, (SlcanAdapter(bus),)) as served:
        link = _core.SlcanLink(served.ports[0], window=1)
        results = [link.send(_core.CanFrame(n), PATIENT) for n in range(20)]
        assert results == ["ok"] * 16 + ["refused"] * 4
        assert link.counters["refused"] == 4


def test_nodes_at_different_rates_do_not_understand_each_other(bench: Bench) -> None:
    near = _core.SlcanLink(bench.ports[0], window=1)
    far = _core.SlcanLink(bench.ports[1], bit_rate=500_000)
    assert near.send(_core.CanFrame(1), PATIENT) == "ok"  # the adapter has it
    assert far.receive(BRIEF)[0] == "timeout"
    assert bench.bus.carried == 0


def test_a_refused_frame_a_lost_answer_and_a_damaged_line_cost_themselves_only(bench: Bench) -> None:
    near = _core.SlcanLink(bench.ports[0], window=1)
    far = _core.SlcanLink(bench.ports[1])
    bench.near.refuse_frames = 1
    assert near.send(_core.CanFrame(1), PATIENT) == "refused"
    bench.near.drop_answers = 1
    assert near.send(_core.CanFrame(2), 200_000_000) == "timeout"
    assert far.receive(PATIENT) == ("ok", _core.CanFrame(2))  # only the answer was lost
    bench.far.damage_frames = 1
    assert near.send(_core.CanFrame(3), PATIENT) == "ok"
    assert near.send(_core.CanFrame(4), PATIENT) == "ok"
    got = [far.receive(PATIENT) for _ in range(2)]  # both may come in one reading, and then the frame goes first
    assert sorted(result for result, _ in got) == ["corrupt", "ok"]
    assert ("ok", _core.CanFrame(4)) in got
    assert near.counters["unanswered"] == 1
    assert far.counters["corrupt"] == 1


def test_a_channel_that_a_dead_client_left_open_in_half_a_line_is_taken_over(bench: Bench) -> None:
    with serial.Serial(bench.ports[0], timeout=2.0) as port:
        port.write(b"S6\rO\rt123811")
        assert port.read(2) == b"\r\r"
    link = _core.SlcanLink(bench.ports[0])
    assert link.acknowledges
    assert bench.near.bit_rate == MBIT
    del link
    eventually(lambda: not bench.near.is_open, "the link closes the channel")


def test_an_unplugged_adapter_is_gone_and_found_again_by_its_name(tmp_path: Path) -> None:
    bus = CanBus()
    bus.nodes.append(EchoNode())
    name = tmp_path / "adapter"
    with SlcanPorts(bus, (SlcanAdapter(bus),), (name,)) as served:
        link = _core.SlcanLink(str(name))
        assert link.stable_path == str(name)
        before = served.ports[0]
        served.unplug(0)
        assert link.receive(PATIENT)[0] == "gone"
        assert link.send(_core.CanFrame(1), PATIENT) == "gone"
        with pytest.raises(LinkError, match="does not exist"):
            _core.SlcanLink(str(name))
        served.plug_in(0)  # the old port is still open here: the new one has another number
        assert served.ports[0] != before
        link = _core.SlcanLink(link.stable_path)
        assert link.send(_core.CanFrame(8, b"back"), PATIENT) == "ok"
        assert link.receive(PATIENT) == ("ok", _core.CanFrame(9, b"back"))


def test_a_line_without_an_adapter_and_a_busy_port_are_named(bench: Bench) -> None:
    link = _core.SlcanLink(bench.ports[0])
    with pytest.raises(LinkError, match="is busy") as busy:
        _core.SlcanLink(bench.ports[0])
    assert "this process" in busy.value.got
    assert link.path == bench.ports[0]
    script = f"from edge import _core; _core.SlcanLink({bench.ports[0]!r})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "is busy" in told.stderr
    with (
        SlcanPorts(CanBus(), (_Deaf(CanBus()),)) as served,
        pytest.raises(LinkError, match="no slcan adapter") as silent,
    ):
        _core.SlcanLink(served.ports[0])
    assert silent.value.fix


class _Deaf(SlcanAdapter):
    def receive(self, data: bytes, now_ns: int) -> None:
        pass


def test_socketcan_says_what_is_missing() -> None:
    """Which of the two, this machine's kernel decides; what goes beyond it is `make test-socketcan`."""
    with pytest.raises(LinkError, match=r"no CAN sockets|nocan0 does not exist") as caught:
        _core.SocketCanLink("nocan0")
    assert caught.value.fix


def test_a_frame_that_is_too_long_is_no_frame() -> None:
    with pytest.raises(ValueError, match="64"):
        _core.CanFrame(1, bytes(65), fd=True)


# --- the adapter by itself --------------------------------------------------------------------------------------------


def ask(adapter: SlcanAdapter, text: bytes, now_ns: int = 0) -> bytes:
    adapter.receive(text, now_ns)
    answer, adapter.output = bytes(adapter.output), bytearray()
    return answer


def test_a_channel_needs_a_bit_rate_and_a_frame_needs_a_channel() -> None:
    adapter = SlcanAdapter(CanBus())
    assert ask(adapter, b"O\rt1230\rC\rF\r") == b"\a" * 4
    assert ask(adapter, b"S9\rS\rSX\rY9\r\rQ\r") == b"\a" * 6
    assert ask(adapter, b"S8\rY5\rM0\rA1\rO\r") == b"\r" * 5
    assert ask(adapter, b"S6\rY2\rO\rZ1\r") == b"\a" * 4  # not while it is open
    assert ask(adapter, b"t1230\rT000001230\r") == b"\r\r"
    assert ask(adapter, b"t12\rt12381122\rt8000\rt12300\rt123G\rd1239\r" + b"t" * 500 + b"\r") == b"\a" * 7
    assert ask(adapter, b"V\rN\r") == b"V1013\rNEMUL\r"
    assert ask(adapter, b"C\rC\r") == b"\r\a"
    assert ask(SlcanAdapter(CanBus(), fd=False), b"Y5\r") == b"\a"


def test_styles_differ_in_how_they_acknowledge() -> None:
    for style, expected in (("lawicel", b"\r\rz\rZ\r"), ("canable", b"\r\r\r\r"), ("mute", b"")):
        assert ask(SlcanAdapter(CanBus(), style), b"S8\rO\rt1230\rT000001230\r") == expected
    mute = SlcanAdapter(CanBus(), "mute")
    ask(mute, b"S8\rO\rt1230\r\r")
    assert len(mute.outbox) == 2  # an empty line sends the last frame again


def test_a_frame_takes_its_time_on_the_wire_and_the_lowest_identifier_goes_first() -> None:
    bus = CanBus()
    first, second, third = (SlcanAdapter(bus) for _ in range(3))
    for adapter in (first, second, third):
        ask(adapter, b"S8\rO\r")
    ask(first, b"t70081122334455667788\r", 0)
    bus.advance(0)
    ask(second, b"t3000\r", 10_000)
    ask(third, b"t1000\r", 20_000)
    duration = CanFrame(0x700, bytes(8)).duration_ns(MBIT, MBIT)
    assert duration == 135_000  # 8 bytes at 1 Mbit/s with every stuff bit
    assert bus.next_due_ns == duration
    bus.advance(duration - 1)
    assert not second.output
    bus.advance(1_000_000)
    assert first.output == b"t1000\rt3000\r"
    assert CanFrame(1, bytes(64), fd=True, bit_rate_switch=True).duration_ns(MBIT, 5 * MBIT) < 64 * 8 * 1000


def test_what_the_host_does_not_fetch_is_lost_and_the_status_says_so() -> None:
    bus = CanBus()
    sender, receiver = SlcanAdapter(bus), SlcanAdapter(bus)
    for adapter in (sender, receiver):
        ask(adapter, b"S8\rO\r")
    for number in range(300):
        ask(sender, b"t12381122334455667788\r", number * 1_000_000)
        bus.advance(number * 1_000_000 + 900_000)
    assert bus.carried == 300
    assert len(receiver.output) < 4096
    assert ask(receiver, b"F\r").endswith(b"F08\r")
    assert ask(receiver, b"F\r") == b"F00\r"


def test_time_stamps_and_classic_nodes_on_an_fd_bus() -> None:
    bus = CanBus()
    sender, receiver = SlcanAdapter(bus), SlcanAdapter(bus, fd=False)
    ask(sender, b"S8\rY5\rO\r")
    ask(receiver, b"S8\rZ1\rO\r")
    ask(sender, b"t1230\r", 5_000_000)
    bus.advance(6_000_000)
    assert receiver.output == b"t12300005\r"
    ask(sender, b"d1230\r", 7_000_000)
    bus.advance(8_000_000)
    assert bus.carried == 1  # a node that knows no CAN FD destroys the frame
    assert ask(sender, b"F\r") == b"F20\r"


def test_a_line_and_its_frame_say_the_same() -> None:
    for frame in frames():
        line = format_line(frame)
        assert parse_line(line) == frame
        assert parse_line(line[:-1]) is None
        assert parse_line(line + b"0") is None


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_any_client_and_ends_quietly(tmp_path: Path, sent: signal.Signals) -> None:
    link = tmp_path / "can"
    command = [sys.executable, "-m", "firmware_bridge.emulators", "slcan", "--style", "lawicel", "--link", str(link)]
    # A job in the background of a script ignores Ctrl-C, and so would what it starts: these tests may run in one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert str(link) in process.stdout.readline()
    process.stdout.readline()
    with serial.Serial(str(link), timeout=20.0) as port:
        port.write(b"S8\rO\rt1002ABCD\r")
        assert port.read(16) == b"\r\rz\rt1012ABCD\r"[:16]
    process.send_signal(sent)
    _, errors = process.communicate(timeout=20)
    assert errors == ""
    assert not link.exists()
