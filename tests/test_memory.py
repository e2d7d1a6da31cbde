"""The subtask memory: what it remembers, what it refuses, and that its journal survives every kind of cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kill_writer import memory_directory

from edge._core import SubtaskMemory
from edge.errors import ConfigError, TaskError

HERE, THERE = (0.2, 0.05, 0.01, 0.3), (0.15, -0.1, 0.02, -1.2)


def swap(memory: SubtaskMemory) -> SubtaskMemory:
    """Half of a swap, cut short in the third call."""
    memory.clear("swap the red cube and the green cube")
    memory.begin('pick("red cube")', "red cube", 10)
    memory.grasped("red cube", HERE)
    memory.end("ok", 20)
    memory.begin("place_free()", "", 21)
    memory.released("red cube", THERE)
    memory.end("ok", 30)
    memory.begin('pick("green cube")', "green cube", 31)
    return memory


def contents(memory: SubtaskMemory) -> tuple[object, ...]:
    released = {name: memory.released_at(name) for name in ("red cube", "green cube")}
    ended = memory.held, memory.ending
    return memory.task, memory.calls(), memory.places(), memory.transcript(), memory.running, released, ended


def test_what_it_remembers() -> None:
    memory = swap(SubtaskMemory())
    assert memory.task == "swap the red cube and the green cube"
    assert memory.transcript() == (('pick("red cube")', "ok"), ("place_free()", "ok"))
    assert memory.running == 'pick("green cube")'
    assert memory.place_of("red cube") == HERE
    assert memory.released_at("red cube") == THERE
    assert memory.place_of("green cube") is None
    assert memory.places() == {"red cube": HERE}
    assert memory.calls()[0] == {
        "call": 'pick("red cube")',
        "object": "red cube",
        "outcome": "ok",
        "begin_ns": 10,
        "end_ns": 20,
    }
    assert memory.calls()[2]["outcome"] is None


def test_the_place_of_an_object_is_its_first_grasp_in_the_task() -> None:
    memory = swap(SubtaskMemory())
    memory.grasped("red cube", THERE)
    assert memory.place_of("red cube") == HERE
    memory.clear("again")
    assert memory.place_of("red cube") is None
    assert memory.transcript() == ()
    memory.grasped("red cube", THERE)
    assert memory.place_of("red cube") == THERE


def test_a_wrong_order_is_refused_and_changes_nothing() -> None:
    memory = SubtaskMemory()
    with pytest.raises(TaskError, match="no call is running"):
        memory.end("ok", 1)
    memory.begin("place_free()", "", 1)
    with pytest.raises(TaskError, match="still running"):
        memory.begin("done()", "", 2)
    with pytest.raises(TaskError, match="outcome"):
        memory.end("", 2)
    assert memory.running == "place_free()"


def test_a_full_memory_says_so() -> None:
    memory = SubtaskMemory()
    for i in range(256):
        memory.begin("place_free()", "", i)
        memory.end("missed", i)
    with pytest.raises(TaskError, match="at most 256 calls"):
        memory.begin("place_free()", "", 256)
    for i in range(32):
        memory.grasped(f"cube {i}", HERE)
    with pytest.raises(TaskError, match="at most 32 objects"):
        memory.released("cube 32", HERE)
    memory.grasped("cube 3", THERE)
    assert len(memory.transcript()) == 256


@pytest.mark.parametrize("pose", [(float("nan"), 0, 0, 0), (0, 0, 0, float("inf"))])
def test_a_pose_that_is_not_finite_is_refused(pose: tuple[float, ...]) -> None:
    with pytest.raises(TaskError, match="not finite"):
        SubtaskMemory().grasped("red cube", pose)


def test_a_text_that_is_too_long_is_refused_in_bytes() -> None:
    memory = SubtaskMemory()
    with pytest.raises(TaskError, match="a task is too long") as caught:
        memory.clear("x" * 511)
    assert caught.value.expected == "at most 510 bytes"
    with pytest.raises(TaskError, match="a task is too long"):
        memory.clear("ü" * 256)
    memory.clear("ü" * 255)
    assert memory.task == "ü" * 255
    with pytest.raises(TaskError, match="a call is too long"):
        memory.begin("x" * 127, "", 1)
    with pytest.raises(TaskError, match="an object is too long"):
        memory.grasped("x" * 63, HERE)


def test_a_journal_restores_everything(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    memory = swap(SubtaskMemory(path))
    before = contents(memory)
    del memory
    restored = SubtaskMemory(path)
    assert contents(restored) == before
    assert restored.recovery == {"records": 8, "torn_bytes": 0, "damaged_bytes": 0, "kept": "", "in_use": False}
    restored.end("ok", 40)
    del restored
    assert SubtaskMemory(path).transcript()[-1] == ('pick("green cube")', "ok")


def test_a_killed_process_loses_nothing_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    script = f"""
import os, signal
from edge._core import SubtaskMemory
memory = SubtaskMemory({str(path)!r})
memory.clear("a task")
memory.begin('pick("red cube")', "red cube", 1)
memory.grasped("red cube", (1, 2, 3, 4))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    memory = SubtaskMemory(str(path))
    assert memory.running == 'pick("red cube")'
    assert memory.place_of("red cube") == (1, 2, 3, 4)


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where the machine has that: thousands of journals are written here."""
    with tempfile.TemporaryDirectory(dir=memory_directory() or tmp_path) as directory:
        yield Path(directory)


def half_a_swap(path: Path) -> tuple[bytes, list[int], list[tuple[object, ...]]]:
    """A journal's bytes, where each change ends in them, and what is remembered after each."""
    memory = SubtaskMemory(str(path))
    ends, states = [path.stat().st_size], [contents(memory)]
    swap(Observed(memory, lambda: (ends.append(path.stat().st_size), states.append(contents(memory)))))  # type: ignore[arg-type]
    return path.read_bytes(), ends, states


