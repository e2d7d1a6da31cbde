"""`config.json` of a LeRobot checkpoint, read into what our networks are built from. The rest is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from export.errors import ExportError
from export.lerobot.resnet import KINDS

TYPES = ("act", "diffusion")
STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"

#: Settings that only training, LeRobot's own loop or its hub look at.
_ELSEWHERE = {
    "type", "device", "use_amp", "push_to_hub", "repo_id", "private", "tags", "license", "pretrained_path",
    "pretrained_backbone_weights", "crop_is_random", "crop_ratio", "drop_n_last_frames", "do_mask_loss_for_padding",
    "compile_model", "compile_mode", "dropout", "kl_weight", "use_peft", "latent_dim", "n_vae_encoder_layers",
    "scheduler_name", "scheduler_warmup_steps", "noise_scheduler_type", "num_inference_steps",
}  # fmt: skip
_ELSEWHERE_PREFIX = "optimizer_"


@dataclass(frozen=True)
class Features:
    """What goes in and out, by LeRobot's keys.

    Attributes:
        state: Joints in the state.
        actions: Joints in an action.
        environment: Length of the environment's state, 0 if there is none.
        images: (height, width) by key, in the order in which the network takes them.
        modes: Normalisation by kind of feature: VISUAL, STATE, ENV, ACTION.
    """

    state: int
    actions: int
    environment: int
    images: Mapping[str, tuple[int, int]]
    modes: Mapping[str, str]


@dataclass(frozen=True)
class DiffusionSettings:
    """Settings of a `diffusion` checkpoint under LeRobot's names."""

    features: Features
    n_obs_steps: int
    horizon: int
    n_action_steps: int
    vision_backbone: str
    resize_shape: tuple[int, int] | None
    crop_shape: tuple[int, int] | None
    use_group_norm: bool
    spatial_softmax_num_keypoints: int
    use_separate_rgb_encoder_per_camera: bool
    down_dims: tuple[int, ...]
    kernel_size: int
    n_groups: int
    diffusion_step_embed_dim: int
    use_film_scale_modulation: bool
    num_train_timesteps: int
    beta_schedule: str
    beta_start: float
    beta_end: float
    prediction_type: str
    clip_sample: bool
    clip_sample_range: float


@dataclass(frozen=True)
class ActSettings:
    """Settings of an `act` checkpoint under LeRobot's names."""

    features: Features
    chunk_size: int
    n_action_steps: int
    vision_backbone: str
    replace_final_stride_with_dilation: bool
    pre_norm: bool
    dim_model: int
    n_heads: int
    dim_feedforward: int
    feedforward_activation: str
    n_encoder_layers: int
    n_decoder_layers: int
    use_vae: bool
    latent_dim: int


def is_lerobot(directory: Path) -> bool:
    """Whether a directory is a checkpoint as LeRobot saves it."""
    return (directory / "config.json").is_file() and not (directory / "encoder.pt").exists()


def read_settings(directory: Path, ignore: Collection[str] = ()) -> DiffusionSettings | ActSettings:
    """Reads `config.json`.

    Args:
        directory: The checkpoint.
        ignore: Settings that the person knows to make no difference.

    Raises:
        ExportError: Not readable, another type of policy, a setting that is missing, unknown or not supported.
    """
    path = directory / "config.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ExportError(f"cannot read {path}", expected="the JSON that LeRobot wrote", got=str(problem)) from problem
    kind = data.get("type") if isinstance(data, dict) else None
    if kind not in TYPES:
        older = isinstance(data, dict) and "input_shapes" in data
        raise ExportError(
            f"{path}: this type of policy is not supported",
            expected=" or ".join(TYPES),
            got=repr(kind) if kind else "no key 'type'" + (", but one of LeRobot's first versions" if older else ""),
            fix="load and save it with a newer LeRobot" if older else "train one of those, or name another checkpoint",
        )
    fields = _Fields(path, data)
    if data.get("use_peft"):
        raise fields.refused("use_peft", "false", True, "merge the adapter into the weights with LeRobot first")
    features = _features(fields)
    settings = _diffusion(fields, features) if kind == "diffusion" else _act(fields, features)
    fields.check_all_read(ignore)
    return settings


