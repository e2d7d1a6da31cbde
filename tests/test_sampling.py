"""Samplers as numbers and as graphs: laws that hold for any network, and our teacher as one graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edge.tabletop import API
from export import sampling, schedule
from export.errors import ExportError
from export.ours import open_student, open_teacher
from export.policy import write
from export.schedule import BETA_SCHEDULES, PREDICTIONS, SAMPLERS
from learning.policy import diffusion, vision
from learning.policy.encoder import CallCondition
from learning.policy.heads import ChunkNet
from learning.policy.refiner import Refiner

LEVELS, SHAPE = 60, (1, 8, 3)


def plan(sampler: str, steps: int, prediction: str = "epsilon", beta: str = "linear", clip: float | None = 1.0):
    return schedule.discrete(sampler, steps, schedule.betas(beta, LEVELS, 1e-4, 0.05), prediction, clip)


def signal(beta: str) -> np.ndarray:
    return np.cumprod(1 - schedule.betas(beta, LEVELS, 1e-4, 0.05))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("beta", BETA_SCHEDULES)
@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 1), ("ddim", 7), ("ddim", 60), ("ddpm", 7), ("ddpm", 60)])
def test_a_network_that_knows_the_clean_sample_gives_it(sampler: str, steps: int, beta: str, prediction: str) -> None:
    clean = torch.linspace(-0.9, 0.9, 24).reshape(SHAPE)
    left = signal(beta)

    def perfect(x: Tensor, level: float) -> Tensor:
        now = float(left[int(level)])
        return clean if prediction == "sample" else (x - now**0.5 * clean) / (1 - now) ** 0.5

    made = plan(sampler, steps, prediction, beta)
    noise = torch.from_numpy(sampling.draw(made, SHAPE, 3))
    assert len(noise) == (steps if sampler == "ddpm" else 1)
    assert sampling.sample(perfect, made, noise).numpy() == pytest.approx(clean.numpy(), abs=2e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_clean_samples_stay_within_the_bound(sampler: str, prediction: str) -> None:
    made = plan(sampler, 10, prediction, clip=0.5)
    noise = torch.from_numpy(sampling.draw(made, SHAPE, 1))
    assert sampling.sample(lambda x, level: 3 * x, made, noise).abs().max() <= 0.5 + 1e-6


def test_levels_are_evenly_spaced_from_the_cleanest() -> None:
    assert [step.level for step in plan("ddim", 4).steps] == [45, 30, 15, 0]
    assert [step.level for step in plan("ddpm", 7).steps] == [48, 40, 32, 24, 16, 8, 0]


def test_what_no_sampler_can_do_is_refused() -> None:
    for steps in (0, LEVELS + 1):
        with pytest.raises(ExportError, match="so many steps"):
            plan("ddim", steps)
    with pytest.raises(ExportError, match="'euler'"):
        plan("euler", 4)


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor, level: Tensor, known: Tensor) -> Tensor:
        return torch.tanh(self.inner(x) + level + known[:, None])


class Encoder(nn.Module):
    def forward(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        return joints[:, :3] * 2, joints.sum(dim=1, keepdim=True)


class Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 1:]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_unrolled_graph_is_the_sampler_over_one_set_of_weights(sampler: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, made = Denoiser().eval(), plan(sampler, 5)
    parts = sampling.Parts(
        Encoder(),
        net,
        Last(),
        ("joints",),
        ("known",),
        ("finished",),
        lambda level: torch.tensor([level / LEVELS]),
        SHAPE,
    )
    noise = sampling.draw(made, SHAPE, 0)
    joints = torch.rand(1, 6)
    model = sampling.graph(parts, made, [joints], noise)
    onnx.checker.check_model(model, full_check=True)
    assert sum(tuple(tensor.dims) == (3, 3) for tensor in model.graph.initializer) == 1
    session = onnxruntime.InferenceSession(model.SerializeToString())
    chunk, finished = session.run(["chunk", "finished"], {"joints": joints.numpy()})

    def denoise(x: Tensor, level: float) -> Tensor:
        return net(x, torch.tensor([level / LEVELS]), joints[:, :3] * 2)

    wanted = sampling.sample(denoise, made, torch.from_numpy(noise))[:, 1:]
    assert chunk == pytest.approx(wanted.numpy(), abs=1e-6)
    assert float(finished[0, 0]) == pytest.approx(float(joints.sum()), rel=1e-6)


def untrained(directory: Path, *heads: str) -> None:
    """Checkpoints of `learning.policy` with random weights."""
    torch.manual_seed(0)
    mean, std = np.zeros((16, 6), np.float32), np.full((16, 6), 0.5, np.float32)
    seen = vision.Regression(CallCondition(API.token_counts()), mean, std)
    about = {"step": 1, "steps": 1, "seed": 0, "flat": False, "mean": mean, "std": std, "vocabulary": []}
    nets = {"encoder": seen, "refiner": Refiner()} | {head: ChunkNet(Refiner.FEATURES) for head in heads}
    for name, net in nets.items():
        torch.save({"averaged": net.state_dict(), **about}, directory / f"{name}.pt")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_teacher_is_one_graph(sampler: str, tmp_path: Path) -> None:
    """Untrained; the parity gate compares DDIM with the sampler that its training uses."""
    untrained(tmp_path, "teacher")
    report = write(open_teacher(tmp_path, sampler, 3, "fixed", 0), tmp_path / "policy.onnx", cases=4)
    assert report["evaluations"] == 3
    assert report["parity"]["worst"] < 1e-4
    shapes = {v.name: v.shape for v in onnxruntime.InferenceSession(str(tmp_path / "policy.onnx")).get_outputs()}
    assert shapes == {"chunk": [1, 16, 6], "finished": [1, 1]}
    with pytest.raises(ExportError, match="'euler' is not supported"):
        open_teacher(tmp_path, "euler", 3, "fixed", 0)
    (tmp_path / "teacher.pt").unlink()
    with pytest.raises(ExportError, match=r"teacher\.pt does not exist"):
        open_teacher(tmp_path, "ddim", None, "fixed", 0)


def test_ddim_of_the_teachers_plan_is_its_own_sampler() -> None:
    """The graph's numbers against `learning.policy.diffusion.sample`, for a network of its kind."""
    torch.manual_seed(1)
    noise = torch.randn(1, 1, 24)
    weight = torch.randn(24, 24) / 5

    def net(features: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x @ weight + t[:, None])

    levels = torch.linspace(1.0, 0.0, 7)
    made = schedule.velocity("ddim", diffusion.alpha_bar(levels).double().numpy(), levels.double().numpy())
    wanted = diffusion.sample(net, torch.zeros(1, 1), noise[0], 6)
    found = sampling.sample(lambda x, level: net(x, x, torch.tensor([level])), made, noise[0])
    assert found.numpy() == pytest.approx(wanted.numpy(), abs=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_velocity_is_sampled_as_the_noise_that_it_stands_for(sampler: str) -> None:
    """The same network, asked for velocities at continuous levels and for noise at the levels they are."""
    weight = torch.randn(24, 24, generator=torch.Generator().manual_seed(4)) / 5
    levels = np.linspace(1.0, 0.0, LEVELS + 1)
    left = np.concatenate([signal("linear")[::-1], [1.0]]).astype(np.float64)

    def velocity(x: Tensor, level: float) -> Tensor:
        return torch.tanh(x @ weight + level)

    def epsilon(x: Tensor, index: float) -> Tensor:
        now = float(signal("linear")[int(index)])
        return (1 - now) ** 0.5 * x + now**0.5 * velocity(x, (index + 1) / LEVELS)

    by_velocity = schedule.velocity(sampler, left, levels)
    by_noise = plan(sampler, LEVELS, clip=None)
    drawn = torch.from_numpy(sampling.draw(by_noise, (1, 24), 5))
    assert by_velocity.draws == by_noise.draws == len(drawn)
    found = sampling.sample(velocity, by_velocity, drawn)
    assert found.numpy() == pytest.approx(sampling.sample(epsilon, by_noise, drawn).numpy(), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("method", "evaluations"), [("consistency", 2), ("onedp", None)])
def test_a_student_is_one_graph_of_its_evaluations(method: str, evaluations: int | None, tmp_path: Path) -> None:
    untrained(tmp_path, f"student-{method}")
    report = write(open_student(tmp_path, method, evaluations), tmp_path / "policy.onnx", cases=4)
    assert report["evaluations"] == (evaluations or 1)
    assert report["parity"]["worst"] < 1e-4
    with pytest.raises(ExportError, match=r"time\(s\), not 4"):
        open_student(tmp_path, method, 4)
    with pytest.raises(ExportError, match="unknown method 'magic'"):
        open_student(tmp_path, "magic")
