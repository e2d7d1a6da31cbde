"""Whether the watchdog may be fed: a pure judgement of how old every part's last sign of life is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.config import RunConfig
from edge.runtime import POLICY_GONE_S


class Phase(Enum):
    """What the service is doing."""

    IDLE = "idle"
    RUNNING = "running"
    """A task is being done; from switching the arm on until it is at rest."""
    CLOSING = "closing"
    """The arm is at rest and off; the run directory is being completed."""
    FAULT = "fault"
    """Something stopped the arm. No task is taken before somebody says `clear`."""


@dataclass(frozen=True)
class Signs:
    """When each part last showed that it works, seconds on CLOCK_MONOTONIC.

    Attributes:
        phase: What the service is doing.
        main: The main thread came round.
        steps: The loop's count of steps was seen to grow; None while the arm is off.
        camera: The newest frame of the camera that is farthest behind; None while no task runs.
        policy: A decision of policy or planner, or a hold with its reason; None while no task runs.
    """

    phase: Phase
    main: float
    steps: float | None = None
    camera: float | None = None
    policy: float | None = None


@dataclass(frozen=True)
class Limits:
    """How old each sign may be, seconds.

    A run ends by itself, with a typed error, when a camera is gone or a plan does not come. These limits lie beyond
    what it allows itself: they mean that it did not end.
    """

    idle: float = 5.0
    running: float = 20.0
    """Of the main thread: at its end a run waits for the arm to rest and for the planner's last answer."""
    closing: float = 60.0
    steps: float = 1.0
    camera: float = 15.0
    policy: float = 30.0

    @classmethod
    def of(cls, config: RunConfig) -> Limits:
        """As the configuration's budgets ask for."""
        plan_s, gone_s = config.budgets.plan_s, config.cameras.gone_s
        policy_s = max(gone_s, plan_s + POLICY_GONE_S, plan_s * (1 + config.budgets.plan_attempts))
        return cls(running=plan_s + 10, camera=gone_s + 5, policy=policy_s + 5)


def unsound(signs: Signs, now: float, limits: Limits) -> str:
    """What is too old, in words; empty if nothing is."""
    main = {Phase.CLOSING: limits.closing, Phase.RUNNING: limits.running}.get(signs.phase, limits.idle)
    rows = [("the main thread", signs.main, main)]
    if signs.phase is Phase.RUNNING:
        rows += [
            (name, since, limit)
            for name, since, limit in (
                ("the control loop", signs.steps, limits.steps),
                ("a camera", signs.camera, limits.camera),
                ("the policy", signs.policy, limits.policy),
            )
            if since is not None
        ]
    late = [f"{name} gave no sign for {now - since:.1f} s" for name, since, limit in rows if now - since > limit]
    return "; ".join(late)
