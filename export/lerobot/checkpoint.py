"""A directory that LeRobot saved as a policy to export, in our units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn

from edge.arm import SO101
from edge.types import JOINTS
from export import sampling
from export.errors import ExportError
from export.lerobot.act import Act
from export.lerobot.diffusion import Diffusion
from export.lerobot.folding import Finish, Folded, load
from export.lerobot.settings import ACTION
from export.lerobot.statistics import Affine, Normalisation
from export.lerobot.student import read_student
from export.lerobot.unet import Film, Modulated
from export.lerobot.units import joint_units
from export.schedule import Sampler
from export.source import CHUNK, JOINT_UNIT, NOISE, Pace, Port, Source, to_onnx

LONGEST = 64
"""Targets that the control loop takes at once."""


@dataclass(frozen=True)
class Options:
    """What a checkpoint does not say of itself, and how to sample.

    Attributes:
        units: Of its joints: degrees, range or radians.
        hz: Frames a second of the data it was trained on.
        calibration: LeRobot's calibration file, for `range`.
        robot: Arm description.
        sampler: ddim or ddpm.
        steps: Evaluations; None for 10 of DDIM, for all levels of DDPM.
        noise: fixed, zero or input.
        seed: Of the fixed noise.
        ignore: Settings that make no difference.
    """

    units: str | None = None
    hz: float | None = None
    calibration: Path | None = None
    robot: Path = SO101
    sampler: str = "ddim"
    steps: int | None = None
    noise: str = "fixed"
    seed: int = 0
    ignore: tuple[str, ...] = ()


def open_lerobot(directory: Path, options: Options) -> Source:
    """The policy of a checkpoint.

    Raises:
        ExportError: What is missing, does not fit or is not supported.
    """
    sampling.check_noise(options.noise)
    units = joint_units(options.units, options.robot, options.calibration)
    if options.hz is None or not 0 < options.hz <= 1000:
        raise ExportError(
            "how many targets a second does the policy give? Its files do not say",
            expected="--hz N, the frames a second of the data it was trained on (usually 30)",
            got="nothing" if options.hz is None else f"{options.hz:g}",
        )
    found = load(directory, options.ignore)
    features = found.network.settings.features
    if (features.state, features.actions) != (len(JOINTS), len(JOINTS)):
        got = f"{features.state} in the state, {features.actions} in an action"
        raise ExportError("the policy is not one for this arm", expected=f"{len(JOINTS)} joints in both", got=got)
    inputs = Folded(found, features, units)
    if isinstance(found.network, Diffusion):
        student = read_student(directory)
        plan = _sampler(found.network, options) if student is None else student.sampler(found.network, options.steps)
        return _diffusion(found.network, inputs, units.after(found.normal.action), found.normal, options, plan)
    return _act(found.network, inputs, units.after(found.normal.action), found.normal, options)


class _Encode(nn.Module):
    def __init__(self, folded: Folded, network: Diffusion) -> None:
        super().__init__()
        self.folded, self.network, self.film = folded, network, Film(network.unet)

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.film(self.network.condition(*self.folded(*inputs))),)


def _sampler(network: Diffusion, options: Options) -> Sampler:
    levels = network.settings.num_train_timesteps
    default = min(10, levels) if options.sampler == "ddim" else levels
    return network.sampler(options.sampler, default if options.steps is None else options.steps)


def _diffusion(
    network: Diffusion, folded: Folded, actions: Affine, normal: Normalisation, options: Options, plan: Sampler
) -> Source:
    settings = network.settings
    shape = (1, settings.horizon, settings.features.actions)
    start = settings.n_obs_steps - 1
    finish = Finish(actions, start, min(settings.horizon, start + LONGEST)).eval()
    fixed = sampling.draw(plan, shape, options.seed, options.noise)
    ports = folded.ports(normal)

    @torch.no_grad()
    def reference(*inputs: Tensor) -> tuple[Tensor]:
        condition = network.condition(*folded(*inputs[: len(ports)]))
        noise = inputs[-1][0] if options.noise == "input" else torch.from_numpy(fixed)

        def denoise(x: Tensor, level: float) -> Tensor:
            return network.denoise(x, torch.tensor([level]), condition)

        return (finish(sampling.sample(denoise, plan, noise)),)

    def graph() -> ModelProto:
        encoder = _Encode(folded, network).eval()
        parts = sampling.Parts(
            encoder=encoder,
            denoiser=Modulated(network.unet).eval(),
            finish=finish,
            inputs=tuple(port.name for port in ports),
            conditions=("film",),
            others=(),
            level=encoder.film.level,
            shape=shape,
        )
        example = [torch.from_numpy(value) for value in folded.case(ports, np.random.default_rng(0)).values()]
        return sampling.graph(parts, plan, example, None if options.noise == "input" else fixed)

    noise = Port("noise", "float32", (1, plan.draws, *shape[1:]), NOISE, "standard normal")
    return _source(
        f"LeRobot diffusion, {plan.name} {len(plan.steps)}", network, folded, finish, reference, graph, normal, options,
        steps=settings.n_action_steps, evaluations=len(plan.steps), extra=(noise,) if options.noise == "input" else (),
    )  # fmt: skip


class _ActGraph(nn.Module):
    def __init__(self, folded: Folded, network: Act, finish: Finish) -> None:
        super().__init__()
        self.folded, self.network, self.finish = folded, network, finish

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        images, state, environment = self.folded(*inputs)
        now = {key: image[:, 0] for key, image in images.items()}
        return (self.finish(self.network(now, state[:, 0], None if environment is None else environment[:, 0])),)


def _act(network: Act, folded: Folded, actions: Affine, normal: Normalisation, options: Options) -> Source:
    settings = network.settings
    finish = Finish(actions, 0, min(settings.chunk_size, LONGEST)).eval()
    module = _ActGraph(folded, network, finish).eval()
    ports = folded.ports(normal)

    def graph() -> ModelProto:
        example = [torch.from_numpy(value) for value in folded.case(ports, np.random.default_rng(0)).values()]
        return to_onnx(module, example, [port.name for port in ports], ["chunk"])

    return _source(
        "LeRobot act", network, folded, finish, module, graph, normal, options, steps=settings.n_action_steps,
        evaluations=1,
    )  # fmt: skip


def _source(
    name: str,
    network: Diffusion | Act,
    folded: Folded,
    finish: Finish,
    reference: Callable[..., Sequence[Tensor]],
    graph: Callable[[], ModelProto],
    normal: Normalisation,
    options: Options,
    *,
    steps: int,
    evaluations: int,
    extra: tuple[Port, ...] = (),
) -> Source:
    ports = (*folded.ports(normal), *extra)
    length = finish.end - finish.start
    # The next chunk is computed while this one is followed: some of it must be left then.
    replan = min(steps, max(1, length * 3 // 4))
    chunk = Port("chunk", "float32", (1, length, len(JOINTS)), CHUNK, JOINT_UNIT, normal.modes[ACTION])
    notes = [f"joint units {options.units}: 0 rad is where the arm's calibration says, so run it with the calibration"]
    if options.units == "radians":
        notes = []
    if replan < steps:
        notes.append(f"of {steps} action steps {replan} are followed until the next chunk, which has {length} targets")
    return Source(
        name=name,
        reference=reference,
        inputs=ports,
        outputs=(chunk,),
        graph=graph,
        case=lambda rng: folded.case(ports, rng),
        evaluations=evaluations,
        parameters=sum(p.numel() for p in network.parameters()),
        pace=Pace(float(options.hz or 0), replan, 0),
        notes=tuple(notes),
        training={"format": "LeRobot", "normalisation": dict(normal.modes), "joint_units": options.units},
    )
