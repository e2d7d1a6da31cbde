"""The policy on the robot: an observation and a call in, a chunk of joint targets out."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
from numpy.typing import NDArray

from edge.api import RobotApi
from edge.errors import PolicyError
from edge.manifest import Bundle, Images, PolicyPart, Rates
from edge.policy.backends import Array, Backend, open_backend
from edge.policy.contract import read_contract, same
from edge.policy.history import History
from edge.policy.transforms import fitted, goal_vector
from edge.types import Chunk, Observation, Pose

CAMERAS = ("front", "wrist")


class Policy:
    """Runs the policy's graph (docs/architecture.md, "Policy graph").

    Args:
        backend: The loaded graph.
        rates: Target rate and horizon.
        images: Image sizes.
        part: What the manifest says about the graph, or None to trust the graph.

    Raises:
        PolicyError: The graph's inputs or outputs are not those of the contract or of the manifest.
    """

    def __init__(self, backend: Backend, rates: Rates, images: Images, part: PolicyPart | None = None) -> None:
        self._backend, self._rates = backend, rates
        self._at_work = threading.Lock()
        self.last_ms = math.nan
        """Duration of the last `infer`, milliseconds."""
        self.contract = read_contract(backend.inputs, backend.outputs, rates, images)
        """What the graph takes and gives."""
        self._history: History[dict[str, Array]] = History(self.contract.history, rates.period_ns)
        if part is not None:
            same("inputs", {t.name: (t.dtype, t.shape) for t in part.inputs}, backend.inputs)
            same("outputs", {t.name: (t.dtype, t.shape) for t in part.outputs}, backend.outputs)

    @classmethod
    def load(cls, bundle: Bundle, api: RobotApi, *, threads: int = 1, backend: str = "auto") -> Policy:
        """Loads the policy of a bundle and runs it once, so that the first inference on the robot is not the slow one.

        Raises:
            PolicyError: See the class; also when the backend is missing or the file does not load.
        """
        manifest = bundle.manifest
        opened = open_backend(bundle.file(manifest.policy.file), threads, backend)
        try:
            policy = cls(opened, manifest.rates, manifest.images, manifest.policy)
            first = {name: np.zeros(shape, dtype) for name, (dtype, shape) in opened.inputs.items()}
            if policy.contract.called:
                first["call"] = api.encode(next(api.calls()))[None]
            opened.run(first)
        except BaseException:
            opened.close()
            raise
        return policy

    def close(self) -> None:
        """Gives back what the backend allocated, unless a thread hangs in it: that one still uses it. Twice is once."""
        if self._at_work.acquire(blocking=False):
            try:
                self._backend.close()
            finally:
                self._at_work.release()

    @property
    def backend_name(self) -> str:
        """What runs the graph."""
        return self._backend.name

    @property
    def backend_note(self) -> str:
        """Why it is this backend and not a faster one; may be empty."""
        return self._backend.note

    def begin(self) -> None:
        """Forgets what was seen: the next observation is the first of a task."""
        self._history.clear()

    def see(self, observation: Observation) -> None:
        """Takes an observation between two inferences; a policy with a history wants one in every period.

        Raises:
            PolicyError: See `infer`.
        """
        self._history.add(observation.time_ns, self._seen(observation))

    def infer(self, observation: Observation, call_tokens: NDArray[np.int32], goal: Pose | None) -> Chunk:
        """A chunk for one observation.

        The targets are returned as the graph gave them; the control loop checks them before it follows.

        Args:
            observation: Frames of the contract's cameras, and the measured joints (6,).
            call_tokens: int32 (5,) from `RobotApi.encode`; a policy without calls does not look at it.
            goal: Remembered pinch pose of the call, or None; likewise.

        Raises:
            PolicyError: A camera is missing from the observation, or an image is not RGB.
        """
        begin = time.perf_counter()
        if self.contract.history == 1:
            inputs = {name: value[None] for name, value in self._seen(observation).items()}
        else:
            self.see(observation)
            moments = self._history.moments()
            inputs = {name: np.stack([moment[name] for moment in moments])[None] for name in moments[0]}
        if self.contract.called:
            inputs["call"] = np.asarray(call_tokens, np.int32)[None]
            inputs["goal"] = goal_vector(goal)[None]
        with self._at_work:
            outputs = self._backend.run(inputs)
        self.last_ms = (time.perf_counter() - begin) * 1e3
        joints = outputs["chunk"][0].astype(np.float64)
        finished = float(outputs["finished"][0, 0]) if self.contract.finishes else 0.0
        return Chunk(observation.time_ns - self._rates.lead_ns, self._rates.period_ns, joints, finished)

    def _seen(self, observation: Observation) -> dict[str, Array]:
        """One observation as the graph takes it, without leading axes."""
        seen: dict[str, Array] = {
            name: fitted(self._frame(observation, name), *size) for name, size in self.contract.cameras.items()
        }
        seen["joints"] = np.asarray(observation.joints, np.float32)
        return seen

    def _frame(self, observation: Observation, camera: str) -> NDArray[np.uint8]:
        frame = observation.frames.get(camera)
        if frame is None:
            got = ", ".join(observation.frames) or "no camera"
            expected = ", ".join(self.contract.cameras)
            raise PolicyError(f"the observation has no {camera} image", expected=expected, got=got)
        return frame.image
