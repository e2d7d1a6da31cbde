"""What the policy and the planner are shown: the cameras' frames, and the joints of the same moment."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.config import RunConfig
from edge.errors import CameraError
from edge.machine import Machine
from edge.motion import Motion
from edge.run_log import RunLog
from edge.types import Frame, Observation


class Observer:
    """Looks for one thread.

    Args:
        machine: The opened parts; the arm is held while a camera shows nothing new.
        config: How long a camera may show nothing new.
        log: Where it is written that one does, and that it is over.
        motion: The joints over time.
        wait: Waits for so many seconds, less if the run ends.
    """

    def __init__(
        self, machine: Machine, config: RunConfig, log: RunLog, motion: Motion, wait: Callable[[float], object]
    ) -> None:
        self._machine, self._log, self._motion, self._wait = machine, log, motion, wait
        self._gone_ns = config.cameras.gone_s * 1e9
        self._blind_since: int | None = None

    def observe(self) -> Observation | None:
        """Frames and joints of one moment, that of the older frame: a camera's delay is not taken for motion.

        Raises:
            CameraError: As of `frames`.
        """
        frames = self.frames()
        if frames is None:
            return None
        time_ns = min(frame.time_ns for frame in frames.values())
        joints = self._motion.measured_at(time_ns)
        if joints is None:  # the arm was started after this frame
            time_ns, joints = time.monotonic_ns(), self._machine.loop.snapshot()["measured"]
        return Observation(time_ns, frames, joints)

    def frames(self) -> dict[str, Frame] | None:
        """The newest frame of every camera; None while one shows nothing new, and then the arm holds.

        Raises:
            CameraError: It stayed so for too long.
        """
        try:
            frames = {name: camera.latest() for name, camera in self._machine.cameras.items()}
        except CameraError as problem:
            now_ns = time.monotonic_ns()
            if self._blind_since is None:
                self._blind_since = now_ns
                self._machine.loop.hold()
                self._log.write("hold", text=f"{problem.what}; {problem.got}")
            elif now_ns - self._blind_since > self._gone_ns:
                raise
            self._wait(0.05)
            return None
        if self._blind_since is not None:
            self._blind_since = None
            self._log.write("warning", text="all cameras show something new again")
        return frames
