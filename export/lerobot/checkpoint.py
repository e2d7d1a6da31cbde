"""A directory that LeRobot saved as a policy to export, in our units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edge.arm import SO101
from edge.types import JOINTS
from export import sampling
from export.errors import ExportError
from export.lerobot.act import TRAINING_ONLY, Act
from export.lerobot.diffusion import Diffusion
from export.lerobot.settings import ACTION, ENVIRONMENT, STATE, DiffusionSettings, Features, read_settings
from export.lerobot.statistics import Affine, Normalisation, read_normalisation
from export.lerobot.unet import Film, Modulated
from export.lerobot.units import joint_units
from export.lerobot.weights import fill, read_tensors, split
from export.source import CHUNK, IMAGE, JOINT_UNIT, JOINTS_IN, NOISE, Inputs, Pace, Port, Source, to_onnx
from export.source import ENVIRONMENT as ENVIRONMENT_KIND

LONGEST = 64
"""Targets that the control loop takes at once."""
_RESERVED = ("joints", "call", "goal", "noise", "environment", "chunk", "finished")


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
        noise: fixed or input.
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


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights, and how its units become ours."""

    network: Diffusion | Act
    normal: Normalisation
    environment: str | None


def load(directory: Path, ignore: Sequence[str] = ()) -> Checkpoint:
    """Rebuilds the network of a checkpoint and fills it.

    Raises:
        ExportError: What is missing, does not fit or is not supported.
    """
    settings = read_settings(directory, ignore)
    tensors = read_tensors(directory / "model.safetensors", "the weights that LeRobot saved")
    weights, buffers = split(tensors)
    environment = ENVIRONMENT if settings.features.environment else None
    normal = read_normalisation(directory, settings.features, buffers, environment)
    network: Diffusion | Act
    if isinstance(settings, DiffusionSettings):
        network = Diffusion(settings)
        fill(network, weights, "diffusion.")
    else:
        network = Act(settings)
        fill(network, weights, "model.", lambda name: settings.use_vae and name.startswith(TRAINING_ONLY))
    return Checkpoint(network, normal, environment)


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
        return _diffusion(found.network, inputs, units.after(found.normal.action), found.normal, options)
    return _act(found.network, inputs, units.after(found.normal.action), found.normal, options)


class Folded(nn.Module):
    """The graph's inputs to the network's: images uint8 RGB, joints in our units, scaled as in training."""

    def __init__(self, checkpoint: Checkpoint, features: Features, units: Affine) -> None:
        super().__init__()
        self.history = getattr(checkpoint.network.settings, "n_obs_steps", 1)
        self.images = {camera_name(key, checkpoint.normal.renamed): key for key in features.images}
        self.environment = checkpoint.environment
        if len(self.images) < len(features.images) or set(self.images) & set(_RESERVED):
            got = ", ".join(features.images)
            raise ExportError("the checkpoint's cameras cannot be told apart", expected="a name for each", got=got)
        state = checkpoint.normal.inputs[STATE].after(units.inverse())
        affines = {f"image{i}": checkpoint.normal.inputs[key] for i, key in enumerate(self.images.values())}
        affines = {name: Affine(a.scale / 255, a.shift) for name, a in affines.items()} | {"state": state}
        if self.environment is not None:
            affines["environment"] = checkpoint.normal.inputs[self.environment]
        for name, affine in affines.items():
            shape = (-1, 1, 1) if name.startswith("image") else (-1,)
            self.register_buffer(f"{name}_scale", torch.from_numpy(affine.scale).float().reshape(shape))
            self.register_buffer(f"{name}_shift", torch.from_numpy(affine.shift).float().reshape(shape))
        self._affines, self._features = affines, features

    def forward(self, *inputs: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
        """Images by LeRobot's key (1, S, 3, H, W), state (1, S, joints), environment (1, S, length) or None."""
        rows = inputs if self.history > 1 else tuple(value[:, None] for value in inputs)
        images = {}
        for index, (key, row) in enumerate(zip(self.images.values(), rows, strict=False)):
            scale, shift = getattr(self, f"image{index}_scale"), getattr(self, f"image{index}_shift")
            images[key] = row.permute(0, 1, 4, 2, 3).float() * scale + shift
        rest = rows[len(self.images) :]
        state = rest[0] * self.state_scale + self.state_shift
        environment = rest[1] * self.environment_scale + self.environment_shift if self.environment else None
        return images, state, environment

    def ports(self, normal: Normalisation) -> tuple[Port, ...]:
        """The graph's inputs, in the order of `forward`."""
        lead = (1,) if self.history == 1 else (1, self.history)
        made = [
            Port(name, "uint8", (*lead, *self._features.images[key], 3), IMAGE, "RGB, 0 to 255", normal.modes[key])
            for name, key in self.images.items()
        ]
        made.append(
            Port("joints", "float32", (*lead, self._features.state), JOINTS_IN, JOINT_UNIT, normal.modes[STATE])
        )
        if self.environment is not None:
            shape = (*lead, self._features.environment)
            mode = normal.modes[self.environment]
            made.append(Port("environment", "float32", shape, ENVIRONMENT_KIND, "as in training", mode))
        return tuple(made)

    def case(self, ports: Sequence[Port], rng: np.random.Generator) -> Inputs:
        """Any picture, and joints and environment from -1 to 1 where the network sees them."""
        values: Inputs = {}
        for port in ports:
            if port.dtype == "uint8":
                values[port.name] = rng.integers(0, 256, port.shape, dtype=np.uint8)
            elif port.kind == NOISE:
                values[port.name] = rng.standard_normal(port.shape, dtype=np.float32)
            else:
                back = self._affines["state" if port.name == "joints" else port.name].inverse()
                values[port.name] = (rng.uniform(-1, 1, port.shape) * back.scale + back.shift).astype(np.float32)
        return values


def camera_name(key: str, renamed: dict[str, str]) -> str:
    """The robot's name of a camera: LeRobot's key less what all keys begin with."""
    key = renamed.get(key, key)
    for prefix in ("observation.images.", "observation."):
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


class Finish(nn.Module):
    """The network's actions to targets in our units: from the present one on, as many as the loop takes."""

    def __init__(self, actions: Affine, start: int, end: int) -> None:
        super().__init__()
        self.start, self.end = start, end
        self.register_buffer("scale", torch.from_numpy(actions.scale).float())
        self.register_buffer("shift", torch.from_numpy(actions.shift).float())

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.end] * self.scale + self.shift


