"""What the policy is trained on and how: chunks stay inside their subtask, losses fall, students are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge._core import Arm
from edge.tabletop import API
from learning.dataset import Cache, DatasetError
from learning.errors import CheckpointError
from learning.policy import diffusion, distillation, students, vision
from learning.policy.__main__ import main as policy_command
from learning.policy.data import Demonstrations, Vocabulary
from learning.policy.encoder import CONDITION, GRID, Encoder, Eye
from learning.policy.features import build_bank
from learning.policy.heads import CHUNK, HORIZON, ChunkNet
from learning.policy.rays import Rays
from learning.policy.refiner import Refiner, refiner_loss
from learning.policy.student import Student, load_student
from learning.policy.tool import ToolPose
from learning.policy.trainer import train
from learning.sim.world import READY, World
from learning.tasks import sample

CALLS = ('pick("red cube")', 'place_on("blue plate")')
STEPS = 40
"""Per call; two calls an episode, thirty episodes."""


@pytest.fixture(scope="module")
def cache() -> Cache:
    """Thirty small episodes: a red square wanders, the arm's pan follows it."""
    rng = np.random.default_rng(0)
    count = 30 * 2 * STEPS
    where = rng.uniform(0.2, 0.8, (count, 2)).astype(np.float32)
    front = np.full((count, 96, 96, 3), 180, np.uint8)
    for i, (u, v) in enumerate(where):
        x, y = int(u * 96), int(v * 96)
        front[i, y - 4 : y + 4, x - 4 : x + 4] = (200, 20, 20)
    action = np.zeros((count, 6), np.float32)
    action[:, 0] = where[:, 0] - 0.5
    action[:, 1] = np.arange(count) % STEPS / STEPS
    call = np.tile(np.repeat([0, 1], STEPS), 30).astype(np.int32)
    hint = np.where(call[:, None] == 0, (where * 10).astype(np.int8), -1).astype(np.int8)
    episode = np.repeat(np.arange(30), 2 * STEPS).astype(np.int32)
    aim = np.concatenate([where * 0.2, np.zeros((count, 3))], axis=1).astype(np.float32)
    return Cache(
        front=front, wrist=front[::-1].copy(), state=action, action=action, call=call, hint=hint,
        goal=np.zeros((count, 6), np.float32), finished=(np.arange(count) % STEPS > STEPS - 4).astype(np.float32),
        episode=episode, task=np.zeros(count, np.int32), bounds=np.arange(31) * 2 * STEPS,
        extra={"aim": aim, "pixel": np.concatenate([where, where[::-1]], axis=1)}, calls=CALLS,
        tasks=("put the red cube on the blue plate",), fps=20,
    )  # fmt: skip


def test_chunks_end_with_their_subtask(cache: Cache) -> None:
    data = Demonstrations(cache)
    rows = np.array([0, STEPS - 5, STEPS - 1, STEPS])
    chunk = data.chunk(rows)
    assert chunk.shape == (4, HORIZON, 6)
    np.testing.assert_array_equal(chunk[0], cache.action[:HORIZON])
    np.testing.assert_array_equal(chunk[1][:5], cache.action[STEPS - 5 : STEPS])
    np.testing.assert_array_equal(chunk[1][5:], np.repeat(cache.action[STEPS - 1 : STEPS], HORIZON - 5, axis=0))
    np.testing.assert_array_equal(chunk[2], np.repeat(cache.action[STEPS - 1 : STEPS], HORIZON, axis=0))
    np.testing.assert_array_equal(chunk[3], cache.action[STEPS : STEPS + HORIZON])


def test_flat_chunks_run_on_into_the_next_subtask(cache: Cache) -> None:
    data = Demonstrations(cache, flat=True)
    np.testing.assert_array_equal(data.chunk(np.array([STEPS - 2]))[0], cache.action[STEPS - 2 : STEPS - 2 + HORIZON])


def test_words_are_the_call_with_its_hint_half_of_the_time(cache: Cache) -> None:
    data = Demonstrations(cache)
    rows = np.arange(STEPS)
    plain = data.words(rows, None)
    np.testing.assert_array_equal(plain[0], API.encode(API.parse(CALLS[0])))
    drawn = np.concatenate([data.words(rows, np.random.default_rng(seed)) for seed in range(20)])
    kept = drawn[:, 3] > 0
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_array_equal(drawn[0::STEPS][kept[0::STEPS]][0][3:], cache.hint[0] + 1)
    assert not data.words(np.arange(STEPS, 2 * STEPS), np.random.default_rng(0))[:, 3:].any(), "no hint, no token"


