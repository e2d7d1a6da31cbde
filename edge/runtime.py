"""A run in real time: the only place that wires planner, policy, core and cameras, on threads and a real clock.

main thread      display, figures of the loop, the person's Ctrl-C; brings the arm to rest whatever happens
policy thread    every `replan_every` targets: observation → executive → chunk → control loop
planner thread   image, task, transcript → call, while the policy thread waits or the arm finishes its chunk
core (C++)       control loop at 1 kHz and the servo bus; takes no lock of ours and no GIL
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edge.api import RobotApi, Transcript
from edge.config import RunConfig
from edge.errors import EdgeError, PlannerError, PolicyError
from edge.executive import Executive, State
from edge.flat import Flat
from edge.machine import Machine
from edge.motion import Motion
from edge.observer import Observer
from edge.policy.transforms import square
from edge.run_checks import check_back, check_ended, check_fault
from edge.run_log import RunLog
from edge.types import Chunk, Frame
from edge.workers import Worker

POLICY_GONE_S = 10.0
"""A policy that has given nothing for so long ends the run. The arm rests from the end of its last chunk on. So does a
planner, so long after its budget."""
LAST_ANSWER_S = 5.0
"""How long a run that is over waits for what its threads are at, beyond the planner's budget."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: `finished` if the planner said the task is done, else why not."""

    finished: bool
    reason: str


@dataclass(frozen=True)
class _Planned:
    plan: Any = None
    problem: PlannerError | None = None


