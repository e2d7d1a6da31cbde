"""Policies without calls: cameras of their own, a history, no planner; alone, in a task, in `edge run`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_cameras import Server
from test_run import Bench

from edge.config import Budgets
from edge.errors import PolicyError, TaskError
from edge.executive import State
from edge.flat import Flat
from edge.manifest import Bundle, Images, MonitorNumbers, Rates
from edge.policy.backends import open_backend
from edge.policy.history import History
from edge.policy.policy import Policy
from edge.tabletop import API
from edge.types import Chunk, Frame, Observation
from export.bundle import build
from export.policy import metadata
from export.source import CHUNK, IMAGE, JOINT_UNIT, JOINTS_IN, Pace, Port, Source
from learning.lockstep import Pace as LockPace
from learning.lockstep import Rig
from learning.tasks import sample

HORIZON, PERIOD_NS = 12, 100_000_000
NO_CALL = np.zeros(5, np.int32)


def write_flat(path: Path, *, extra: str = "") -> Path:
    """A graph that takes two moments of a 32×48 camera, and whose targets are the present joints, then the past ones.

    The targets of the gripper are the difference of the two pictures' mean brightness, 0 to 1.
    """
    value = helper.make_tensor_value_info
    inputs = [value("laptop", TensorProto.UINT8, [1, 2, 32, 48, 3]), value("joints", TensorProto.FLOAT, [1, 2, 6])]
    if extra:
        inputs.append(value(extra, TensorProto.FLOAT, [1, 1, 6]))
    constants = [
        helper.make_tensor("half", TensorProto.INT64, [3], [1, HORIZON // 2, 1]),
        helper.make_tensor("order", TensorProto.INT64, [2], [1, 0]),
        helper.make_tensor("axes", TensorProto.INT64, [3], [2, 3, 4]),
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("one", TensorProto.INT64, [], [1]),
        helper.make_tensor("full", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("gripper", TensorProto.FLOAT, [1, 1, 6], [0, 0, 0, 0, 0, 1.0]),
        helper.make_tensor("others", TensorProto.FLOAT, [1, 1, 6], [1.0, 1, 1, 1, 1, 0]),
        helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1, 1]),
        helper.make_tensor("row", TensorProto.INT64, [3], [1, 1, 6]),
    ]
    node = helper.make_node
    nodes = [
        node("Cast", ["laptop"], ["float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        node("Gather", ["mean", "zero"], ["before"], axis=1),
        node("Gather", ["mean", "one"], ["now"], axis=1),
        node("Sub", ["now", "before"], ["brighter"]),
        node("Div", ["brighter", "full"], ["share"]),
        node("Reshape", ["share", "shape"], ["share_row"]),
        node("Mul", ["share_row", "gripper"], ["grip"]),
        node("Gather", ["joints", "order"], ["turned"], axis=1),
        node("Split", ["turned"], ["new", "old"], axis=1, num_outputs=2),
        node("Tile", ["new", "half"], ["first"]),
        node("Tile", ["old", "half"], ["second"]),
        node("Concat", ["first", "second"], ["all"], axis=1),
        node("Mul", ["all", "others"], ["rest"]),
        node("Add", ["rest", "grip"], ["chunk"]),
    ]
    graph = helper.make_graph(nodes, "flat", inputs, [value("chunk", TensorProto.FLOAT, [1, HORIZON, 6])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    source = Source(
        "flat", lambda: (), (Port("laptop", "uint8", (1, 2, 32, 48, 3), IMAGE, "RGB"),
        Port("joints", "float32", (1, 2, 6), JOINTS_IN, JOINT_UNIT)),
        (Port("chunk", "float32", (1, HORIZON, 6), CHUNK, JOINT_UNIT),), lambda: model, lambda rng: {}, 1, 0,
        Pace(10.0, 6, 0),
    )  # fmt: skip
    helper.set_model_props(model, metadata(source))
    onnx.save(model, path)
    return path


def open_flat(path: Path, **extra: str) -> Policy:
    return Policy(open_backend(write_flat(path, **extra), 1), Rates(10.0, HORIZON, 6, 0), Images(None, 192))


def observation(time_ns: int, joints: float, brightness: int) -> Observation:
    image = np.full((64, 200, 3), brightness, np.uint8)
    return Observation(time_ns, {"laptop": Frame("laptop", image, time_ns)}, np.full(6, joints))


def test_a_policy_sees_the_moment_a_period_ago_and_first_the_first(tmp_path: Path) -> None:
    policy = open_flat(tmp_path / "policy.onnx")
    chunk = policy.infer(observation(0, 0.1, 51), NO_CALL, None)
    assert chunk.joints[:, 0] == pytest.approx(0.1), "there is no past yet"
    policy.see(observation(5 * PERIOD_NS, 0.3, 0))
    policy.see(observation(6 * PERIOD_NS - 4, 0.4, 102))
    policy.see(observation(6 * PERIOD_NS + PERIOD_NS // 3, 0.5, 0))
    chunk = policy.infer(observation(7 * PERIOD_NS, 0.6, 255), NO_CALL, None)
    assert chunk.joints[:6, 0] == pytest.approx(0.6)
    assert chunk.joints[6:, 0] == pytest.approx(0.4), "what was seen nearest to a period ago"
    assert chunk.joints[:, 5] == pytest.approx(0.6), "the pictures of the same moments"
    assert chunk.finished == 0, "it has no word of its own about the end"
    assert (chunk.start_ns, chunk.period_ns) == (7 * PERIOD_NS, PERIOD_NS)
    policy.begin()
    assert policy.infer(observation(8 * PERIOD_NS, 0.7, 0), NO_CALL, None).joints[:, 0] == pytest.approx(0.7)


def test_a_history_keeps_no_more_than_it_needs() -> None:
    history: History[int] = History(3, 10)
    for time_ns in range(1000):
        history.add(time_ns, time_ns)
        history.add(time_ns - 5, -1)
    assert history.moments() == [979, 989, 999]
    assert len(history._seen) <= 32


@pytest.mark.parametrize("extra", ["noise", "environment", "mystery"])
def test_an_input_that_nothing_on_the_robot_feeds_is_refused(tmp_path: Path, extra: str) -> None:
    with pytest.raises(PolicyError, match="other inputs") as caught:
        open_flat(tmp_path / "policy.onnx", extra=extra)
    assert extra in caught.value.got
    assert ("feeds noise" in caught.value.fix) == (extra != "mystery")


def bundle_of(tmp_path: Path) -> Bundle:
    return build(API, write_flat(tmp_path / "policy.onnx"), tmp_path / "bundle")


def test_a_bundle_takes_pace_and_kinds_from_the_graph(tmp_path: Path) -> None:
    made = bundle_of(tmp_path).manifest
    assert made.rates == Rates(10.0, HORIZON, 6, 0)
    assert made.images == Images(None, 192)
    assert {tensor.name: tensor.kind for tensor in made.policy.inputs} == {"laptop": IMAGE, "joints": JOINTS_IN}
    assert Policy.load(bundle_of(tmp_path), API).contract.history == 2


class Memory:
    """What is told to the memory."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def clear(self, task: str) -> None:
        self.told.append(task)

    def conclude(self, state: str, now_ns: int) -> None:
        self.told.append(state)


