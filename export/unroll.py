"""A sampler unrolled into one static graph: encoder once, the denoiser's nodes at every step over the same weights.

inputs ─► encoder ─► condition ──┬─────────────┬─── … ───┐
                                 ▼             ▼         ▼
noise ─────────────► x ─► denoiser ─► x ─► denoiser … ─► x ─► finish ─► chunk
                           level 1          level 2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.errors import ExportError
from export.schedule import Sampler

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pieces:
    """Three graphs of one policy, each with static shapes.

    Attributes:
        encoder: The policy's inputs to the conditions, under the denoiser's names, and any other outputs of the policy.
        denoiser: `x`, `level` and the conditions to `out`.
        finish: `x` to `chunk`.
        levels: What the denoiser's `level` is at each step.
        noise: (draws, …) the draws of noise, each of the shape of `x` less its batch axis, or None: the policy gets an
            input `noise` (1, draws, …).
    """

    encoder: ModelProto
    denoiser: ModelProto
    finish: ModelProto
    levels: Sequence[Floats]
    noise: Floats | None


def unroll(pieces: Pieces, sampler: Sampler) -> ModelProto:
    """The policy as one graph.

    Raises:
        ExportError: It would not fit into one file.
    """
    join = _Join(pieces.encoder)
    shape = _shape(pieces.denoiser, "x")
    noise = join.noise(pieces.noise, sampler.draws, shape)
    conditions = [value.name for value in pieces.denoiser.graph.input if value.name not in ("x", "level")]
    join.copy(pieces.encoder, "encoder/", {value.name: value.name for value in pieces.encoder.graph.input})
    join.weights(pieces.denoiser, "denoiser/")
    x, drawn = noise[0], 1
    for index, step in enumerate(sampler.steps):
        at = f"step{index}/"
        level = join.constant(at + "level", pieces.levels[index])
        given = {"x": x, "level": level} | {name: "encoder/" + name for name in conditions}
        out = join.copy(pieces.denoiser, at, given, shared="denoiser/")["out"]
        clean = join.mix(at + "clean", [(step.a, x), (step.b, out)])
        if sampler.clip is not None:
            clean = join.clip(at + "clipped", clean, sampler.clip)
        terms = [(step.c, clean), (step.d, x), (step.e, out)]
        if step.s > 0:
            terms.append((step.s, noise[drawn]))
            drawn += 1
        x = join.mix(at + "next", terms)
    made = join.copy(pieces.finish, "finish/", {"x": x})
    return join.model([*pieces.finish.graph.output], made, [*pieces.encoder.graph.output], conditions)


class _Join:
    """A graph under construction."""

    def __init__(self, first: ModelProto) -> None:
        self._first = first
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._inputs = list(first.graph.input)

    def noise(self, draws: Floats | None, count: int, shape: tuple[int, ...]) -> list[str]:
        """Names of the draws: constants, or slices of an input."""
        if draws is not None:
            return [self.constant(f"noise/{index}", draw[None]) for index, draw in enumerate(draws[:count])]
        self._inputs.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, (1, count, *shape[1:])))
        names = [f"noise/{index}" for index in range(count)]
        for index, name in enumerate(names):
            at = self.constant(f"{name}/at", np.array(index, np.int64))
            self._nodes.append(helper.make_node("Gather", ["noise", at], [name], axis=1))
        return names

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def mix(self, name: str, terms: Sequence[tuple[float, str]]) -> str:
        """Σ factor · value, without the terms that are nothing."""
        parts = []
        for index, (factor, value) in enumerate((factor, value) for factor, value in terms if factor != 0):
            if factor != 1:
                number = self.constant(f"{name}/factor{index}", np.array(factor, np.float32))
                self._nodes.append(helper.make_node("Mul", [value, number], [f"{name}/part{index}"]))
                value = f"{name}/part{index}"
            parts.append(value)
        total = parts[0]
        for index, part in enumerate(parts[1:]):
            self._nodes.append(helper.make_node("Add", [total, part], [f"{name}/sum{index}"]))
            total = f"{name}/sum{index}"
        return total

    def clip(self, name: str, value: str, bound: float) -> str:
        low = self.constant(f"{name}/low", np.array(-bound, np.float32))
        high = self.constant(f"{name}/high", np.array(bound, np.float32))
        self._nodes.append(helper.make_node("Clip", [value, low, high], [name]))
        return name

    def weights(self, piece: ModelProto, prefix: str) -> None:
        """A piece's constants, under a prefix."""
        for tensor in piece.graph.initializer:
            copy = TensorProto()
            copy.CopyFrom(tensor)
            copy.name = prefix + tensor.name
            self._constants.append(copy)

    def copy(self, piece: ModelProto, prefix: str, given: Mapping[str, str], shared: str = "") -> dict[str, str]:
        """Adds a piece's nodes under a prefix; returns its outputs' names by the piece's own.

        Args:
            piece: The graph.
            prefix: What its own names begin with here.
            given: Its inputs, by what they are here.
            shared: Prefix under which its constants are already here; they are added under its own where empty.
        """
        if not shared:
            self.weights(piece, prefix)
        names = {"": ""} | dict(given)
        names |= {tensor.name: (shared or prefix) + tensor.name for tensor in piece.graph.initializer}
        for node in piece.graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = prefix + node.name
            del copy.input[:], copy.output[:]
            copy.input.extend(names.get(name, prefix + name) for name in node.input)
            copy.output.extend(prefix + name if name else "" for name in node.output)
            self._nodes.append(copy)
        return {value.name: names.get(value.name, prefix + value.name) for value in piece.graph.output}

    def model(
        self,
        last: list[onnx.ValueInfoProto],
        made: Mapping[str, str],
        first: list[onnx.ValueInfoProto],
        used: list[str],
    ) -> ModelProto:
        """The whole graph: outputs of the last piece, then those of the first that no piece takes."""
        outputs = [(value, made[value.name]) for value in last]
        outputs += [(value, "encoder/" + value.name) for value in first if value.name not in used]
        for value, name in outputs:
            self._nodes.append(helper.make_node("Identity", [name], [value.name], name=f"output/{value.name}"))
        size = sum(tensor.ByteSize() for tensor in self._constants)
        if size >= 2**31 - 2**24:
            got = f"{size / 1e9:.1f} GB of weights"
            raise ExportError("the policy does not fit into one ONNX file", expected="less than 2 GB", got=got)
        graph = helper.make_graph(self._nodes, "policy", self._inputs, [value for value, _ in outputs], self._constants)
        model = helper.make_model(graph, ir_version=self._first.ir_version, opset_imports=self._first.opset_import)
        model.producer_name = self._first.producer_name
        return model


def _shape(model: ModelProto, name: str) -> tuple[int, ...]:
    value = next(value for value in model.graph.input if value.name == name)
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
