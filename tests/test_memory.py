"""The subtask memory: what it remembers, what it refuses, and that its journal survives every kind of cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    return memory.task, memory.calls(), memory.places(), memory.transcript(), memory.running, released


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


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(TaskError, match="too long"):
        SubtaskMemory().clear("x" * 513)


def test_a_journal_restores_everything(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    memory = swap(SubtaskMemory(path))
    before = contents(memory)
    del memory
    restored = SubtaskMemory(path)
    assert contents(restored) == before
    assert restored.cut_bytes == 0
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


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_journal_cut_or_damaged_anywhere_keeps_what_came_before(tmp_path: Path, data: st.DataObject) -> None:
    """Every record before the damage is kept, none after it is believed, and the journal goes on from there."""
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    del_me = SubtaskMemory(str(path))
    ends = [8]
    for i in range(6):
        del_me.grasped(f"cube {i}", HERE)
        ends.append(path.stat().st_size)
    del del_me
    whole = path.read_bytes()
    at = data.draw(st.integers(8, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
    else:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[at + 1 :])
    intact = max(i for i, end in enumerate(ends) if end <= at)
    memory = SubtaskMemory(str(path))
    assert list(memory.places()) == [f"cube {i}" for i in range(intact)]
    assert memory.cut_bytes == len(path.read_bytes()) - ends[intact] or path.stat().st_size == ends[intact]
    memory.grasped("after", THERE)
    del memory
    again = SubtaskMemory(str(path))
    assert again.cut_bytes == 0
    assert list(again.places())[-1] == "after"


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
    assert restored.cut_bytes == 0