class Scripted:
    """Chunks that ask a joint to move by so much, with a word about the end."""

    def __init__(self) -> None:
        self.moves, self.finished = 1.0, 0.0

    def infer(self, seen: Observation, call_tokens: np.ndarray, goal: object) -> Chunk:
        joints = np.tile(seen.joints, (HORIZON, 1))
        joints[:, 0] += np.linspace(0, self.moves, HORIZON)
        return Chunk(seen.time_ns, PERIOD_NS, joints, self.finished)


def flat_task() -> tuple[Flat, Scripted, Memory]:
    policy, memory = Scripted(), Memory()
    task = Flat(policy, memory, budgets=Budgets(task_s=5.0), numbers=MonitorNumbers())
    task.start("tidy up", 0)
    return task, policy, memory


def steps(task: Flat, count: int, first: int = 0) -> list[Chunk | None]:
    return [task.act(observation(k * PERIOD_NS, 0.01 * k, 0), k * PERIOD_NS) for k in range(first, first + count)]


def test_a_task_without_a_planner_ends_at_the_policys_word() -> None:
    task, policy, memory = flat_task()
    assert all(chunk is not None for chunk in steps(task, 5))
    policy.finished = 0.9
    first, second, third = steps(task, 3, first=5)
    assert first is not None
    assert second is None
    assert third is None
    assert (task.state, task.reason) == (State.FINISHED, "the policy says it is done")
    assert memory.told == ["tidy up", "finished"]
    assert [event.kind for event in task.events] == ["task", "finished"]


def test_a_task_without_a_planner_ends_when_the_arm_is_let_rest() -> None:
    task, policy, _ = flat_task()
    steps(task, 5)
    policy.moves = 0.0
    steps(task, 11, first=5)
    assert task.state is State.ACTING
    steps(task, 3, first=16)
    assert (task.state, task.reason) == (State.FINISHED, "the policy lets the arm rest")


def test_a_task_without_a_planner_ends_with_its_time() -> None:
    task, _, memory = flat_task()
    steps(task, 50)
    assert task.state is State.ACTING
    steps(task, 1, first=50)
    assert (task.state, task.reason) == (State.FAILED, "not done within 5 s")
    assert memory.told[-1] == "failed"


def test_a_task_without_a_planner_is_never_empty_nor_resumed() -> None:
    task, _, _ = flat_task()
    with pytest.raises(TaskError, match="cannot resume"):
        task.resume(0)
    with pytest.raises(TaskError, match="empty"):
        task.start(" ", 0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    class FlatBench(Bench):
        def launch(self, *more: str) -> None:
            self.laptop = Server()
            self.command = [word for word in self.command if word not in ("--wrist", self.wrist.url)]
            super().launch("--camera", f"laptop={self.laptop.url}", *more)

        def close(self) -> None:
            super().close()
            self.laptop.hang_up.set()
            self.laptop.shutdown()
            self.laptop.server_close()

    opened = FlatBench(bundle_of(tmp_path).path, tmp_path, "--task-seconds", "20", settings="")
    yield opened
    opened.close()


def test_edge_runs_a_bundle_without_a_planner(bench: Bench) -> None:
    status, _, err = bench.finish()
    assert status == 0, err
    assert bench.texts("finished") == ["the policy lets the arm rest"]
    kinds = [record["kind"] for record in bench.records()]
    assert "plan" not in kinds
    assert "call" not in kinds
    assert kinds.count("chunk") >= 2
    assert (bench.bus.block.torque == 0).all()


def test_lock_step_shows_a_policy_what_there_is_in_every_period() -> None:
    rig = Rig(LockPace(every=4))
    scene, _ = sample("put", np.random.default_rng(0))
    rig.begin(scene)
    begun_ns = rig.now_ns
    seen: list[int] = []
    joints = np.tile(rig.observe().joints, (HORIZON, 1))
    rig.follow(Chunk(begun_ns, 50_000_000, joints, 0.0), lambda shown: seen.append(shown.time_ns - begun_ns))
    assert np.abs(np.array(seen) - [50_000_000, 100_000_000, 150_000_000]).max() <= 4_000_000
    assert 200_000_000 <= rig.now_ns - begun_ns <= 204_000_000
