"""How LeRobot scales what goes in and out of a policy: from its processor files, or an older model's buffers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from export.lerobot.settings import ACTION, STATE, Features
from export.lerobot.weights import State, read_tensors

Numbers = NDArray[np.float64]
PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
#: Steps of a processor that change no number.
_INERT = {"to_batch_processor", "device_processor"}
_EPSILON = 1e-8
#: Statistics that become -1 and 1, by mode.
_BOUNDS = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
MODES = ("MEAN_STD", *_BOUNDS, "IDENTITY")


@dataclass(frozen=True)
class Affine:
    """x ↦ scale x + shift, a number for each element of the last axis (of an image: for each channel)."""

    scale: Numbers
    shift: Numbers

    def inverse(self) -> Affine:
        """The way back."""
        return Affine(1 / self.scale, -self.shift / self.scale)

    def after(self, first: Affine) -> Affine:
        """This one applied to what `first` gives."""
        return Affine(self.scale * first.scale, self.scale * first.shift + self.shift)


@dataclass(frozen=True)
class Normalisation:
    """LeRobot's units to the network's, by feature, and the network's actions to LeRobot's units.

    Attributes:
        inputs: By LeRobot's key.
        action: Of the network's output.
        modes: How each feature is scaled, in LeRobot's words.
        renamed: Names that the robot's observations have where they are others than the network's keys.
    """

    inputs: Mapping[str, Affine]
    action: Affine
    modes: Mapping[str, str]
    renamed: Mapping[str, str]


def read_normalisation(directory: Path, features: Features, buffers: State, environment: str | None) -> Normalisation:
    """Finds a checkpoint's statistics.

    Args:
        directory: The checkpoint.
        features: From its settings.
        buffers: Statistics found in `model.safetensors`, as older versions kept them.
        environment: Key of the environment's state, if there is one.

    Raises:
        ExportError: There are none, one is missing or unusable, or a processor does something that is not known here.
    """
    renamed: dict[str, str] = {}
    if (directory / PREPROCESSOR).is_file():
        before, renamed, epsilon = _processor(directory, PREPROCESSOR, "normalizer_processor")
        after, _, epsilon_after = _processor(directory, POSTPROCESSOR, "unnormalizer_processor")
        legacy = False
    elif buffers:
        before, after = _buffers(buffers, "normalize_inputs."), _buffers(buffers, "unnormalize_outputs.")
        epsilon = epsilon_after = _EPSILON
        legacy = True
    else:
        raise ExportError(
            f"{directory} says nothing of its normalisation",
            expected=f"{PREPROCESSOR} and {POSTPROCESSOR}, or statistics within model.safetensors",
            got="neither",
            fix="copy the whole directory that LeRobot saved",
        )
    keys = [(key, "VISUAL", 3) for key in features.images] + [(STATE, "STATE", features.state)]
    if environment is not None:
        keys.append((environment, "ENV", features.environment))
    modes = {key: str(features.modes.get(kind, "IDENTITY")) for key, kind, _ in keys}
    modes[ACTION] = str(features.modes.get("ACTION", "IDENTITY"))
    inputs = {key: _scaling(key, modes[key], before, size, epsilon, legacy) for key, _, size in keys}
    action = _action(modes[ACTION], after, features.actions, epsilon_after)
    return Normalisation(inputs, action, modes, renamed)


def _processor(directory: Path, name: str, wanted: str) -> tuple[dict[str, State], dict[str, str], float]:
    """Statistics by key, renamed observations and epsilon of a processor file."""
    path = directory / name
    try:
        steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
        rows = [(step.get("registry_name") or step["class"], step.get("config", {}), step) for step in steps]
    except FileNotFoundError as problem:
        fix = "copy the whole directory that LeRobot saved"
        raise ExportError(f"the checkpoint lacks {name}", expected=str(path), got="no such file", fix=fix) from problem
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        got = f"{type(problem).__name__}: {problem}"
        raise ExportError(f"cannot read {path}", expected="a processor that LeRobot saved", got=got) from problem
    statistics: dict[str, State] | None = None
    renamed: dict[str, str] = {}
    epsilon = _EPSILON
    for kind, config, step in rows:
        if kind == wanted:
            if config.get("normalize_observation_keys") is not None:
                raise ExportError(f"{path}: normalize_observation_keys is not supported", expected="all keys scaled")
            epsilon = float(config.get("eps", _EPSILON))
            statistics = {}
            if "state_file" in step:
                for flat, tensor in read_tensors(directory / step["state_file"], f"the statistics of {name}").items():
                    key, _, statistic = flat.rpartition(".")
                    statistics.setdefault(key, {})[statistic] = tensor
        elif kind == "rename_observations_processor":
            renamed = {new: old for old, new in config.get("rename_map", {}).items()}
        elif kind not in _INERT:
            expected = ", ".join(sorted({*_INERT, "rename_observations_processor", wanted}))
            raise ExportError(f"{path} has a step that is not supported", expected=expected, got=str(kind))
    if statistics is None:
        raise ExportError(f"{path} scales nothing", expected=f"a step {wanted}", got=", ".join(row[0] for row in rows))
    return statistics, renamed, epsilon


def _buffers(buffers: State, prefix: str) -> dict[str, State]:
    """Statistics by key. In a buffer's name the dots of the key are underscores, and `buffer_` comes before it."""
    found: dict[str, State] = {}
    for name, tensor in buffers.items():
        if name.startswith(prefix):
            key, _, statistic = name.removeprefix(prefix).removeprefix("buffer_").rpartition(".")
            found.setdefault(key, {})[statistic] = tensor
    return found


