"""The policy on the robot: an observation and a call in, a chunk of joint targets out."""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from edge.api import RobotApi
from edge.errors import PolicyError
from edge.manifest import Bundle, Images, PolicyPart, Rates
from edge.policy.backends import Array, Backend, Signature, open_backend
from edge.policy.transforms import GOAL_SIZE, goal_vector, square
from edge.types import JOINTS, Chunk, Observation, Pose

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
        self._backend, self._rates, self._size = backend, rates, images.policy
        self.last_ms = math.nan
        """Duration of the last `infer`, milliseconds."""
        _same("inputs", expected_inputs(images), backend.inputs)
        _same("outputs", expected_outputs(rates), backend.outputs)
        if part is not None:
            _same("inputs", {t.name: (t.dtype, t.shape) for t in part.inputs}, backend.inputs)
            _same("outputs", {t.name: (t.dtype, t.shape) for t in part.outputs}, backend.outputs)

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
            first["call"] = api.encode(next(api.calls()))[None]
            opened.run(first)
        except BaseException:
            opened.close()
            raise
        return policy

    def close(self) -> None:
        """Gives back what the backend allocated. Twice is once."""
        self._backend.close()

    @property
    def backend_name(self) -> str:
        """What runs the graph."""
        return self._backend.name

    @property
    def backend_note(self) -> str:
        """Why it is this backend and not a faster one; may be empty."""
        return self._backend.note

    def infer(self, observation: Observation, call_tokens: NDArray[np.int32], goal: Pose | None) -> Chunk:
        """A chunk for one observation.

        The targets are returned as the graph gave them; the control loop checks them before it follows.

        Args:
            observation: Frames of `front` and `wrist`, and the measured joints (6,).
            call_tokens: int32 (5,) from `RobotApi.encode`.
            goal: Remembered pinch pose of the call, or None.

        Raises:
            PolicyError: A camera is missing from the observation, or an image is not RGB.
        """
        begin = time.perf_counter()
        inputs: dict[str, Array] = {name: square(self._frame(observation, name), self._size)[None] for name in CAMERAS}
        inputs["joints"] = np.asarray(observation.joints, np.float32)[None]
        inputs["call"] = np.asarray(call_tokens, np.int32)[None]
        inputs["goal"] = goal_vector(goal)[None]
        outputs = self._backend.run(inputs)
        self.last_ms = (time.perf_counter() - begin) * 1e3
        joints = outputs["chunk"][0].astype(np.float64)
        return Chunk(
            observation.time_ns - self._rates.lead_ns, self._rates.period_ns, joints, float(outputs["finished"][0, 0])
        )

    @staticmethod
    def _frame(observation: Observation, camera: str) -> NDArray[np.uint8]:
        frame = observation.frames.get(camera)
        if frame is None:
            got = ", ".join(observation.frames) or "no camera"
            raise PolicyError(f"the observation has no {camera} image", expected=", ".join(CAMERAS), got=got)
        return frame.image


def expected_inputs(images: Images) -> Signature:
    """Type and shape of each input of the policy graph."""
    picture = ("uint8", (1, images.policy, images.policy, 3))
    joints = ("float32", (1, len(JOINTS)))
    return {
        "front": picture,
        "wrist": picture,
        "joints": joints,
        "call": ("int32", (1, 5)),
        "goal": ("float32", (1, GOAL_SIZE)),
    }


def expected_outputs(rates: Rates) -> Signature:
    """Type and shape of each output of the policy graph."""
    return {"chunk": ("float32", (1, rates.horizon, len(JOINTS))), "finished": ("float32", (1, 1))}


def _same(what: str, expected: Signature, got: Signature) -> None:
    if dict(expected) != dict(got):
        raise PolicyError(
            f"the policy graph has other {what}",
            expected=_listed(expected),
            got=_listed(got),
            fix="export the policy again with `python -m export policy`",
        )


def _listed(signature: Signature) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (dtype, shape) in sorted(signature.items()))
