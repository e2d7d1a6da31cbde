# ruff: noqa: N801, N802, N815, N818 - names of CUDA
"""`cuda.bindings.runtime` without a GPU: memory, streams, graphs; no kinder than the device.

Device memory has addresses that nobody can read. Work on a stream is done when the stream is waited for, not before.
An address that was freed, that is not the device's, or that is too short is an illegal access, after which every call
fails, as on a GPU.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

Work = Callable[[], None]


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInvalidDevice = 101
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1
    cudaStreamCaptureModeRelaxed = 2


class IllegalAccess(Exception):
    """What would be one on the device."""


class Handle:
    """An opaque object of the runtime; its number is its address."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __int__(self) -> int:
        return self._number


@dataclass
class Stream:
    waiting: list[Work] = field(default_factory=list)
    recording: list[Work] | None = None
    broken: bool = False


E = cudaError_t
_FIRST = 0x7F00_0000_0000


class CudaStandIn:
    """One device. Its methods are the module's functions; `fail_at` makes the n-th call from now fail."""

    cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode = cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode
    cudaStreamNonBlocking = 1

    def __init__(self, name: str = "Orin", major: int = 8, minor: int = 7) -> None:
        self.name, self.major, self.minor = name, major, minor
        self.device: dict[int, bytearray] = {}
        self.host: dict[int, ctypes.Array[ctypes.c_byte]] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.calls: list[str] = []
        self.sticky = E.cudaSuccess
        self.fail_at: int | None = None
        self.misaligned = 0
        self._next = _FIRST

    def alive(self) -> dict[str, int]:
        """What has not been given back."""
        kinds = ("device", "host", "streams", "graphs", "executables")
        return {kind: len(getattr(self, kind)) for kind in kinds if getattr(self, kind)}

    def capturing(self, stream: int) -> bool:
        return self.streams[stream].recording is not None

    def break_capture(self, stream: int) -> None:
        self.streams[stream].broken = True

    def enqueue(self, stream: int, work: Work) -> None:
        """Puts work on a stream, or into the graph that is recorded there."""
        if stream not in self.streams:
            raise IllegalAccess(f"no stream {stream}")
        target = self.streams[stream]
        (target.waiting if target.recording is None else target.recording).append(work)

    def view(self, address: int, size: int) -> memoryview:
        """Device memory, for who computes on the device."""
        for base, block in self.device.items():
            if base <= address and address + size <= base + len(block):
                return memoryview(block)[address - base : address - base + size]
        raise IllegalAccess(f"{address:#x} + {size} is not device memory")

    # --- the module's functions ---

    def cudaGetErrorString(self, error: cudaError_t) -> tuple[cudaError_t, bytes]:
        return E.cudaSuccess, E(error).name.encode()

    def cudaGetLastError(self) -> tuple[cudaError_t]:
        return (self.sticky,)

    def cudaGetDeviceCount(self) -> tuple[cudaError_t, int]:
        return self._counted("cudaGetDeviceCount") or (E.cudaSuccess, 1)

    def cudaGetDeviceProperties(self, device: int) -> tuple[cudaError_t, object]:
        if failed := self._counted("cudaGetDeviceProperties"):
            return failed
        if device != 0:
            return E.cudaErrorInvalidDevice, None
        return E.cudaSuccess, SimpleNamespace(name=self.name.encode(), major=self.major, minor=self.minor)

    def cudaMalloc(self, size: int) -> tuple[cudaError_t, int | None]:
        if failed := self._counted("cudaMalloc"):
            return failed
        if size < 1:
            return E.cudaErrorInvalidValue, None
        address = self._next + self.misaligned
        self._next += (size + 511) // 256 * 256
        self.device[address] = bytearray(b"\xcd" * size)  # not zero: nobody promised that
        return E.cudaSuccess, address

    def cudaFree(self, devPtr: int) -> tuple[cudaError_t]:
        return self._gone("cudaFree", self.device, devPtr)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[cudaError_t, int | None]:
        if failed := self._counted("cudaHostAlloc"):
            return failed
        if size < 1 or flags != 0:
            return E.cudaErrorInvalidValue, None
        block = (ctypes.c_byte * size)()
        self.host[ctypes.addressof(block)] = block
        return E.cudaSuccess, ctypes.addressof(block)

    def cudaFreeHost(self, ptr: int) -> tuple[cudaError_t]:
        return self._gone("cudaFreeHost", self.host, ptr)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[cudaError_t, Handle | None]:
        if failed := self._counted("cudaStreamCreateWithFlags"):
            return failed
        return E.cudaSuccess, self._new(self.streams, Stream())

    def cudaStreamDestroy(self, stream: Handle) -> tuple[cudaError_t]:
        return self._gone("cudaStreamDestroy", self.streams, int(stream))

    def cudaStreamSynchronize(self, stream: Handle) -> tuple[cudaError_t]:
        if failed := self._counted("cudaStreamSynchronize", results=0):
            return failed
        target = self.streams.get(int(stream))
        if target is None:
            return (E.cudaErrorInvalidResourceHandle,)
        if target.recording is not None:
            target.broken = True
            return (E.cudaErrorStreamCaptureUnsupported,)
        waiting, target.waiting = target.waiting, []
        for work in waiting:
            try:
                work()
            except IllegalAccess:
                self.sticky = E.cudaErrorIllegalAddress
                return (self.sticky,)
        return (E.cudaSuccess,)

    def cudaMemcpyAsync(
        self, dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: Handle
    ) -> tuple[cudaError_t]:
        if failed := self._counted("cudaMemcpyAsync", results=0):
            return failed
        if int(stream) not in self.streams:
            return (E.cudaErrorInvalidResourceHandle,)
        to_device = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
        if not to_device and kind != cudaMemcpyKind.cudaMemcpyDeviceToHost:
            return (E.cudaErrorInvalidValue,)
        host, device = (src, dst) if to_device else (dst, src)
        try:
            self.view(device, count)
            self._pinned(host, count)
        except IllegalAccess:
            return (E.cudaErrorInvalidValue,)

        def work() -> None:
            here, there = self._pinned(host, count), self.view(device, count)
            if to_device:
                there[:] = here
            else:
                here[:] = there

        self.enqueue(int(stream), work)
        return (E.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: Handle, mode: cudaStreamCaptureMode) -> tuple[cudaError_t]:
        if failed := self._counted("cudaStreamBeginCapture", results=0):
            return failed
        assert isinstance(mode, cudaStreamCaptureMode)
        target = self.streams.get(int(stream))
        if target is None or target.recording is not None:
            return (E.cudaErrorInvalidValue,)
        target.recording, target.broken = [], False
        return (E.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: Handle) -> tuple[cudaError_t, Handle | None]:
        failed = self._counted("cudaStreamEndCapture")
        target = self.streams.get(int(stream))
        if target is None or target.recording is None:
            return E.cudaErrorInvalidValue, None
        recorded, target.recording = target.recording, None
        if failed or target.broken:
            return E.cudaErrorStreamCaptureInvalidated, None
        return E.cudaSuccess, self._new(self.graphs, recorded)

    def cudaGraphInstantiate(self, graph: Handle, flags: int) -> tuple[cudaError_t, Handle | None]:
        if failed := self._counted("cudaGraphInstantiate"):
            return failed
        if int(graph) not in self.graphs:
            return E.cudaErrorInvalidResourceHandle, None
        return E.cudaSuccess, self._new(self.executables, list(self.graphs[int(graph)]))

    def cudaGraphLaunch(self, graphExec: Handle, stream: Handle) -> tuple[cudaError_t]:
        if failed := self._counted("cudaGraphLaunch", results=0):
            return failed
        if int(graphExec) not in self.executables or int(stream) not in self.streams:
            return (E.cudaErrorInvalidResourceHandle,)
        self.streams[int(stream)].waiting += self.executables[int(graphExec)]
        return (E.cudaSuccess,)

    def cudaGraphExecDestroy(self, graphExec: Handle) -> tuple[cudaError_t]:
        return self._gone("cudaGraphExecDestroy", self.executables, int(graphExec))

    def cudaGraphDestroy(self, graph: Handle) -> tuple[cudaError_t]:
        return self._gone("cudaGraphDestroy", self.graphs, int(graph))

    # --- what it does with them ---

    def _counted(self, name: str, results: int = 1) -> tuple | None:
        self.calls.append(name)
        error = self.sticky
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at, error = None, E.cudaErrorMemoryAllocation
        return None if error == E.cudaSuccess else (error, *([None] * results))

    def _new(self, table: dict, value: object) -> Handle:
        self._next += 256
        table[self._next] = value
        return Handle(self._next)

    def _gone(self, name: str, table: dict, key: int) -> tuple[cudaError_t]:
        self.calls.append(name)
        if key not in table:
            return (E.cudaErrorInvalidValue,)
        del table[key]
        return (self.sticky,)

    def _pinned(self, address: int, size: int) -> memoryview:
        for base, block in self.host.items():
            if base <= address and address + size <= base + len(block):
                return memoryview(block).cast("B")[address - base : address - base + size]
        raise IllegalAccess(f"{address:#x} + {size} is not page-locked")