class Observed:
    """A memory that is looked at after every change."""

    def __init__(self, memory: SubtaskMemory, look: Callable[[], object]) -> None:
        self._memory, self._look = memory, look

    def __getattr__(self, name: str) -> Callable[..., None]:
        def change(*arguments: object) -> None:
            getattr(self._memory, name)(*arguments)
            self._look()

        return change


def test_cut_at_every_byte_the_journal_holds_exactly_the_changes_that_are_whole(in_memory: Path) -> None:
    path = in_memory / "journal"
    whole, ends, states = half_a_swap(path)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        intact = max((i for i, end in enumerate(ends) if end <= cut), default=0)
        assert contents(SubtaskMemory.peek(str(path))) == states[intact]
        memory = SubtaskMemory(str(path))
        assert contents(memory) == states[intact]
        assert memory.recovery["kept"] == ""
        memory.clear("again")
        assert SubtaskMemory.peek(str(path)).task == "again"
        del memory  # one at a time


def test_with_any_bit_flipped_the_journal_holds_what_came_before_and_keeps_the_rest_beside_it(in_memory: Path) -> None:
    path = in_memory / "journal"
    whole, ends, states = half_a_swap(path)
    for at in range(len(whole)):
        intact = len(ends) - 1 if at < ends[0] else max(i for i, end in enumerate(ends) if end <= at)
        for bit in range(8):
            damaged = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
            path.write_bytes(damaged)
            assert contents(SubtaskMemory.peek(str(path))) == states[intact]
        memory = SubtaskMemory(str(path))
        assert contents(memory) == states[intact]
        found = memory.recovery
        del memory  # one at a time
        assert found["records"] == intact
        assert found["torn_bytes"] == 0
        assert found["damaged_bytes"] == (0 if at < ends[0] else len(whole) - ends[intact])
        if found["kept"]:
            assert Path(found["kept"]).read_bytes() == damaged[ends[intact] :]
            Path(found["kept"]).unlink()


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_no_change_is_lost_or_invented(seed: int, in_memory: Path) -> None:
    """EDGEARM_KILLS sets how often, over all seeds; `python tests/kill_writer.py` does the same on a disk of choice."""
    rounds = int(os.environ.get("EDGEARM_KILLS", "200")) // 4
    script = Path(__file__).parent / "kill_writer.py"
    command = [sys.executable, str(script), "--rounds", str(rounds), "--seed", str(seed), "--directory", str(in_memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["acknowledged"] > rounds


NAMES = ("red cube", "green cube", "")
POSES = st.tuples(*[st.floats(-10, 10)] * 4)


class Remembering(RuleBasedStateMachine):
    """Any order of changes, legal or not, of re-openings and cuts, beside a model that is a few lines of Python."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=memory_directory())
        self.path = Path(self.directory.name) / "journal"
        self.memory = SubtaskMemory(str(self.path))
        self.calls: list[tuple[str, str | None]] = []
        self.grasps: dict[str, tuple[float, ...]] = {}
        self.releases: dict[str, tuple[float, ...]] = {}
        self.task, self.held, self.ending = "", None, None

    def teardown(self) -> None:
        del self.memory
        self.directory.cleanup()

    @property
    def running(self) -> bool:
        return bool(self.calls) and self.calls[-1][1] is None

    def refused(self, change: Callable[[], None]) -> None:
        with pytest.raises(TaskError):
            change()

    @rule(task=st.text(max_size=510).filter(lambda text: len(text.encode("utf-8", "ignore")) <= 510))
    def clear(self, task: str) -> None:
        self.memory.clear(task)
        self.task, self.held, self.ending = task, None, None
        self.calls, self.grasps, self.releases = [], {}, {}

    @rule(name=st.sampled_from(NAMES))
    def begin(self, name: str) -> None:
        if self.running:
            return self.refused(lambda: self.memory.begin("pick", name, 1))
        self.memory.begin(f"pick {name}", name, 1)
        self.calls.append((f"pick {name}", None))
        self.ending = None
        return None

    @rule(outcome=st.sampled_from(["ok", "missed", ""]))
    def end(self, outcome: str) -> None:
        if not self.running or not outcome:
            return self.refused(lambda: self.memory.end(outcome, 2))
        self.memory.end(outcome, 2)
        self.calls[-1] = (self.calls[-1][0], outcome)
        return None

    @rule(name=st.sampled_from(NAMES), pose=POSES)
    def grasped(self, name: str, pose: tuple[float, ...]) -> None:
        self.memory.grasped(name, pose)
        self.grasps.setdefault(name, pose)
        self.held = name or None

    @rule(name=st.sampled_from(NAMES), pose=POSES)
    def released(self, name: str, pose: tuple[float, ...]) -> None:
        self.memory.released(name, pose)
        self.releases[name] = pose
        self.held = None if self.held == name else self.held

    @rule(ending=st.sampled_from(["finished", "failed", ""]))
    def conclude(self, ending: str) -> None:
        if self.running or not ending:
            return self.refused(lambda: self.memory.conclude(ending, 3))
        self.memory.conclude(ending, 3)
        self.ending = ending
        return None

    @rule(torn=st.binary(max_size=7))
    def crash(self, torn: bytes) -> None:
        del self.memory
        with self.path.open("ab") as file:
            file.write(torn)
        self.memory = SubtaskMemory(str(self.path))
        assert self.memory.recovery["torn_bytes"] == len(torn)

    @invariant()
    def agrees(self) -> None:
        for memory in (self.memory, SubtaskMemory.peek(str(self.path))):
            assert memory.task == self.task
            assert memory.transcript() == tuple(call for call in self.calls if call[1] is not None)
            assert memory.running == (self.calls[-1][0] if self.running else None)
            assert [(row["call"], row["outcome"]) for row in memory.calls()] == self.calls
            assert memory.places() == self.grasps
            for name in NAMES:
                assert memory.place_of(name) == self.grasps.get(name)
                assert memory.released_at(name) == self.releases.get(name)
            assert (memory.held, memory.ending) == (self.held, self.ending)


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_looking_changes_nothing_and_sees_whether_someone_writes(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    memory = swap(SubtaskMemory(str(path)))
    before = path.read_bytes()
    seen = SubtaskMemory.peek(str(path))
    assert contents(seen) == contents(memory)
    assert seen.recovery["in_use"]
    seen.end("ok", 40)  # a copy: nothing of this reaches the journal
    assert path.read_bytes() == before
    del memory
    path.write_bytes(before[:-3])
    seen = SubtaskMemory.peek(str(path))
    assert not seen.recovery["in_use"]
    assert seen.recovery["torn_bytes"] > 0
    assert path.read_bytes() == before[:-3]


def test_what_is_held_and_how_the_task_ended() -> None:
    memory = SubtaskMemory()
    memory.clear("a task")
    assert (memory.held, memory.ending) == (None, None)
    memory.begin('pick("red cube")', "red cube", 1)
    memory.grasped("red cube", HERE)
    assert memory.held == "red cube"
    with pytest.raises(TaskError, match="still running"):
        memory.conclude("failed", 2)
    memory.end("ok", 2)
    memory.released("green cube", THERE)
    assert memory.held == "red cube"
    memory.released("red cube", THERE)
    assert memory.held is None
    memory.conclude("failed", 3)
    assert memory.ending == "failed"
    memory.begin("place_free()", "", 4)
    assert memory.ending is None


def test_another_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a journal")
    with pytest.raises(ConfigError, match="is not a journal"):
        SubtaskMemory(str(path))
    assert path.read_text() == "not a journal"


def test_one_journal_serves_one_process_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    memory = SubtaskMemory(path)
    with pytest.raises(ConfigError, match="in use"):
        SubtaskMemory(path)
    del memory
    SubtaskMemory(path)


def test_a_journal_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        SubtaskMemory(str(tmp_path / "missing" / "journal"))
    assert caught.value.fix


def test_a_device_is_not_a_journal() -> None:
    with pytest.raises(ConfigError, match="regular file"):
        SubtaskMemory("/dev/null")


def test_a_full_disk_is_an_error_and_the_memory_stays_as_the_disk_has_it(tmp_path: Path) -> None:
    """The process may write 300 bytes to a file, which is room for the first records only."""
    path = tmp_path / "journal"
    script = f"""
import resource, signal
from edge._core import SubtaskMemory
from edge.errors import ConfigError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
memory = SubtaskMemory({str(path)!r})
try:
    for i in range(10):
        memory.grasped(f"cube {{i}}", (1, 2, 3, 4))
except ConfigError as error:
    print(len(memory.places()), error.what)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    count, what = told.split(" ", 1)
    assert "cannot be written" in what
    assert 0 < int(count) < 10
    restored = SubtaskMemory(str(path))
    assert len(restored.places()) == int(count)
    assert restored.recovery["torn_bytes"] == restored.recovery["damaged_bytes"] == 0
