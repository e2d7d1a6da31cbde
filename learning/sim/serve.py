"""The process of an emulated machine: physics in real time between a servo bus and two cameras, and a judge.

It is spoken to in lines: `state`, `judge`, `task <JSON>` or `quit` on standard input, one JSON line back for each. It
ends with its input.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from firmware_bridge.emulators import BusProcess
from learning.sim.model import CAMERAS, TIMESTEP_S
from learning.sim.plant import Plant, to_ticks
from learning.sim.scene import Item
from learning.sim.shared_pose import SharedPose
from learning.sim.spec import DeviceSpec, child_environment
from learning.sim.world import World
from learning.tasks import Task, judge

_PRIORITY = 40  # below the servo bus, above everything that renders or infers
_CATCH_UP_S = 0.1
"""Physics that is further behind than this lets the time slip instead of catching up."""
_GRIPPER_HOLDS = {6: {"unloading_condition": 0x0C}}
"""The gripper squeezes at full torque for as long as it holds something; as delivered it would let go after two
seconds, so its owner has taken the overload bit out."""
_WITNESS_S, _MOVED_M = 0.25, 0.005
"""The judge remembers where things were, this often, if something has moved this far."""


class CameraProcess:
    """The cameras in a process of their own: rendering never holds up physics.

    Attributes:
        urls: MJPEG address of each camera.
    """

    what = "cameras"

    def __init__(self, spec: DeviceSpec, pose: SharedPose) -> None:
        command = [sys.executable, "-m", "learning.sim.camera_server", str(pose.descriptor)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(pose.descriptor,),
            env=child_environment(),
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(spec.to_json() + "\n")
        self._process.stdin.flush()
        port = self._process.stdout.readline().strip()
        if not port:
            raise OSError(f"the cameras ended with status {self._process.wait()} before they showed anything")
        self.urls = {name: f"http://127.0.0.1:{port}/{name}" for name in CAMERAS}

    @property
    def running(self) -> bool:
        """False once the process has died."""
        return self._process.poll() is None

    def __enter__(self) -> CameraProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()


class Witness:
    """Remembers where things were, for the judge."""

    def __init__(self, world: World, spec: DeviceSpec) -> None:
        self._world, self._task = world, spec.task
        self._history: list[tuple[Item, ...]] = [world.items()]

    def look(self) -> None:
        """Remembers the objects, if one has moved since it last did."""
        now = self._world.items()
        if any(_distance(a, b) > _MOVED_M for a, b in zip(now, self._history[-1], strict=True)):
            self._history.append(now)

    def answer(self, request: str) -> dict[str, Any]:
        """To `state`, `judge` or `task`."""
        word, _, data = request.partition(" ")
        answers = {"state": self.state, "judge": self.verdict, "task": lambda: self.begin(data)}
        if word not in answers:
            return {"error": f"unknown request {request!r}; one of {', '.join(answers)}, quit"}
        return answers[word]()

    def begin(self, data: str) -> dict[str, Any]:
        """Another task from now on: JSON of `task` as in the spec, and `items` to put the same objects elsewhere."""
        asked = json.loads(data)
        self._task = Task(**{**asked["task"], "objects": tuple(asked["task"]["objects"])})
        if asked["items"] is not None:
            self._world.rearrange(tuple(Item(**item) for item in asked["items"]))
        self._history = [self._world.items()]
        return {"task": self._task.text}

    def verdict(self) -> dict[str, Any]:
        """Whether the task is done, as things are now; `done` is None without a task."""
        held, task = self._world.held(), self._task
        history = [*self._history, self._world.items()]
        return {"done": None if task is None else bool(judge(task, history, held)), "held": held}

    def state(self) -> dict[str, Any]:
        """Where everything is: metres, radians, base frame; joints in the units of `edge.types.JOINTS`."""
        return {
            "time_s": self._world.time_s,
            "items": [dataclasses.asdict(item) for item in self._world.items()],
            "held": self._world.held(),
            "pinch": dataclasses.asdict(self._world.pinch()),
            "joints": self._world.joints().tolist(),
        }


def serve(spec: DeviceSpec) -> None:
    """Runs the machine until it is told to quit, or its standard input closes, or a signal ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    world = World()
    world.reset(spec.scene)
    pose = SharedPose.create(world.model.nq)
    pose.write(world.data.qpos)
    angles, goals = world.to_radians(world.joints()), world.data.ctrl
    with (
        BusProcess(
            position=to_ticks(angles).tolist(),
            holding=to_ticks(goals).tolist(),
            wiretap=Path(spec.wiretap) if spec.wiretap else None,
            registers=_GRIPPER_HOLDS,
        ) as bus,
        CameraProcess(spec, pose) as cameras,
    ):
        ready = {"port": bus.port, "cameras": cameras.urls, "task": spec.task and spec.task.text}
        print(json.dumps(ready), flush=True)
        with contextlib.suppress(OSError):  # without the right, physics is late under load and then lets time slip
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_PRIORITY))
        run(Plant(world, bus.block), world, pose, Witness(world, spec), (bus, cameras))


def run(
    plant: Plant, world: World, pose: SharedPose, witness: Witness, parts: tuple[BusProcess, CameraProcess]
) -> None:
    """Physics against the real clock, and answers to the judge's questions between steps.

    Raises:
        SystemExit: The servo bus or the cameras have died.
    """
    requests = _lines()
    slipped_s, steps = 0.0, 0
    due = time.monotonic()
    while all(part.running for part in parts):
        plant.step()
        pose.write(world.data.qpos)
        steps += 1
        if steps % round(_WITNESS_S / TIMESTEP_S) == 0:
            witness.look()
        with contextlib.suppress(queue.Empty):
            request = requests.get_nowait()
            if request == "quit":
                return
            print(json.dumps(witness.answer(request) | {"slipped_s": round(slipped_s, 3)}), flush=True)
        due += TIMESTEP_S
        late = time.monotonic() - due
        if late > _CATCH_UP_S:
            slipped_s += late
            due += late
        time.sleep(max(0.0, -late))
    raise SystemExit(f"the {' and the '.join(part.what for part in parts if not part.running)} died: see above")


def _lines() -> queue.SimpleQueue[str]:
    """Requests as they come in on standard input; `quit` when it closes."""
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line.strip())
        requests.put("quit")

    threading.Thread(target=read, daemon=True).start()
    return requests


def _distance(a: Item, b: Item) -> float:
    return float(np.hypot(np.hypot(a.x - b.x, a.y - b.y), a.z - b.z))
