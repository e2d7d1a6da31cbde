"""The CUDA calls of the TensorRT backend, through `cuda-python`: every result is looked at, everything has an owner."""

from __future__ import annotations

import ctypes
import importlib
from contextlib import ExitStack
from typing import Any

import numpy as np

from edge.errors import PolicyError
from edge.policy.backends import Array
from edge.policy.backends.engines import Device

_ALIGNMENT = 256
"""What TensorRT asks of the addresses it is given."""


class Cuda:
    """The CUDA runtime of this process.

    Args:
        runtime: `cuda.bindings.runtime`, or what was `cuda.cudart` before.
    """

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime

    @classmethod
    def load(cls) -> Cuda:
        """Imports the bindings.

        Raises:
            PolicyError: They are not installed.
        """
        for name in ("cuda.bindings.runtime", "cuda.cudart"):
            try:
                return cls(importlib.import_module(name))
            except ImportError:
                continue
        raise PolicyError(
            "cuda-python is not installed", expected="module cuda.bindings.runtime", fix="pip install cuda-bindings"
        )

    def call(self, name: str, *arguments: Any) -> Any:
        """One call of the runtime; its result, or None.

        Raises:
            PolicyError: CUDA says it failed.
        """
        error, *results = getattr(self.runtime, name)(*arguments)
        if int(error) != 0:
            raise PolicyError(f"{name} failed", expected="cudaSuccess", got=self._told(error), fix=_fix(int(error)))
        return results[0] if results else None

    def device(self) -> Device:
        """The device that this process computes on, the first one.

        Raises:
            PolicyError: There is none, or no driver for it.
        """
        if self.call("cudaGetDeviceCount") < 1:
            raise PolicyError("there is no CUDA device", expected="one", got="none")
        found = self.call("cudaGetDeviceProperties", 0)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        return Device(name.rstrip("\0"), int(found.major), int(found.minor))

    def stream(self, owner: ExitStack) -> Any:
        """A stream of its own, which waits for no other."""
        stream = self.call("cudaStreamCreateWithFlags", self.runtime.cudaStreamNonBlocking)
        owner.callback(self.call, "cudaStreamDestroy", stream)
        return stream

    def device_memory(self, size: int, owner: ExitStack) -> int:
        """Address of `size` bytes on the device.

        Raises:
            PolicyError: There is not so much, or it lies as TensorRT cannot use it.
        """
        address = int(self.call("cudaMalloc", size))
        owner.callback(self.call, "cudaFree", address)
        if address % _ALIGNMENT:
            raise PolicyError("device memory is not aligned", expected=f"{_ALIGNMENT} bytes", got=hex(address))
        return address

    def host_memory(self, dtype: str, shape: tuple[int, ...], owner: ExitStack) -> Array:
        """An array in page-locked memory, which the device reads and writes without a copy in between.

        It must not be used after its owner is closed.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self.call("cudaHostAlloc", size, 0))
        owner.callback(self.call, "cudaFreeHost", address)
        block = (ctypes.c_byte * size).from_address(address)
        array: Array = np.frombuffer(memoryview(block), np.dtype(dtype)).reshape(shape)
        return array

    def _told(self, error: Any) -> str:
        _, text = self.runtime.cudaGetErrorString(error)
        return f"{text.decode() if isinstance(text, bytes) else text} ({int(error)})"


def _fix(error: int) -> str:
    if error == 2:  # cudaErrorMemoryAllocation
        return "free memory of the GPU: on a Jetson it is the memory of the whole machine"
    if error in (35, 100):  # cudaErrorInsufficientDriver, cudaErrorNoDevice
        return "use the processor (`--backend onnx`), or install the driver of the GPU"
    return "start again; if it stays, use the processor: --backend onnx"
