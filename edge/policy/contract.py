"""What a policy's graph may take and give on a robot (docs/architecture.md, "Policy graph"), read from its signature.

A graph takes joints, any cameras, and a call with its goal or neither. With an axis of observations before the images'
and joints' own it takes a history, the oldest first, one period of the policy apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.errors import PolicyError
from edge.manifest import Images, Rates
from edge.policy.backends import Signature
from edge.policy.transforms import GOAL_SIZE
from edge.types import JOINTS

CALL_SIZE = 5
LONGEST = 16
"""Observations in a history at most."""


@dataclass(frozen=True)
class Contract:
    """What one graph wants.

    Attributes:
        cameras: (height, width) of the image it takes of each camera, in the graph's order.
        history: Observations it takes.
        called: Whether it takes a call and its goal.
        finishes: Whether it says that the subtask is finished.
    """

    cameras: Mapping[str, tuple[int, int]]
    history: int
    called: bool
    finishes: bool

    def inputs(self) -> Signature:
        """Type and shape of each input of such a graph."""
        lead = (1,) if self.history == 1 else (1, self.history)
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {
            name: ("uint8", (*lead, *size, 3)) for name, size in self.cameras.items()
        }
        wanted["joints"] = ("float32", (*lead, len(JOINTS)))
        if self.called:
            wanted |= {"call": ("int32", (1, CALL_SIZE)), "goal": ("float32", (1, GOAL_SIZE))}
        return wanted

    def outputs(self, rates: Rates) -> Signature:
        """Type and shape of each output of such a graph."""
        chunk = {"chunk": ("float32", (1, rates.horizon, len(JOINTS)))}
        return {**chunk, "finished": ("float32", (1, 1))} if self.finishes else chunk


def reference(images: Images) -> Contract:
    """The contract of our own policies: front and wrist, a call, no history."""
    side = images.policy or 0
    return Contract({"front": (side, side), "wrist": (side, side)}, 1, True, True)


def read_contract(inputs: Signature, outputs: Signature, rates: Rates, images: Images) -> Contract:
    """The contract that a graph keeps.

    Args:
        inputs: Of the graph.
        outputs: Of the graph.
        rates: From the manifest.
        images: From the manifest; a side of the policy's images means that it is one of our own.

    Raises:
        PolicyError: It keeps none: an input that nothing on the robot feeds, or another shape.
    """
    if images.policy is not None:
        contract = reference(images)
    else:
        joints = inputs.get("joints", ("", ()))[1]
        history = joints[1] if len(joints) == 3 else 1
        pictures = {name: shape for name, (dtype, shape) in inputs.items() if dtype == "uint8"}
        contract = Contract(
            {name: (shape[-3], shape[-2]) for name, shape in pictures.items() if len(shape) >= 4},
            history,
            "call" in inputs,
            "finished" in outputs,
        )
        if not 1 <= history <= LONGEST:
            raise PolicyError(
                "the policy graph takes too long a history", expected=f"1 to {LONGEST} observations", got=str(history)
            )
        if not contract.cameras:
            raise PolicyError(
                "the policy graph takes no image",
                expected="a camera's: uint8 (1, height, width, 3)",
                got=_listed(inputs),
                fix="a policy that sees nothing cannot tell when it is wrong: export one with a camera",
            )
    same("inputs", contract.inputs(), inputs)
    same("outputs", contract.outputs(rates), outputs)
    return contract


def same(what: str, expected: Signature, got: Signature) -> None:
    """Raises PolicyError where two signatures differ."""
    if dict(expected) != dict(got):
        fed = "noise" in got or "environment" in got
        raise PolicyError(
            f"the policy graph has other {what}",
            expected=_listed(expected),
            got=_listed(got),
            fix="nothing on the robot feeds noise or environment: export it without"
            if fed
            else "export the policy again with `python -m export policy`",
        )


def _listed(signature: Signature) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (dtype, shape) in sorted(signature.items()))
