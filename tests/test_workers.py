"""Threads that are used again: the same for one piece of work after the other, others at the same time."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edge.workers import Worker


def _do(work: Callable[[], None], name: str = "work") -> Worker:
    worker = Worker(work, name)
    worker.start()
    return worker


def _ident() -> int:
    seen: list[int] = []
    _do(lambda: seen.append(threading.get_ident())).join(10)
    return seen[0]


def _wait(go: threading.Event) -> None:
    assert go.wait(60)


def test_one_after_the_other_is_done_on_the_same_thread() -> None:
    first = _ident()
    assert {_ident() for _ in range(1000)} == {first}


def test_two_at_once_are_two_threads_with_their_names() -> None:
    together, names = threading.Barrier(2, timeout=10), set()

    def work() -> None:
        together.wait()
        names.add((threading.get_ident(), threading.current_thread().name))

    for worker in [_do(work, "policy"), _do(work, "planner")]:
        worker.join(10)
    assert {name for _, name in names} == {"policy", "planner"}
    assert len({ident for ident, _ in names}) == 2


def test_it_is_alive_from_its_start_to_its_end() -> None:
    go = threading.Event()
    worker = Worker(lambda: _wait(go), "work")
    assert not worker.is_alive()
    worker.start()
    worker.join(0.01)
    assert worker.is_alive()
    go.set()
    worker.join(10)
    assert not worker.is_alive()


def test_work_that_hangs_keeps_its_thread() -> None:
    go = threading.Event()
    hung = _do(lambda: _wait(go))
    seen = {_ident() for _ in range(10)}
    assert len(seen) == 1
    assert hung.is_alive()
    go.set()
    hung.join(10)


def test_what_it_raises_is_told_as_of_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: told.append(f"{what.thread.name}: {what.exc_value}"))

    def fail() -> None:
        raise ValueError("not today")

    worker = _do(fail, "policy")
    worker.join(10)
    assert not worker.is_alive()
    assert _ident()  # the next has a thread
    for thread in threading.enumerate():
        if thread.name == "policy":
            thread.join(10)
    assert told == ["policy: not today"]


def test_nothing_of_the_work_is_kept() -> None:
    class Held:
        def __call__(self) -> None:
            pass

    held = Held()
    gone = weakref.ref(held)
    worker = _do(held)
    worker.join(10)
    del held
    _ident()  # the thread has come round
    assert gone() is None  # at once, without the collector, though the worker is still here
    assert not worker.is_alive()


class _Heap(ctypes.Structure):
    """`struct mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "a", "b", "c", "d", "e", "f", "in_use", "free", "top")]


def test_opencv_keeps_nothing_of_a_thousand_runs() -> None:
    """It keeps some bytes of every thread that has called it: with threads of their own these are 0.9 MB."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("the C library is not glibc 2.33 or newer")
    library.mallinfo2.restype = _Heap
    page = np.zeros((240, 320, 3), np.uint8)

    def caption() -> None:
        cv2.putText(cv2.resize(page, (160, 120)), "text", (5, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (1, 2, 3))

    def in_use_after(runs: int) -> int:
        for _ in range(runs):
            _do(caption).join(10)
        return int(library.mallinfo2().in_use)

    before = in_use_after(100)
    assert in_use_after(1000) - before < 200_000