class _Fields:
    """The settings by name, with what was read kept in mind."""

    def __init__(self, path: Path, data: Mapping[str, Any]) -> None:
        self.path, self._data = path, data
        self._read: set[str] = set()

    def refused(self, name: str, expected: str, got: object, fix: str = "") -> EdgeError:
        return ExportError(f"{self.path}: {name} cannot be exported", expected=expected, got=str(got), fix=fix)

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add(name)
        return self._data.get(name, default)

    def integer(self, name: str, default: int | None = None, least: int = 1) -> int:
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refused(name, f"an integer of {least} or more", repr(value))
        return value

    def number(self, name: str, default: float) -> float:
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refused(name, "a number", repr(value))
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name, default)
        if value not in (True, False, 0, 1):
            raise self.refused(name, "true or false", repr(value))
        return bool(value)

    def one_of(self, name: str, default: str, known: Collection[str]) -> str:
        value = self.get(name, default)
        if value not in known:
            raise self.refused(name, ", ".join(known), repr(value))
        return str(value)

    def pair(self, name: str) -> tuple[int, int] | None:
        value = self.get(name)
        if value is None:
            return None
        if not (isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value)):
            raise self.refused(name, "two positive integers, height and width", repr(value))
        return value[0], value[1]

    def check_all_read(self, ignore: Collection[str]) -> None:
        """A setting nobody here knows may change what the policy does; one that is off does not."""
        for name, value in self._data.items():
            known = name in self._read or name in _ELSEWHERE or name.startswith(_ELSEWHERE_PREFIX) or name in ignore
            if not known and value not in (None, False, 0, "", [], {}):
                fix = f"if it makes no difference to what the policy does: --ignore-setting {name}"
                raise ExportError(f"{self.path} has an unknown setting {name!r}", got=repr(value), fix=fix)


def _features(fields: _Fields) -> Features:
    shapes: dict[str, dict[str, tuple[int, ...]]] = {"VISUAL": {}, "STATE": {}, "ENV": {}, "ACTION": {}}
    for name in ("input_features", "output_features"):
        found = fields.get(name)
        if not isinstance(found, dict) or not found:
            raise fields.refused(name, "LeRobot's table of features", repr(found))
        for key, feature in found.items():
            try:
                shapes[feature["type"]][key] = tuple(int(size) for size in feature["shape"])
            except (KeyError, TypeError, ValueError) as problem:
                expected = f"a type of {', '.join(shapes)} and a shape"
                raise fields.refused(f"{name}.{key}", expected, repr(feature)) from problem
    for kind, key in (("STATE", STATE), ("ACTION", ACTION)):
        if list(shapes[kind]) != [key] or len(shapes[kind][key]) != 1:
            raise fields.refused("features", f"one {kind} feature, {key}, of one dimension", shapes[kind] or "none")
    if shapes["ENV"] and (list(shapes["ENV"]) != [ENVIRONMENT] or len(shapes["ENV"][ENVIRONMENT]) != 1):
        raise fields.refused(
            "input_features", f"at most one ENV feature, {ENVIRONMENT}, of one dimension", shapes["ENV"]
        )
    images = {}
    for key, shape in shapes["VISUAL"].items():
        if len(shape) != 3 or shape[0] != 3:
            raise fields.refused(f"input_features.{key}", "an RGB image, [3, height, width]", list(shape))
        images[key] = (shape[1], shape[2])
    if not images and not shapes["ENV"]:
        raise fields.refused("input_features", "a camera or an environment state", "neither")
    modes = fields.get("normalization_mapping")
    if not isinstance(modes, dict):
        raise fields.refused("normalization_mapping", "LeRobot's table of modes", repr(modes))
    environment = next(iter(shapes["ENV"].values()), (0,))[0]
    return Features(shapes["STATE"][STATE][0], shapes["ACTION"][ACTION][0], environment, images, modes)