def test_training_and_validation_share_no_episode(cache: Cache) -> None:
    data = Demonstrations(cache)
    assert not set(cache.episode[data.training]) & set(cache.episode[data.validation])
    assert len(data.training) + len(data.validation) == len(cache)


def test_vocabulary_survives_the_checkpoint() -> None:
    one = Vocabulary(["put the red cube on the plate", "swap them"])
    two = Vocabulary([" ".join(one.words)])
    np.testing.assert_array_equal(one.encode("Put the red plate!"), two.encode("Put the red plate!"))
    assert one.encode("zebra")[0] == 1


def test_heat_loss_is_least_at_the_target_and_silent_out_of_view() -> None:
    at = torch.tensor([[0.3, 0.7]])
    v, u = int(0.7 * GRID), int(0.3 * GRID)
    right, wrong = torch.zeros(1, GRID * GRID), torch.zeros(1, GRID * GRID)
    right[0, v * GRID + u] = wrong[0, u * GRID + v] = 8.0
    assert vision.heat_loss(right, at) < vision.heat_loss(torch.zeros_like(right), at) < vision.heat_loss(wrong, at)
    assert vision.heat_loss(wrong, torch.tensor([[1.4, 0.5]])) == 0


def test_stage_one_learns_and_resumes(cache: Cache, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data, path = Demonstrations(cache), tmp_path / "encoder.pt"
    torch.manual_seed(0)
    before = vision.validate(vision.build(data).eval(), data)
    whole = vision.train_encoder(data, path, steps=60, batch_size=16, seed=0, rate=2e-3)
    after = vision.validate(whole, data)
    assert after["far"] < 0.2 < before["far"], "it has found where the square is"
    assert after["chunk_mrad"] < before["chunk_mrad"]
    again = vision.train_encoder(data, path, steps=60, batch_size=16, seed=0, rate=2e-3)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    loaded, saved = vision.load(path)
    assert saved["step"] == 60
    torch.testing.assert_close(loaded.encoder.aim.weight, whole.encoder.aim.weight)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 1)

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        return net(torch.ones(1, 2)).square().mean(), {}

    train(net, loss, tmp_path / "a.pt", steps=2, rate=1e-2, name="one")
    with pytest.raises(ValueError, match="holds 'one', not 'two'"):
        train(net, loss, tmp_path / "a.pt", steps=2, rate=1e-2, name="two")


def test_a_checkpoint_made_from_something_else_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, path = torch.nn.Linear(2, 1), tmp_path / "a.pt"

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        return net(torch.ones(1, 2)).square().mean(), {}

    settings = {"steps": 2, "rate": 1e-2, "name": "one"}
    train(net, loss, path, **settings, made_from={"seed": 0, "encoder": "abc"})
    train(net, loss, path, **settings, made_from={"seed": 0, "encoder": "abc"})
    assert "already complete" in capsys.readouterr().out
    for other, made_from in (
        (settings, {"seed": 1, "encoder": "abc"}),
        (settings, {"seed": 0, "encoder": "abd"}),
        (settings | {"steps": 3}, {"seed": 0, "encoder": "abc"}),
        (settings | {"rate": 1e-3}, {"seed": 0, "encoder": "abc"}),
    ):
        with pytest.raises(CheckpointError, match="was made with another"):
            train(net, loss, path, **other, made_from=made_from)


def test_no_stage_is_built_on_a_half_trained_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["refiner", "--out", str(tmp_path), "--data", str(tmp_path / "data")]
    assert policy_command(asked) == 2
    assert "python -m learning.policy encoder" in capsys.readouterr().err
    torch.save({"step": 3, "steps": 10}, tmp_path / "encoder.pt")
    assert policy_command(asked) == 2
    assert "3 of 10 steps" in capsys.readouterr().err


def test_data_that_is_not_there_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert policy_command(["encoder", "--data", str(tmp_path / "nope"), "--out", str(tmp_path)]) == 2
    assert "no finished dataset" in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["0", "-5"])
