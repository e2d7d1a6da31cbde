"""Checkpoints of `learning.policy` as policies to export: a student of any method, or the teacher under a sampler."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.tabletop import API
from export.errors import ExportError
from export.source import (
    CALL,
    CHUNK,
    FINISHED,
    GOAL,
    IMAGE,
    JOINT_UNIT,
    JOINTS_IN,
    NOISE,
    Inputs,
    Port,
    Source,
    to_onnx,
)

_SIDE, _HORIZON = 96, 16
INPUTS = (
    Port("front", "uint8", (1, _SIDE, _SIDE, 3), IMAGE, "RGB, 0 to 255", "to [0, 1]"),
    Port("wrist", "uint8", (1, _SIDE, _SIDE, 3), IMAGE, "RGB, 0 to 255", "to [0, 1]"),
    Port("joints", "float32", (1, 6), JOINTS_IN, JOINT_UNIT, "by the spread of the demonstrations"),
    Port("call", "int32", (1, 5), CALL, "tokens of the robot API"),
    Port("goal", "float32", (1, 6), GOAL, "valid, x, y, z in metres, cos yaw, sin yaw"),
)
OUTPUTS = (
    Port("chunk", "float32", (1, _HORIZON, 6), CHUNK, JOINT_UNIT, "by the spread of the demonstrations"),
    Port("finished", "float32", (1, 1), FINISHED, "probability"),
)


def case(rng: np.random.Generator) -> Inputs:
    """One random input of the contract's shapes and types: any picture, any pose, any call the API can make."""
    calls = list(API.calls())
    return {
        "front": rng.integers(0, 256, (1, _SIDE, _SIDE, 3), dtype=np.uint8),
        "wrist": rng.integers(0, 256, (1, _SIDE, _SIDE, 3), dtype=np.uint8),
        "joints": rng.uniform(-1.5, 1.5, (1, 6)).astype(np.float32),
        "call": API.encode(calls[rng.integers(len(calls))])[None],
        "goal": rng.uniform(-1, 1, (1, 6)).astype(np.float32),
    }


def open_student(
    checkpoint: Path, method: str, evaluations: int | None = None, noise: str = "fixed", seed: int = 0
) -> Source:
    """A student of `learning.policy`; `stage-one` is the encoder's own head.

    Args:
        checkpoint: Directory of its training.
        method: How it was trained.
        evaluations: How often it evaluates its head, where the method leaves a choice.
        noise: `fixed` or `zero`.
        seed: Of the fixed noise.

    Raises:
        ExportError: No such method, noise or number of evaluations, or a checkpoint is missing.
    """
    import torch

    from learning.policy import students
    from learning.policy.student import load_student

    if noise not in ("fixed", "zero"):
        raise ExportError("a student's noise is kept in its graph", expected="--noise fixed or zero", got=repr(noise))
    if method != "stage-one":
        try:
            students.evaluations(method, evaluations)
        except ValueError as problem:
            raise ExportError(f"no such student: {problem}", expected=", ".join(students.METHODS)) from problem
    _check(
        checkpoint, ["encoder.pt"] if method == "stage-one" else ["encoder.pt", "refiner.pt", f"student-{method}.pt"]
    )
    student, training = load_student(checkpoint, method, evaluations, None if noise == "zero" else seed)
    name = f"{method}, {student.evaluations} evaluation(s)" if method == "consistency" else method
    names = [port.name for port in INPUTS]
    example = case(np.random.default_rng(0))
    return Source(
        name=name + (", zero noise" if noise == "zero" else ""),
        reference=student,
        inputs=INPUTS,
        outputs=OUTPUTS,
        graph=lambda: to_onnx(
            student, [torch.from_numpy(example[name]) for name in names], names, [port.name for port in OUTPUTS]
        ),
        case=case,
        evaluations=student.evaluations,
        parameters=sum(p.numel() for p in student.parameters()),
        training=training,
    )


