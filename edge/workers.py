"""Threads for the work of one run, kept for the next: a service does thousands of tasks.

Libraries keep something for every thread that ever called them: OpenCV 5.0 some 900 bytes for one that resizes an image
and 3 KB more for one that writes text, and does not free it when the thread ends. A thread that is used again costs
nothing. `concurrent.futures` would also reuse them, but waits at the process's end for work that never comes back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_idle: list[_Thread] = []
_lock = threading.Lock()


class Worker:
    """A piece of work on a thread of its own, as `threading.Thread` with `daemon=True`: it does not keep the process.

    Args:
        work: What to do, once. What it raises ends as in any thread, at `threading.excepthook`.
        name: The thread's name meanwhile.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self.name = name
        self._work: Callable[[], None] | None = work
        self._begun = False
        self.ended = threading.Event()

    def start(self) -> None:
        """Begins, on an idle thread if there is one; once only."""
        assert not self._begun
        self._begun = True
        with _lock:
            thread = _idle.pop() if _idle else _Thread()
        thread.give(self)

    def is_alive(self) -> bool:
        """Whether it has begun and not ended."""
        return self._begun and not self.ended.is_set()

    def run(self) -> None:
        """Does it, and lets go of it: what it is bound to is often what holds this worker. Called by the thread."""
        work, self._work = self._work, None
        assert work is not None
        work()

    def join(self, timeout: float | None = None) -> None:
        """Waits until it has ended, or for so many seconds."""
        self.ended.wait(timeout)


class _Thread(threading.Thread):
    """Does one piece of work after another. Work that hangs keeps its thread, and nobody waits for it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._given: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    def give(self, worker: Worker) -> None:
        if not self.is_alive():
            self.start()
        self._given.put(worker)

    def run(self) -> None:
        while True:
            worker = self._given.get()
            self.name = worker.name
            try:
                worker.run()  # what it raises ends this thread too
                self.name = "idle"
                with _lock:  # before the work counts as ended: who has waited for it may need a thread at once
                    _idle.append(self)
            finally:
                worker.ended.set()
            del worker  # and all that it holds, while this waits for the next