def test_a_training_of_no_steps_is_refused(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        policy_command(["encoder", "--steps", steps])
    assert "1 or more" in capsys.readouterr().err


def test_a_bank_of_other_data_is_refused(cache: Cache, tmp_path: Path) -> None:
    data = Demonstrations(cache)
    model = vision.build(data).eval()
    np.save(tmp_path / "raw.npy", np.zeros((1, len(data.training) + 1, model.encoder.RAW), np.float32))
    (tmp_path / "complete").touch()
    with pytest.raises(DatasetError, match="other data"):
        build_bank(model, data, tmp_path, views=1, seed=0)


def exact_velocity(features: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The best possible teacher of data that is always `features`: it knows the clean chunk."""
    left = diffusion.alpha_bar(t)[:, None]
    noise = (x - left.sqrt() * features) / (1 - left).sqrt()
    return left.sqrt() * noise - (1 - left).sqrt() * features


@pytest.mark.parametrize("steps", [1, 2, 16])
def test_ddim_recovers_the_data_of_a_perfect_teacher(steps: int) -> None:
    clean, noise = torch.randn(4, CHUNK), torch.randn(4, CHUNK)
    torch.testing.assert_close(diffusion.sample(exact_velocity, clean, noise, steps), clean, rtol=1e-3, atol=1e-3)


def test_noised_chunks_keep_their_variance() -> None:
    clean, noise = torch.randn(4096, 8), torch.randn(4096, 8)
    for level in (0.0, 0.3, 0.9, 1.0):
        assert abs(diffusion.noised(clean, noise, torch.full((4096,), level)).var() - 1) < 0.05


@pytest.mark.parametrize("method", ["distilled", "mip", "regression"])
def test_students_learn_a_constant(method: str) -> None:
    torch.manual_seed(0)
    net, features, goal = ChunkNet(), torch.randn(32, 279), torch.randn(1, CHUNK).expand(32, -1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)

    def teacher(f: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return exact_velocity(goal, x, t)

    for _ in range(150):
        optimizer.zero_grad()
        students.loss(method, net, teacher, features, goal, generator).backward()
        optimizer.step()
    with torch.no_grad():
        error = (students.run(method, net, features, torch.randn(1, 32, CHUNK)) - goal).square().mean()
    assert error < 0.05


def test_a_student_evaluates_its_network_as_often_as_it_says() -> None:
    for method, allowed in students.METHODS.items():
        for asked in (None, *allowed):
            calls = []

            def count(f: torch.Tensor, x: torch.Tensor, t: torch.Tensor, calls: list[int] = calls) -> torch.Tensor:
                calls.append(1)
                return torch.zeros(2, CHUNK)

            draws = students.evaluations(method, asked)
            students.run(method, count, torch.zeros(2, 279), torch.zeros(draws, 2, CHUNK))
            assert len(calls) == draws
    with pytest.raises(ValueError, match="unknown method 'magic'"):
        students.run("magic", count, torch.zeros(2, 279), torch.zeros(1, 2, CHUNK))
    with pytest.raises(ValueError, match=r"1 or 2 or 3 time\(s\), not 4"):
        students.evaluations("consistency", 4)


@pytest.mark.parametrize("method", [None, *students.METHODS])
def test_every_head_has_a_recipe(method: str | None) -> None:
    torch.manual_seed(0)
    net, teacher = ChunkNet(), ChunkNet()
    net.load_state_dict(teacher.state_dict())
    made = distillation.recipe(method, net, teacher)
    before = [parameter.clone() for parameter in teacher.parameters()]
    optimizer = torch.optim.AdamW(net.parameters(), made.rate, betas=made.betas)
    for step in range(2):
        value, numbers = made.loss(torch.randn(4, 279), torch.randn(4, CHUNK), torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        value.backward()
        assert all(parameter.grad is not None for parameter in net.parameters())
        optimizer.step()
        if made.companion is not None:
            numbers = numbers | made.companion.advance(step, 1.0)
        assert all(np.isfinite(number) for number in numbers.values())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    for now, then in zip(teacher.parameters(), before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)


def test_likeness_sees_a_shift_and_a_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    teacher, features = ChunkNet(), torch.randn(8, 279)

    def run(method: str, net: ChunkNet, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        made = diffusion.sample(teacher, features, noise[0], diffusion.STEPS).view(8, 16, CHUNK)
        mean = made.mean(dim=1, keepdim=True)
        return (mean + 0.5 * (made - mean) + 3.0).view(-1, CHUNK)

    same = distillation.likeness("distilled", teacher, teacher, features)
    monkeypatch.setattr(students, "run", run)
    found = distillation.likeness("distilled", teacher, teacher, features)
    assert found["off"] == pytest.approx(3.0, rel=0.1)
    assert found["spread"] == pytest.approx(0.5, rel=0.1)
    assert set(same) == set(found)


def test_the_robot_answers_the_same_picture_with_the_same_chunk(cache: Cache, tmp_path: Path) -> None:
    data = Demonstrations(cache)
    seen = vision.train_encoder(data, tmp_path / "encoder.pt", steps=1, batch_size=8, seed=0, rate=1e-3)
    batch = data.batch(np.arange(2))
    inputs = (batch.front[:1], batch.wrist[:1], batch.joints[:1], batch.words[:1].int(), batch.goal[:1])
    with torch.no_grad():
        one = Student(seen, Refiner(), ChunkNet(Refiner.FEATURES), "distilled").eval()
        first, again = one(*inputs), one(*inputs)
        stage_one, origin = load_student(tmp_path, "stage-one")
        chunk, finished = stage_one(*inputs)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert chunk.shape == (1, HORIZON, 6)
    assert 0 <= float(finished) <= 1
    assert origin["encoder"]["steps"] == 1


def test_tool_pose_is_the_cores_forward_kinematics() -> None:
    arm = Arm("edge/robots/so101.json")
    joints = np.random.default_rng(0).uniform(-1.5, 1.5, (50, 6))
    points, axes, *_ = ToolPose()(torch.tensor(joints, dtype=torch.float32))
    for q, point, frame in zip(joints, points, axes, strict=True):
        x, y, z, yaw = arm.pinch_pose(q)
        np.testing.assert_allclose(point, (x, y, z), atol=2e-6)
        opens = frame[:, 2]
        assert abs(np.angle(np.exp(1j * (float(torch.atan2(opens[1], opens[0])) - yaw)))) < 1e-4


def test_rays_find_the_cube_that_the_cameras_see() -> None:
    """A cube, projected by the simulator and cast back, is where it is: for both cameras, at any arm pose."""
    world = World()
    scene, _ = sample("put", np.random.default_rng(4))
    for seed in range(5):
        joints = READY + np.random.default_rng(seed).uniform(-0.25, 0.25, 6)
        world.reset(replace(scene, camera=(0.0,) * 6, wrist_camera=(0.0,) * 6), joints)
        _, _, wrist, wrist_axes = ToolPose()(torch.tensor(world.joints()[None], dtype=torch.float32))
        for camera, point, axes in (
            ("front", torch.zeros(1, 3), torch.eye(3)[None]),
            ("wrist", wrist, wrist_axes),
        ):
            for item in (i for i in world.items() if i.shape == "cube"):
                pose = world.pose_of(item.name)
                u, v = world.project(camera, (pose.x, pose.y, pose.z))
                if 0 < u < 1 and 0 < v < 1:
                    cut = Rays(camera)(torch.tensor([[u, v]], dtype=torch.float32), point, axes)[0, :2]
                    np.testing.assert_allclose(cut.detach(), (pose.x, pose.y), atol=2e-3)


def test_refiner_learns_to_trust_the_remembered_place() -> None:
    """Pictures that say nothing, a goal that says where: after a few steps the goal is believed."""
    torch.manual_seed(0)
    net = Refiner()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def batch() -> tuple[torch.Tensor, ...]:
        raw, joints = torch.randn(64, Encoder.RAW), 0.3 * torch.randn(64, 6)
        start = 2 * Eye.FEATURES + CONDITION
        place = torch.rand(64, 3) * 0.2
        raw[:, start : start + 6] = torch.cat([torch.ones(64, 1), place, torch.zeros(64, 2)], dim=1)
        return raw, joints, torch.cat([place, torch.zeros(64, 2)], dim=1), torch.zeros(64)

    _, before = refiner_loss(net, *batch())
    for _ in range(150):
        loss, _ = refiner_loss(net, *batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _, after = refiner_loss(net, *batch())
    assert after < 0.35 * before
