"""What this machine does at best, and what a graph asks of it: shares of the one by the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from export.graph import checked

_SIDE = 2048
_COPIED = 64 << 20


@dataclass(frozen=True)
class Limits:
    """Of so many threads.

    Attributes:
        flops: Float32 product of square matrices, operations a second.
        copied: Copy of 256 MB, bytes a second: each is read once and written once.
    """

    flops: float
    copied: float

    def __str__(self) -> str:
        return f"{self.flops / 1e9:.1f} GFLOP/s float32, {self.copied / 1e9:.1f} GB/s read and as much written"


@dataclass(frozen=True)
class Work:
    """Of one evaluation of a graph.

    Attributes:
        flops: Multiplications and additions of its convolutions and products.
        read: Bytes of the weights that those read, each as often as it is used.
    """

    flops: float
    read: float

    def shares(self, seconds: float, limits: Limits) -> str:
        """In words, of a machine at its limits."""
        return (
            f"{self.flops / seconds / limits.flops:.0%} of peak, {self.read / seconds / limits.copied:.0%} of bandwidth"
        )


def measured(threads: int = 1, *, seconds: float = 2.0, clock: Callable[[], float] = time.perf_counter) -> Limits:
    """The best tries in `seconds` each. With one thread, `time.thread_time` as the clock leaves other work out."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    a, b = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    product, source = torch.empty_like(a), torch.rand(_COPIED)
    target = torch.empty_like(source)
    multiply = _best(lambda: torch.mm(a, b, out=product), seconds, clock)
    copy = _best(lambda: target.copy_(source), seconds, clock)
    torch.set_num_threads(before)
    return Limits(2 * _SIDE**3 / multiply, 4 * _COPIED / copy)


def _best(work: Callable[[], object], seconds: float, clock: Callable[[], float]) -> float:
    best, until = np.inf, clock() + seconds
    while clock() < until:
        begin = clock()
        work()
        best = min(best, clock() - begin)
    return float(best)


def work(model: onnx.ModelProto) -> Work:
    """What an fp32 graph of fixed shapes asks for."""
    model = checked(model)
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        sizes[value.name] = tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
    constants = {tensor.name for tensor in model.graph.initializer}
    flops = read = 0.0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            image = sizes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            flops += 2.0 * np.prod(sizes[node.input[1]]) * np.prod(image[2:]) * image[0]
        elif node.op_type in ("Gemm", "MatMul"):
            flops += 2.0 * np.prod(sizes[node.output[0]]) * sizes[node.input[0]][-1]
        else:
            continue
        if node.input[1] in constants:
            read += 4.0 * np.prod(sizes[node.input[1]])
    return Work(float(flops), float(read))