def open_teacher(checkpoint: Path, sampler: str, steps: int | None, noise: str, seed: int) -> Source:
    """The diffusion teacher under DDIM, in the steps that its students learned, or under DDPM, at all its levels.

    It learned velocities at continuous levels, so that any number of steps is possible with either.

    Raises:
        ExportError: A checkpoint is missing, or there is no such sampler.
    """
    import torch
    from torch import Tensor, nn

    from export import sampling, schedule
    from learning.policy import diffusion, vision
    from learning.policy.heads import CHUNK as WIDTH
    from learning.policy.heads import ChunkNet
    from learning.policy.refiner import Refiner
    from learning.policy.student import load_part

    sampling.check_noise(noise)
    _check(checkpoint, ["encoder.pt", "refiner.pt", "teacher.pt"])
    seen, origin = vision.load(checkpoint / "encoder.pt")
    refiner, net = Refiner(), ChunkNet(Refiner.FEATURES)
    training = {"encoder": {"step": origin["step"], "steps": origin["steps"], "seed": origin["seed"]}}
    training["refiner"] = load_part(refiner, checkpoint / "refiner.pt")
    training["teacher"] = load_part(net, checkpoint / "teacher.pt")

    class Encode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.refiner = seen.encoder, refiner

        def forward(
            self, front: Tensor, wrist: Tensor, joints: Tensor, call: Tensor, goal: Tensor
        ) -> tuple[Tensor, Tensor]:
            refined = self.refiner(self.encoder(front, wrist, joints, call, goal).raw, joints)
            return refined.features, refined.finished.sigmoid()

    class Denoise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, level: Tensor, features: Tensor) -> Tensor:
            return self.net(features, x, level)

    class Finish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normal = seen.normal

        def forward(self, x: Tensor) -> Tensor:
            return self.normal.unsquash(x)

    default = diffusion.STEPS if sampler == "ddim" else diffusion.LEVELS
    count = default if steps is None else steps
    if count < 1:
        raise ExportError("the sampler cannot take so many steps", expected="1 or more", got=str(count))
    levels = torch.linspace(1.0, 0.0, count + 1)
    plan = schedule.velocity(sampler, diffusion.alpha_bar(levels).double().numpy(), levels.double().numpy())
    encode, finish = Encode().eval(), Finish().eval()
    fixed = sampling.draw(plan, (1, WIDTH), seed, noise)

    def reference(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        features, finished = encode(*inputs[: len(INPUTS)])
        draws = inputs[-1][0] if noise == "input" else torch.from_numpy(fixed)
        if sampler == "ddim":
            chunk = diffusion.sample(net, features, draws[:1], count)
        else:
            chunk = sampling.sample(lambda x, level: net(features, x, torch.tensor([level])), plan, draws)
        return finish(chunk), finished

    parts = sampling.Parts(
        encoder=encode,
        denoiser=Denoise().eval(),
        finish=finish,
        inputs=tuple(port.name for port in INPUTS),
        conditions=("features",),
        others=("finished",),
        level=lambda level: torch.tensor([level]),
        shape=(1, WIDTH),
    )
    example = [torch.from_numpy(value) for value in case(np.random.default_rng(0)).values()]
    extra = (Port("noise", "float32", (1, plan.draws, WIDTH), NOISE, "standard normal"),) if noise == "input" else ()

    def noisy(rng: np.random.Generator) -> Inputs:
        drawn = {"noise": rng.standard_normal((1, plan.draws, WIDTH), dtype=np.float32)} if noise == "input" else {}
        return case(rng) | drawn

    return Source(
        name=f"teacher, {sampler} {count}" + (", zero noise" if noise == "zero" else ""),
        reference=reference,
        inputs=(*INPUTS, *extra),
        outputs=OUTPUTS,
        graph=lambda: sampling.graph(parts, plan, example, None if noise == "input" else fixed),
        case=noisy,
        evaluations=count,
        parameters=sum(p.numel() for part in (encode, net, finish) for p in part.parameters()),
        training=training,
    )


def _check(checkpoint: Path, wanted: list[str]) -> None:
    for name in wanted:
        if not (checkpoint / name).exists():
            what = name.removesuffix(".pt")
            what = f"student --method {what.removeprefix('student-')}" if what.startswith("student-") else what
            raise ExportError(
                f"{checkpoint / name} does not exist",
                expected="a checkpoint of learning.policy, or one that LeRobot saved",
                fix=f"train it: python -m learning.policy {what}",
            )