class _Encode(nn.Module):
    def __init__(self, folded: Folded, network: Diffusion) -> None:
        super().__init__()
        self.folded, self.network, self.film = folded, network, Film(network.unet)

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.film(self.network.condition(*self.folded(*inputs))),)


def _diffusion(network: Diffusion, folded: Folded, actions: Affine, normal: Normalisation, options: Options) -> Source:
    settings = network.settings
    levels = settings.num_train_timesteps
    default = min(10, levels) if options.sampler == "ddim" else levels
    plan = network.sampler(options.sampler, default if options.steps is None else options.steps)
    shape = (1, settings.horizon, settings.features.actions)
    start = settings.n_obs_steps - 1
    finish = Finish(actions, start, min(settings.horizon, start + LONGEST)).eval()
    fixed = sampling.draw(plan, shape, options.seed)
    ports = folded.ports(normal)

    @torch.no_grad()
    def reference(*inputs: Tensor) -> tuple[Tensor]:
        condition = network.condition(*folded(*inputs[: len(ports)]))
        noise = torch.from_numpy(fixed) if options.noise == "fixed" else inputs[-1][0]

        def denoise(x: Tensor, level: float) -> Tensor:
            return network.denoise(x, torch.tensor([level]), condition)

        return (finish(sampling.sample(denoise, plan, noise)),)

    def graph() -> object:
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
        return sampling.graph(parts, plan, example, fixed if options.noise == "fixed" else None)

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

    def graph() -> object:
        example = [torch.from_numpy(value) for value in folded.case(ports, np.random.default_rng(0)).values()]
        return to_onnx(module, example, [port.name for port in ports], ["chunk"])

    return _source(
        "LeRobot act", network, folded, finish, module, graph, normal, options, steps=settings.n_action_steps,
        evaluations=1,
    )  # fmt: skip


def _source(
    name: str, network: Diffusion | Act, folded: Folded, finish: Finish, reference: object, graph: object,
    normal: Normalisation, options: Options, *, steps: int, evaluations: int, extra: tuple[Port, ...] = (),
) -> Source:  # fmt: skip
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
        reference=reference,  # type: ignore[arg-type]
        inputs=ports,
        outputs=(chunk,),
        graph=graph,  # type: ignore[arg-type]
        case=lambda rng: folded.case(ports, rng),
        evaluations=evaluations,
        parameters=sum(p.numel() for p in network.parameters()),
        pace=Pace(float(options.hz or 0), replan, 0),
        notes=tuple(notes),
        training={"format": "LeRobot", "normalisation": dict(normal.modes), "joint_units": options.units},
    )