def _diffusion(fields: _Fields, features: Features) -> DiffusionSettings:
    sizes = set(features.images.values())
    if len(sizes) > 1:
        raise fields.refused("input_features", "images of one size", ", ".join(map(str, sorted(sizes))))
    widths = fields.get("down_dims", [512, 1024, 2048])
    if not (isinstance(widths, list) and widths and all(isinstance(width, int) and width > 0 for width in widths)):
        raise fields.refused("down_dims", "positive integers", repr(widths))
    horizon, n_obs = fields.integer("horizon", 16), fields.integer("n_obs_steps", 2)
    n_action = fields.integer("n_action_steps", 8)
    if horizon % 2 ** (len(widths) - 1):
        raise fields.refused("horizon", f"a multiple of {2 ** (len(widths) - 1)} for {len(widths)} widths", horizon)
    if n_action > horizon - n_obs + 1:
        raise fields.refused("n_action_steps", f"at most horizon − n_obs_steps + 1, {horizon - n_obs + 1}", n_action)
    crop, resize = fields.pair("crop_shape"), fields.pair("resize_shape")
    if resize is not None:
        # LeRobot derives the crop from the size it resizes to, whatever else the file says.
        ratio = fields.number("crop_ratio", 1.0)
        crop = (int(resize[0] * ratio), int(resize[1] * ratio)) if ratio < 1 else None
    for height, width in sizes if resize is None else {resize}:
        if crop is not None and (crop[0] > height or crop[1] > width):
            raise fields.refused("crop_shape", f"at most the image's {height}×{width}", f"{crop[0]}×{crop[1]}")
    return DiffusionSettings(
        features=features,
        n_obs_steps=n_obs,
        horizon=horizon,
        n_action_steps=n_action,
        vision_backbone=fields.one_of("vision_backbone", "resnet18", KINDS),
        resize_shape=resize,
        crop_shape=crop,
        use_group_norm=fields.flag("use_group_norm", True),
        spatial_softmax_num_keypoints=fields.integer("spatial_softmax_num_keypoints", 32),
        use_separate_rgb_encoder_per_camera=fields.flag("use_separate_rgb_encoder_per_camera", False),
        down_dims=tuple(widths),
        kernel_size=fields.integer("kernel_size", 5),
        n_groups=fields.integer("n_groups", 8),
        diffusion_step_embed_dim=fields.integer("diffusion_step_embed_dim", 128, least=4),
        use_film_scale_modulation=fields.flag("use_film_scale_modulation", True),
        num_train_timesteps=fields.integer("num_train_timesteps", 100),
        beta_schedule=str(fields.get("beta_schedule", "squaredcos_cap_v2")),
        beta_start=fields.number("beta_start", 0.0001),
        beta_end=fields.number("beta_end", 0.02),
        prediction_type=str(fields.get("prediction_type", "epsilon")),
        clip_sample=fields.flag("clip_sample", True),
        clip_sample_range=fields.number("clip_sample_range", 1.0),
    )


def _act(fields: _Fields, features: Features) -> ActSettings:
    if (coefficient := fields.get("temporal_ensemble_coeff")) is not None:
        fix = "set it to null and n_action_steps to how many targets are followed before the next chunk"
        raise fields.refused("temporal_ensemble_coeff", "null: chunks are followed, not averaged", coefficient, fix)
    if fields.integer("n_obs_steps", 1) != 1:
        raise fields.refused("n_obs_steps", "1", fields.get("n_obs_steps"))
    chunk, n_action = fields.integer("chunk_size", 100), fields.integer("n_action_steps", 100)
    if n_action > chunk:
        raise fields.refused("n_action_steps", f"at most chunk_size, {chunk}", n_action)
    width, heads = fields.integer("dim_model", 512), fields.integer("n_heads", 8)
    if width % heads or width % 4:
        raise fields.refused("dim_model", f"a multiple of 4 and of n_heads, {heads}", width)
    return ActSettings(
        features=features,
        chunk_size=chunk,
        n_action_steps=n_action,
        vision_backbone=fields.one_of("vision_backbone", "resnet18", KINDS),
        replace_final_stride_with_dilation=fields.flag("replace_final_stride_with_dilation", False),
        pre_norm=fields.flag("pre_norm", False),
        dim_model=width,
        n_heads=heads,
        dim_feedforward=fields.integer("dim_feedforward", 3200),
        feedforward_activation=fields.one_of("feedforward_activation", "relu", ("relu", "gelu")),
        n_encoder_layers=fields.integer("n_encoder_layers", 4, least=0),
        n_decoder_layers=fields.integer("n_decoder_layers", 1),
        use_vae=fields.flag("use_vae", True),
        latent_dim=fields.integer("latent_dim", 32),
    )
