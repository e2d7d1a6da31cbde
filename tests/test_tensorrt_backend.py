"""The TensorRT backend on stand-ins of TensorRT and CUDA, and the stand-ins against the real modules.

What only a GPU can tell (speed, and whether a real context can be recorded) is not measured.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import tensorrt_rtx_bindings
import tensorrt_standin
from cuda.bindings import runtime
from cuda_standin import CudaStandIn, cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode
from small_network import small_network
from tensorrt_standin import Misuse, TensorRtStandIn, parameters
from test_policy import write_graph

from edge.errors import PolicyError
from edge.policy.backends.cuda import Cuda
from edge.policy.backends.engines import Compiler, Device
from edge.policy.backends.onnx import OnnxBackend
from edge.policy.backends.tensorrt import TensorRtBackend
from export.calibration import Inputs, random_inputs
from export.graph import inputs_of, read
from export.tensorrt import build

ORIN = Device("Orin", 8, 7)
JETPACK = Compiler("tensorrt", "10.3.0")
SIGNATURE = inputs_of(small_network())


class Rig:
    """A graph, its engine, and the device that runs it."""

    def __init__(self, folder: Path, **behaviour: bool | None) -> None:
        self.graph = write_graph(folder / "policy.onnx")
        self.cuda = CudaStandIn()
        self.trt = TensorRtStandIn("10.3.0", self.cuda, **behaviour)
        self.engine = folder / "policy.engine"
        self.engine.write_bytes(build(read(self.graph), self.trt, JETPACK, ORIN).engine)

    def open(self) -> TensorRtBackend:
        return TensorRtBackend(self.engine, self.trt, JETPACK, Cuda(self.cuda))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def case(rng: np.random.Generator) -> Inputs:
    return random_inputs(SIGNATURE, rng)


def agree(backend: TensorRtBackend, graph: Path, count: int = 8) -> None:
    reference, rng = OnnxBackend(graph), np.random.default_rng(1)
    for _ in range(count):
        inputs = case(rng)
        expected, got = reference.run(inputs), backend.run(inputs)
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-6)


def test_it_answers_as_onnx_runtime_does(rig: Rig) -> None:
    backend = rig.open()
    assert backend.inputs == OnnxBackend(rig.graph).inputs
    assert backend.outputs == OnnxBackend(rig.graph).outputs
    agree(backend, rig.graph)
    backend.close()


def test_an_evaluation_is_a_launch_and_a_wait_and_allocates_nothing(rig: Rig) -> None:
    backend = rig.open()
    held = rig.cuda.alive()
    del rig.cuda.calls[:]
    backend.run(case(np.random.default_rng(0)))
    assert rig.cuda.calls == ["cudaGraphLaunch", "cudaStreamSynchronize"]
    assert rig.cuda.alive() == held
    assert backend.name == "TensorRT 10.3.0, Orin (sm87)"
    backend.close()


def test_an_answer_stays_what_it_was_when_the_next_one_comes(rig: Rig) -> None:
    backend, rng = rig.open(), np.random.default_rng(2)
    first = backend.run(case(rng))
    kept = {name: value.copy() for name, value in first.items()}
    backend.run(case(rng))
    assert all((first[name] == kept[name]).all() for name in kept)
    backend.close()
    assert all((first[name] == kept[name]).all() for name in kept), "nor after the memory is gone"


def test_an_input_of_another_type_is_not_converted_in_silence(rig: Rig) -> None:
    backend = rig.open()
    inputs = case(np.random.default_rng(0))
    with pytest.raises(TypeError):
        backend.run({**inputs, "joints": inputs["joints"].astype(np.float64)})
    backend.close()


def test_closing_gives_everything_back_and_twice_is_once(rig: Rig) -> None:
    backend = rig.open()
    assert rig.cuda.alive()
    backend.close()
    backend.close()
    assert rig.cuda.alive() == {}
    with pytest.raises(PolicyError, match="closed"):
        backend.run(case(np.random.default_rng(0)))


def test_whichever_call_fails_nothing_stays_allocated(rig: Rig) -> None:
    calls = len(rig.cuda.calls)
    rig.open().close()
    outcomes = set()
    for index in range(len(rig.cuda.calls) - calls):
        rig.cuda.fail_at = index
        try:
            backend = rig.open()
        except PolicyError as problem:
            outcomes.add(problem.got)
        else:
            rig.cuda.fail_at = None
            agree(backend, rig.graph, 2)
            outcomes.add(backend.name.split(", ")[-1])
            backend.close()
        rig.cuda.fail_at = None
        assert rig.cuda.alive() == {}, index
    assert outcomes == {"cudaErrorMemoryAllocation (2)", "without a CUDA graph", "Orin (sm87)"}


@pytest.mark.parametrize("behaviour", [{"captures": False}, {"capturable": False}])
def test_an_engine_that_cannot_be_recorded_runs_without(tmp_path: Path, behaviour: dict[str, bool]) -> None:
    rig = Rig(tmp_path, **behaviour)
    backend = rig.open()
    assert backend.name.endswith("without a CUDA graph")
    assert "CUDA graph" in backend.note
    agree(backend, rig.graph)
    backend.close()
    assert rig.cuda.alive() == {}


def test_an_engine_of_another_version_is_refused_in_tensorrts_words(rig: Rig) -> None:
    rig.trt.__version__ = "10.7.0"
    with pytest.raises(PolicyError, match="does not load") as caught:
        rig.open()
    assert "10.3.0" in caught.value.got
    assert "python -m export engine" in caught.value.fix
    assert rig.cuda.alive() == {}


def test_a_file_that_is_no_engine_is_refused(rig: Rig) -> None:
    rig.engine.write_bytes(b"not an engine")
    with pytest.raises(PolicyError, match="does not load"):
        rig.open()


def test_a_shape_that_is_not_fixed_is_refused(tmp_path: Path, rig: Rig) -> None:
    graph = write_graph(tmp_path / "other.onnx", front=["batch", 96, 96, 3])
    rig.engine.write_bytes(rig.engine.read_bytes().split(b"\n", 2)[0] + b'\n["10.3.0", "87"]\n' + graph.read_bytes())
    with pytest.raises(PolicyError, match="front cannot be used"):
        rig.open()
    assert rig.cuda.alive() == {}


def test_memory_that_is_not_aligned_is_refused(rig: Rig) -> None:
    rig.cuda.misaligned = 16
    with pytest.raises(PolicyError, match="not aligned"):
        rig.open()
    assert rig.cuda.alive() == {}


def test_a_device_that_is_lost_is_told_with_what_to_do(rig: Rig) -> None:
    backend = rig.open()
    rig.cuda.sticky = cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(PolicyError, match="cudaGraphLaunch failed") as caught:
        backend.run(case(np.random.default_rng(0)))
    assert "--backend onnx" in caught.value.fix
    with pytest.raises(PolicyError):
        backend.close()
    assert rig.cuda.alive() == {}, "even then nothing is kept"


# --- the stand-ins are no kinder than the device ---


def test_the_stand_in_refuses_what_would_crash(rig: Rig) -> None:
    cuda = rig.cuda
    _, stream = cuda.cudaStreamCreateWithFlags(1)
    context = rig.trt.Runtime(_log()).deserialize_cuda_engine(rig.engine.read_bytes()).create_execution_context()
    _, host = cuda.cudaHostAlloc(4096, 0)
    with pytest.raises(Misuse, match="not device memory"):
        context.set_tensor_address("joints", host // 256 * 256)
    _, short = cuda.cudaMalloc(8)
    with pytest.raises(Misuse, match="not device memory"):
        context.set_tensor_address("joints", short)
    _, block = cuda.cudaMalloc(4096)
    with pytest.raises(Misuse, match="aligned"):
        context.set_tensor_address("joints", block + 16)
    assert not context.execute_async_v3(int(stream)), "addresses are missing"
    with pytest.raises(Misuse, match="no stream"):
        context.execute_async_v3(1)
    with pytest.raises(TypeError):
        context.execute_async_v3(stream)
    for name in rig.open().inputs | rig.open().outputs:
        context.set_tensor_address(name, cuda.cudaMalloc(1 << 16)[1])
    assert cuda.cudaStreamBeginCapture(stream, cudaStreamCaptureMode.cudaStreamCaptureModeGlobal) == (0,)
    with pytest.raises(Misuse, match="never ran"):
        context.execute_async_v3(int(stream))


def test_the_stand_in_copies_only_between_its_own_memory_and_only_when_waited_for() -> None:
    cuda = CudaStandIn()
    _, stream = cuda.cudaStreamCreateWithFlags(1)
    array = cuda.cudaHostAlloc(64, 0)[1]
    block = cuda.cudaMalloc(64)[1]
    down, up = cudaMemcpyKind.cudaMemcpyDeviceToHost, cudaMemcpyKind.cudaMemcpyHostToDevice
    pageable = np.zeros(64, np.uint8)
    assert cuda.cudaMemcpyAsync(block, pageable.ctypes.data, 64, up, stream)[0] != 0, "not page-locked"
    assert cuda.cudaMemcpyAsync(block, array, 65, up, stream)[0] != 0, "too long"
    assert cuda.cudaMemcpyAsync(array, block, 64, up, stream)[0] != 0, "wrong way round"
    cuda.host[array][:] = [7] * 64
    assert cuda.cudaMemcpyAsync(block, array, 64, up, stream) == (0,)
    assert cuda.device[block][0] != 7, "not before it is waited for"
    assert cuda.cudaStreamSynchronize(stream) == (0,)
    assert cuda.device[block][0] == 7
    cuda.cudaMemcpyAsync(array, block, 64, down, stream)
    cuda.cudaFree(block)
    assert cuda.cudaStreamSynchronize(stream) == (cudaError_t.cudaErrorIllegalAddress,)
    assert cuda.cudaMalloc(64)[0] == cudaError_t.cudaErrorIllegalAddress, "and from then on nothing works"


def test_the_stand_in_of_cuda_has_the_functions_and_parameters_of_the_real_one() -> None:
    names = [name for name, _ in inspect.getmembers(CudaStandIn, inspect.isfunction) if name.startswith("cuda")]
    assert len(names) > 15
    for name in names:
        real, ours = getattr(runtime, name), inspect.signature(getattr(CudaStandIn, name))
        assert parameters(real.__doc__) == list(ours.parameters)[1:], name
    for kind in (cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode):
        real = getattr(runtime, kind.__name__)
        assert {member.name: member.value for member in kind} == {m.name: getattr(real, m.name).value for m in kind}
    assert runtime.cudaStreamNonBlocking == CudaStandIn.cudaStreamNonBlocking


#: Stand-in class: its name in TensorRT.
REAL = {
    "Runtime": "Runtime", "Engine": "ICudaEngine", "ExecutionContext": "IExecutionContext", "Builder": "Builder",
    "BuilderConfig": "IBuilderConfig", "Network": "INetworkDefinition", "OnnxParser": "OnnxParser", "Layer": "ILayer",
    "TimingCache": "ITimingCache", "ILogger": "ILogger",
}  # fmt: skip
#: Weak typing, which TensorRT-RTX never had: as the documentation of 10.3 gives it.
GONE = {("Layer", "precision")}


@pytest.mark.parametrize("name", REAL)
def test_the_stand_in_of_tensorrt_has_only_what_the_real_one_has(name: str) -> None:
    ours, real = getattr(tensorrt_standin, name), getattr(tensorrt_rtx_bindings, REAL[name])
    members = [member for member in vars(ours) if not member.startswith("_") and (name, member) not in GONE]
    assert members
    for member in members:
        assert hasattr(real, member), f"{REAL[name]}.{member}"
        if inspect.isfunction(vars(ours)[member]):
            documented = [line for line in getattr(real, member).__doc__.splitlines() if f"{member}(self" in line]
            wanted = list(inspect.signature(vars(ours)[member]).parameters)[1:]
            assert any(parameters(line)[: len(wanted)] == wanted for line in documented), (member, documented)
    assert hasattr(tensorrt_rtx_bindings.IExecutionContext, "is_stream_capturable")


@pytest.mark.parametrize("name", ["TensorIOMode", "DataType", "MemoryPoolType", "NetworkDefinitionCreationFlag"])
def test_the_stand_ins_enumerations_are_members_of_the_real_ones(name: str) -> None:
    real = getattr(tensorrt_rtx_bindings, name).__members__
    assert {member.name for member in getattr(tensorrt_standin, name)} <= set(real)


def _log() -> tensorrt_standin.ILogger:
    class Quiet(tensorrt_standin.ILogger):
        def log(self, severity: int, msg: str) -> None:
            pass

    return Quiet()