def _statistic(key: str, mode: str, statistic: str, found: Mapping[str, Any], size: int) -> Numbers:
    values = found.get(key, found.get(key.replace(".", "_"), {})).get(statistic)
    if values is None:
        raise ExportError(
            f"the checkpoint has no statistics of {key}", expected=f"its {statistic}, for {mode}",
            got=", ".join(found) or "none", fix="save the policy with its data set's statistics, or train it again",
        )  # fmt: skip
    numbers = np.asarray(values, np.float64).reshape(-1)
    if numbers.shape != (size,) or not np.isfinite(numbers).all():
        got = f"{numbers.size} numbers: {', '.join(f'{number:g}' for number in numbers[:8])}"
        raise ExportError(f"the {statistic} of {key} cannot be used", expected=f"{size} finite numbers", got=got)
    return numbers


def _check(key: str, mode: str) -> None:
    if mode not in MODES:
        raise ExportError(f"normalisation of {key} is not supported", expected=", ".join(MODES), got=mode)


def _scaling(key: str, mode: str, found: Mapping[str, State], size: int, epsilon: float, legacy: bool) -> Affine:
    _check(key, mode)
    if mode == "IDENTITY":
        return Affine(np.ones(size), np.zeros(size))
    if mode == "MEAN_STD":
        scale = 1 / (_statistic(key, mode, "std", found, size) + epsilon)
        return Affine(scale, -_statistic(key, mode, "mean", found, size) * scale)
    low, high = (_statistic(key, mode, name, found, size) for name in _BOUNDS[mode])
    # A joint that never moved has no range: older versions widened every range a little, newer ones that one only.
    scale = 2 / (high - low + epsilon if legacy else np.where(high == low, epsilon, high - low))
    return Affine(scale, -low * scale - 1)


def _action(mode: str, found: Mapping[str, State], size: int, epsilon: float) -> Affine:
    _check(ACTION, mode)
    if mode == "IDENTITY":
        return Affine(np.ones(size), np.zeros(size))
    if mode == "MEAN_STD":
        return Affine(_statistic(ACTION, mode, "std", found, size), _statistic(ACTION, mode, "mean", found, size))
    low, high = (_statistic(ACTION, mode, name, found, size) for name in _BOUNDS[mode])
    half = np.where(high == low, epsilon, high - low) / 2
    return Affine(half, low + half)
