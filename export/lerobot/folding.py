"""What a LeRobot network takes and gives, in our units: scaling and joint units become part of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.lerobot.act import TRAINING_ONLY, Act
from export.lerobot.diffusion import Diffusion
from export.lerobot.settings import ENVIRONMENT, STATE, DiffusionSettings, Features, read_settings
from export.lerobot.statistics import Affine, Normalisation, read_normalisation
from export.lerobot.weights import fill, read_tensors, split
from export.source import ENVIRONMENT as ENVIRONMENT_KIND
from export.source import IMAGE, JOINT_UNIT, JOINTS_IN, NOISE, Inputs, Port

_RESERVED = ("joints", "call", "goal", "noise", "environment", "chunk", "finished")


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


def camera_name(key: str, renamed: Mapping[str, str]) -> str:
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
