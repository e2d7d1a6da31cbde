"""A policy to export, whoever trained it: a network to compare with, a way to its graph, what it says of itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto

Inputs = dict[str, NDArray[Any]]
OPSET = 18

IMAGE, JOINTS_IN, ENVIRONMENT, CALL, GOAL, NOISE, CHUNK, FINISHED = (
    "state/camera/image",
    "state/joint/position",
    "state/environment",
    "command/subtask/call",
    "command/subtask/pose",
    "policy/noise",
    "command/joint/position",
    "state/subtask/finished",
)
JOINT_UNIT = "radians; gripper 0 closed, 1 open"


@dataclass(frozen=True)
class Port:
    """One input or output of a policy's graph.

    `kind` is the field's name for it. `scaled` says how the graph scales it, since nobody else does.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str
    unit: str
    scaled: str = ""


@dataclass(frozen=True)
class Pace:
    """How its chunks are meant to be followed: targets a second, targets until the next chunk, targets sent ahead."""

    target_hz: float = 20.0
    replan_every: int = 8
    lead: int = 2


@dataclass(frozen=True)
class Source:
    """A policy that can be exported.

    Attributes:
        name: What it is, for a person.
        reference: The network in PyTorch: tensors in the order of `inputs` to a tuple in the order of `outputs`.
        inputs: What the graph takes.
        outputs: What it gives.
        graph: Makes the fp32 graph.
        case: One random input.
        evaluations: How often the graph evaluates its network.
        pace: How to follow it.
        notes: What a person should know before it moves an arm.
        training: What made the checkpoint.
    """

    name: str
    reference: Callable[..., Sequence[Any]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    graph: Callable[[], ModelProto]
    case: Callable[[np.random.Generator], Inputs]
    evaluations: int
    parameters: int
    pace: Pace = Pace()
    notes: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)


def to_onnx(module: Any, example: Sequence[Any], inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """A module as an ONNX graph with the static shapes of the example's tensors."""
    import torch

    # It says at every export that torchvision, which nothing here uses, is not installed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    program = torch.onnx.export(
        module, tuple(example), input_names=list(inputs), output_names=list(outputs), opset_version=OPSET,
        dynamo=True, verbose=False,
    )  # fmt: skip
    assert program is not None
    model: ModelProto = program.model_proto
    _forget_where(model)
    return model


def _forget_where(model: ModelProto) -> None:
    """Takes out what the exporter wrote about our source: paths, so that no two machines would agree."""
    for owner in (model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del owner.metadata_props[:]