class Run:
    """One task on an opened machine.

    Args:
        machine: The opened parts.
        api: The robot API.
        config: The run's configuration.
        log: Where everything is written.
        motion: The joints over time.
    """

    def __init__(self, machine: Machine, api: RobotApi, config: RunConfig, log: RunLog, motion: Motion) -> None:
        self._machine, self._config, self._log = machine, config, log
        manifest = machine.bundle.manifest
        self._image_size = manifest.images.planner
        self._step_ns = (config.policy.replan_every or manifest.rates.replan_every) * manifest.rates.period_ns
        self._period_ns = manifest.rates.period_ns
        self._last_answer_s = config.budgets.plan_s + LAST_ANSWER_S
        self._planned: Executive | None = None
        self._executive: Executive | Flat
        if machine.planner is None:
            self._executive = Flat(machine.policy, machine.memory, budgets=config.budgets, numbers=manifest.monitor)
        else:
            self._executive = self._planned = Executive(
                api,
                machine.policy,
                machine.memory,
                pinch_pose=machine.arm.pinch_pose,
                budgets=config.budgets,
                numbers=manifest.monitor,
                ready=manifest.ready,
            )
        self._stop = threading.Event()
        self._stop_reason = ""
        self._observer = Observer(machine, config, log, motion, self._stop.wait)
        self._problem: BaseException | None = None
        self._logged = 0
        self._refusal = ""
        self._asked_ns: int | None = None
        """When the planner was asked what it has not answered yet."""
        self._questions: queue.Queue[tuple[Frame, str, Transcript] | None] = queue.Queue()
        self._answers: queue.Queue[_Planned] = queue.Queue()
        self._acted_ns = 0

    def stop(self, reason: str) -> None:
        """Asks the run to end; the arm comes to rest. Safe from a signal handler and any thread."""
        self._stop_reason = self._stop_reason or reason
        self._stop.set()

    def execute(self, task: str | None, watch: Callable[[], None]) -> Ended:
        """Does a task; returns when it ended and the arm is at rest.

        Args:
            task: What the person wants, in words; None goes on with the task in the machine's memory.
            watch: Called about ten times a second from this thread.

        Raises:
            EdgeError: What stopped the run; the arm is at rest by then. A StuckError: a model is still in use.
        """
        machine = self._machine
        if self._stop.is_set():  # said before the arm was switched on: it stays off, and the task was not begun
            self._log.write("failed", text=self._stop_reason)
            return Ended(False, self._stop_reason)
        self._check_log()
        threads = [
            Worker(partial(self._guard, work), name)
            for name, work in (("policy", self._act), ("planner", self._plan))
            if name == "policy" or machine.planner is not None
        ]
        machine.driver.start()
        try:
            if task is None:
                self._executive.resume(time.monotonic_ns())
            else:
                self._executive.start(task, time.monotonic_ns())
            self._write_events()
            self._acted_ns = time.monotonic_ns()
            for thread in threads:
                thread.start()
            while threads[0].is_alive() and not self._stop.is_set():
                threads[0].join(0.1)
                watch()
                self._check_models(threads[0])
                self._check_log()
        except EdgeError as problem:
            self.stop(problem.what)
            raise
        finally:
            self.stop("stopped")
            self._questions.put(None)
            try:
                machine.driver.stop()  # comes to rest first, then torque off unless it is to be kept
                torque = machine.driver.snapshot()["torque"]
                self._wait_for(threads, watch)
                if torque not in ("off", "kept on"):
                    self._log.write("warning", text=f"the motors may hold their pose: torque {torque}")
                watch()
            finally:  # a terminal that is gone may be what failed
                self._conclude(threads)
        if self._problem is not None:
            raise self._problem
        return Ended(self._executive.state is State.FINISHED, self._executive.reason)

    # --- policy thread ----------------------------------------------------------------------------------------------

    def _act(self) -> None:
        executive = self._executive
        due = time.monotonic_ns()
        while not executive.over and not self._stop.is_set():
            self._acted_ns = time.monotonic_ns()
            if self._planned is not None and self._planned.needs_plan:
                self._take_plan(self._planned, timeout_s=self._step_ns / 1e9)
                due = time.monotonic_ns()
            observation = None if executive.needs_plan else self._observer.observe()
            if observation is not None:
                chunk = executive.act(observation, time.monotonic_ns())
                self._write_events()
                if chunk is not None and not self._stop.is_set():  # it may come from a policy that hung until now
                    self._offer(chunk)
            self._write_events()
            check_fault(self._machine)
            if not executive.needs_plan:
                due = max(due + self._step_ns, time.monotonic_ns())
                self._wait_until(due)

    def _wait_until(self, due_ns: int) -> None:
        """Waits for the next step; a policy with a history is shown what there is in every period until then."""
        while self._machine.policy.contract.history > 1 and not self._stop.is_set():
            left_ns = due_ns - time.monotonic_ns()
            if left_ns <= self._period_ns:
                break
            # Counted back from the step, so that the history meets the moments that the policy wants.
            self._stop.wait((left_ns % self._period_ns or self._period_ns) / 1e9)
            if (between := self._observer.observe()) is not None:
                self._machine.policy.see(between)
        self._stop.wait(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))

    def _take_plan(self, executive: Executive, timeout_s: float) -> None:
        """Asks the planner once, from an image newer than the end of the last call, and takes its answer if it came."""
        if self._asked_ns is None:
            frames = self._observer.frames()
            if frames is None or frames["front"].time_ns <= executive.events[-1].time_ns:
                self._stop.wait(0.01)
                return
            self._questions.put((frames["front"], executive.task, executive.transcript))
            self._asked_ns = time.monotonic_ns()
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return
        self._asked_ns = None
        if answer.problem is not None:
            executive.refuse_plan(f"{answer.problem.what}: {answer.problem.got}", time.monotonic_ns())
        else:
            executive.give_plan(answer.plan.call, time.monotonic_ns())
        self._write_events()

    def _offer(self, chunk: Chunk) -> None:
        age_ms = (time.monotonic_ns() - chunk.start_ns) / 1e6
        if self._machine.loop.snapshot()["at_rest"]:
            # Nothing moved since the picture: the chunk is as good as new, and its first targets are not to be skipped.
            chunk = replace(chunk, start_ns=time.monotonic_ns())
        offer = self._machine.loop.offer(chunk)
        self._log.write(
            "chunk",
            accepted=bool(offer),
            id=offer.chunk_id,
            start_ns=chunk.start_ns,
            age_ms=age_ms,
            infer_ms=self._machine.policy.last_ms,
            finished=chunk.finished,
        )
        if offer.reason != self._refusal and not offer:  # the same again is counted, not said again
            self._log.write("warning", text=f"chunk refused: {offer.reason}")
        self._refusal = offer.reason

    # --- planner thread ---------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        planner = self._machine.planner
        while planner is not None and (question := self._questions.get()) is not None:
            frame, task, transcript = question
            begin = time.perf_counter()
            try:
                image = square(frame.image, self._image_size)
                plan = planner.next_call(image, task, transcript)
            except PlannerError as problem:
                self._answers.put(_Planned(problem=problem))
                continue
            self._log.write(
                "plan",
                text=plan.raw_text,
                ms=(time.perf_counter() - begin) * 1e3,
                encode_ms=plan.encode_ms,
                decode_ms=plan.decode_ms,
                tokens=plan.tokens,
            )
            self._answers.put(_Planned(plan))

    # --- main thread ------------------------------------------------------------------------------------------------

    def _check_models(self, policy: Worker) -> None:
        if not policy.is_alive():
            return
        now_ns, asked_ns = time.monotonic_ns(), self._asked_ns
        check_back(PolicyError, "policy", now_ns - self._acted_ns - self._step_ns, POLICY_GONE_S)
        if asked_ns is not None:
            check_back(PlannerError, "planner", now_ns - asked_ns, self._config.budgets.plan_s + POLICY_GONE_S)

    def _check_log(self) -> None:
        if self._log.problem is not None:
            raise self._log.problem

    def _wait_for(self, threads: list[Worker], watch: Callable[[], None]) -> None:
        end = time.monotonic() + self._last_answer_s
        for thread in threads:
            while thread.is_alive() and time.monotonic() < end:
                thread.join(0.1)
                watch()

    def _conclude(self, threads: list[Worker]) -> None:
        try:
            try:
                self._executive.stop(self._stop_reason, time.monotonic_ns())
            finally:  # the journal's disk may be what failed
                self._write_events()
        finally:
            check_ended(threads, self._last_answer_s, self._stop_reason)

    # --- all threads ------------------------------------------------------------------------------------------------

    def _guard(self, work: Callable[[], None]) -> None:
        """Runs a thread's work; whatever goes wrong ends the run, and the main thread brings the arm to rest."""
        try:
            work()
        except BaseException as problem:
            self._problem = self._problem or problem
            if not isinstance(problem, EdgeError):
                self._log.write("trace", text=traceback.format_exc())
            self.stop(str(problem).splitlines()[0] if str(problem) else type(problem).__name__)

    def _write_events(self) -> None:
        events = self._executive.events
        for event in events[self._logged :]:
            self._log.write(event.kind, event.time_ns, text=event.text, **event.data)
        self._logged = len(events)
