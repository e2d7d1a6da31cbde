"""Distillation on problems with known answers: Gaussians worked by hand, a mixture of two in the plane."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from learning.distill.consistency import Consistency, chain, jump
from learning.distill.denoiser import PREDICTIONS, Denoiser, Schedule
from learning.distill.onedp import BETAS, OneDP, generate
from learning.policy import diffusion, trainer
from learning.policy.students import SCHEDULE, ChunkDenoiser

CENTRES = torch.tensor([[-1.2, 0.6], [1.2, -0.4]])
SHARES = torch.tensor([0.7, 0.3])
SPREAD = 0.15
STEPS = 10


class Mixture(Denoiser):
    """The best possible estimates of a mixture's clean samples (B, 2), said in any way."""

    def __init__(self, prediction: str = "sample") -> None:
        super().__init__(SCHEDULE, prediction)

    def predict(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        alpha, sigma = self.schedule.at(k, x)
        variance = (alpha * SPREAD) ** 2 + sigma**2
        away = x[:, None] - alpha[:, :, None] * CENTRES
        share = (SHARES.log() - away.square().sum(dim=2) / (2 * variance)).softmax(dim=1)
        each = CENTRES + (alpha * SPREAD**2 / variance)[:, :, None] * away
        clean = (share[:, :, None] * each).sum(dim=1)
        noise = (x - alpha * clean) / sigma
        return {"sample": clean, "epsilon": noise, "velocity": alpha * noise - sigma * clean}[self.prediction]


class Small(Denoiser):
    """A network that can learn those estimates."""

    def __init__(self) -> None:
        super().__init__(SCHEDULE, "velocity")
        self.net = nn.Sequential(nn.Linear(5, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

    def predict(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        alpha, sigma = self.schedule.at(k, x)
        return self.net(torch.cat([x, alpha, sigma, alpha * sigma], dim=1))


class Gaussian(Denoiser):
    """The best possible estimates of samples (B, 1) of N(mean, SPREAD²)."""

    def __init__(self, mean: float) -> None:
        super().__init__(SCHEDULE, "sample")
        self.mean = nn.Parameter(torch.tensor(mean))

    def predict(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        alpha, sigma = self.schedule.at(k, x)
        gain = alpha * SPREAD**2 / ((alpha * SPREAD) ** 2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)


def data(count: int, generator: torch.Generator) -> Tensor:
    """Samples of the mixture (count, 2)."""
    which = torch.multinomial(SHARES, count, replacement=True, generator=generator)
    return CENTRES[which] + SPREAD * torch.randn(count, 2, generator=generator)


def nothing(count: int) -> Tensor:
    return torch.zeros(count, 1)


def noise(count: int, draws: int = 1, seed: int = 9) -> Tensor:
    return torch.randn(draws, count, 2, generator=torch.Generator().manual_seed(seed))


def modes(samples: Tensor) -> tuple[float, float, float]:
    """Share at the first centre, share within four deviations of either, and the deviation from the nearer one."""
    away = (samples[:, None] - CENTRES).norm(dim=2)
    near = away.amin(dim=1)
    at_one = near < 4 * SPREAD
    share = float((away[at_one].argmin(dim=1) == 0).float().mean())
    return share, float(at_one.float().mean()), float((near[at_one].square().mean() / 2).sqrt())


def seeded(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 + step)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A network that has learned the mixture's estimates."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net, exact = Small(), Mixture()

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        generator = seeded(step)
        k = torch.randint(1, SCHEDULE.levels + 1, (512,), generator=generator)
        x = SCHEDULE.noised(data(512, generator), torch.randn(512, 2, generator=generator), k)
        _, sigma = SCHEDULE.at(k, x)
        miss = (net.clean(x, k, x) - exact.clean(x, k, x)) / sigma
        return miss.square().mean(), {}

    out = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    made = trainer.train(net, loss, out, steps=1500, rate=3e-3, name="teacher")
    assert isinstance(made, Small)
    return made


def test_however_a_network_says_it_the_estimate_is_the_same() -> None:
    x, k = noise(64)[0], torch.randint(1, 95, (64,), generator=seeded(0))
    made = [Mixture(prediction).clean(x, k, x) for prediction in PREDICTIONS]
    for other in made[1:]:
        torch.testing.assert_close(other, made[0], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="'flow'"):
        Mixture("flow")


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_who_knows_the_clean_sample_has_no_denoising_loss(prediction: str) -> None:
    clean, drawn, k = data(32, seeded(1)), noise(32)[0], torch.randint(1, 101, (32,), generator=seeded(2))
    alpha, sigma = SCHEDULE.at(k, clean)

    class Knows(Denoiser):
        def predict(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
            says = {"sample": condition, "epsilon": drawn, "velocity": alpha * drawn - sigma * condition}
            return says[prediction]

    assert float(Knows(SCHEDULE, prediction).denoising_loss(clean, drawn, k, clean)) < 1e-10
    assert float(Knows(SCHEDULE, prediction).denoising_loss(clean, drawn, k, clean + 1)) > 0 or prediction == "epsilon"


def test_a_schedule_falls_from_one() -> None:
    for wrong in ([0.9, 0.5], [1.0, 0.5, 0.6], [1.0]):
        with pytest.raises(ValueError, match="fall from 1"):
            Schedule.of(torch.tensor(wrong))
    assert SCHEDULE.levels == 100
    assert Mixture().grid(4) == [100, 75, 50, 25, 0]
    with pytest.raises(ValueError, match="1 to 100 steps"):
        Mixture().grid(101)


def test_its_sampler_is_the_teachers_own() -> None:
    torch.manual_seed(2)
    weight = torch.randn(24, 24) / 5
    drawn, known = torch.randn(3, 24), torch.randn(3, 24)

    def net(features: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x @ weight + features + t[:, None])

    ours = ChunkDenoiser(net).sample(drawn, known, STEPS)
    torch.testing.assert_close(ours, diffusion.sample(net, known, drawn, STEPS), rtol=1e-4, atol=1e-5)


def test_ddim_finds_both_modes_with_their_shares() -> None:
    share, near, spread = modes(Mixture().sample(noise(4000)[0], nothing(4000), 50))
    assert abs(share - 0.7) < 0.03
    assert near > 0.98
    assert abs(spread / SPREAD - 1) < 0.15


# One generator of N(m, s²), the teacher of N(0, s²), both known exactly. At level k the estimates differ by
# m σ² / (α² s² + σ²) wherever they are asked, so that is, times α, what each sample is pushed by.
@pytest.mark.parametrize("k", [2, 30, 65, 95])
@pytest.mark.parametrize("mean", [0.5, -1.5])
def test_the_gradient_is_the_one_worked_by_hand(mean: float, k: int) -> None:
    pair = OneDP(Gaussian(mean), Gaussian(0.0), rate=1e-3)
    pair.score.mean.data.fill_(mean)
    level = torch.full((8,), k)
    made = mean + SPREAD * torch.randn(8, 1, generator=seeded(3))
    found = pair.direction(made, torch.randn(8, 1, generator=seeded(4)), level, nothing(8))
    alpha, sigma = float(SCHEDULE.alpha[k]), float(SCHEDULE.sigma[k])
    wanted = alpha * mean * sigma**2 / ((alpha * SPREAD) ** 2 + sigma**2)
    torch.testing.assert_close(found, torch.full((8, 1), wanted), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mean", [0.5, -1.5])
def test_the_generator_is_drawn_towards_the_teacher(mean: float) -> None:
    generator = Gaussian(mean)
    pair = OneDP(generator, Gaussian(0.0), rate=1e-3)
    pair.score.mean.data.fill_(mean)
    value, _ = pair.loss(torch.zeros(256, 1), nothing(256), seeded(5))
    value.backward()
    assert generator.mean.grad is not None
    assert float(generator.mean.grad) * mean > 0


def test_the_score_learns_what_the_generator_makes() -> None:
    pair = OneDP(Gaussian(0.8), Gaussian(0.0), rate=0.02)
    for step in range(150):
        pair.loss(torch.zeros(256, 1), nothing(256), seeded(step))
        pair.advance(step, 1.0)
    made = generate(Gaussian(0.8), torch.randn(4096, 1, generator=seeded(1)), nothing(4096)).mean()
    assert float(pair.score.mean.detach()) == pytest.approx(float(made.detach()), abs=0.1)


def test_one_step_of_ddim_gives_the_mean_of_the_modes(teacher: Small) -> None:
    """What regression answers, too: no sample is near a mode."""
    made = teacher.sample(noise(1000)[0], nothing(1000), 1)
    torch.testing.assert_close(made.mean(dim=0), SHARES @ CENTRES, rtol=0, atol=0.15)
    assert modes(made)[1] < 0.1


def test_onedp_makes_both_modes_with_their_shares(teacher: Small, tmp_path: Path) -> None:
    generator = teacher.twin(trainable=True)
    pair = OneDP(generator, teacher, rate=4e-3)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        return pair.loss(torch.zeros(512, 2), nothing(512), seeded(step))

    made = trainer.train(
        generator, loss, tmp_path / "onedp.pt", steps=1200, rate=1e-3, name="onedp", betas=BETAS, companion=pair
    )
    assert isinstance(made, Small)
    with torch.no_grad():
        share, near, spread = modes(generate(made, noise(4000)[0], nothing(4000)))
    assert abs(share - 0.7) < 0.08
    # A continuous map of one Gaussian cannot but leave some between the modes; one step of DDIM leaves all there.
    assert near > 0.8
    assert 0.5 < spread / SPREAD < 1.5


def test_the_levels_of_a_consistency_student_are_its_teachers() -> None:
    assert chain(Mixture(), STEPS, 1) == [100]
    assert chain(Mixture(), STEPS, 2) == [100, 50]
    assert chain(Mixture(), STEPS, 3) == [100, 70, 30]
    for evaluations in (0, 11):
        with pytest.raises(ValueError, match="1 to 10 evaluations"):
            chain(Mixture(), STEPS, evaluations)


def test_what_a_consistency_student_should_say_is_the_rest_of_the_path() -> None:
    exact = Mixture("velocity")
    pair = Consistency(exact, exact, steps=STEPS)
    x = noise(64)[0]

    def at(level: int) -> Tensor:
        return torch.full((64,), level)

    last = pair.goal(x, at(10), at(0), x)
    torch.testing.assert_close(last, exact.clean(x, at(10), x))
    before = pair.goal(x, at(20), at(10), x)
    torch.testing.assert_close(before, exact.clean(exact.step(x, at(20), at(10), x), at(10), x))


def test_a_consistency_student_is_the_teachers_path_in_one_step(teacher: Small, tmp_path: Path) -> None:
    student = teacher.twin(trainable=True)
    pair = Consistency(student, teacher, steps=STEPS)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        generator = seeded(step)
        return pair.loss(data(512, generator), nothing(512), generator)

    made = trainer.train(
        student, loss, tmp_path / "consistency.pt", steps=2500, rate=2e-3, name="consistency", companion=pair
    )
    assert isinstance(made, Small)
    drawn = noise(4000, 2)
    with torch.no_grad():
        one, two = jump(made, drawn[:1], nothing(4000), STEPS), jump(made, drawn, nothing(4000), STEPS)
    wanted = teacher.sample(drawn[0], nothing(4000), STEPS)
    untaught = teacher.sample(drawn[0], nothing(4000), 1)
    miss, before = (float((x - wanted).norm(dim=1).median()) for x in (one, untaught))
    assert miss < 0.1 < 0.5 < before
    assert abs(modes(one)[0] - modes(wanted)[0]) < 0.05
    share, near, _ = modes(two)
    assert abs(share - 0.7) < 0.1
    assert near > max(0.9, modes(one)[1] - 0.02)


@pytest.mark.parametrize("method", ["onedp", "consistency"])
def test_an_interrupted_training_ends_as_the_whole_one(
    method: str, teacher: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_SAVE_EVERY_S", -1.0)

    def run(out: Path, until: int | None = None) -> nn.Module:
        net = teacher.twin(trainable=True)
        one = OneDP(net, teacher, rate=1e-3) if method == "onedp" else Consistency(net, teacher, steps=STEPS)

        def loss(step: int) -> tuple[Tensor, dict[str, float]]:
            if step == until:
                raise KeyboardInterrupt
            generator = seeded(step)
            return one.loss(data(32, generator), nothing(32), generator)

        return trainer.train(net, loss, out, steps=12, rate=1e-3, name=method, companion=one)

    whole = run(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part.pt", until=7)
    assert torch.load(tmp_path / "part.pt", weights_only=False)["step"] == 7
    rest = run(tmp_path / "part.pt")
    for a, b in zip(whole.parameters(), rest.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    one, two = (torch.load(tmp_path / name, weights_only=False)["companion"] for name in ("whole.pt", "part.pt"))
    part = "score" if method == "onedp" else "target"
    for key, value in one[part].items():
        torch.testing.assert_close(two[part][key], value, rtol=0, atol=0)
