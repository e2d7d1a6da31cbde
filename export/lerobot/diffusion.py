"""LeRobot's `diffusion` policy: cameras, joints and environment to one condition, a U-Net to denoise under it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.lerobot.resnet import group_norm, layers
from export.lerobot.settings import DiffusionSettings
from export.lerobot.unet import Unet
from export.schedule import Sampler, betas, discrete


class SpatialSoftmax(nn.Module):
    """Feature maps (B, C, H, W) to where each of K keypoints is, (B, 2 K), from -1 to 1."""

    def __init__(self, channels: int, height: int, width: int, keypoints: int) -> None:
        super().__init__()
        self.nets = nn.Conv2d(channels, keypoints, 1)
        across, down = np.meshgrid(np.linspace(-1.0, 1.0, width), np.linspace(-1.0, 1.0, height))
        self.register_buffer("pos_grid", torch.from_numpy(np.stack([across.ravel(), down.ravel()], axis=1)).float())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.nets(x).flatten(2).softmax(dim=2)
        return (weight @ self.pos_grid).flatten(1)


class Resize(nn.Module):
    """Antialiased bilinear resizing of (B, 3, H, W) as two products, which every runtime has."""

    def __init__(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        super().__init__()
        for name, old, new in (("rows", before[0], after[0]), ("columns", before[1], after[1])):
            # What happens to each row of an image is what happens to the columns of the identity.
            unit = torch.eye(old)[None, None]
            scaled = functional.interpolate(unit, size=(new, old), mode="bilinear", antialias=True)
            self.register_buffer(name, scaled[0, 0], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.rows @ x @ self.columns.T


class RgbEncoder(nn.Module):
    """Images (B, 3, H, W) to features (B, 2 keypoints)."""

    def __init__(self, settings: DiffusionSettings) -> None:
        super().__init__()
        size = next(iter(settings.features.images.values()))
        self.resize: nn.Module | None = None
        if settings.resize_shape is not None and settings.resize_shape != size:
            self.resize = Resize(size, settings.resize_shape)
        size = settings.resize_shape or size
        self.crop = settings.crop_shape
        if self.crop is not None:
            self.top, self.left = (round((old - new) / 2.0) for old, new in zip(size, self.crop, strict=True))
            size = self.crop
        parts, channels = layers(settings.vision_backbone, group_norm if settings.use_group_norm else nn.BatchNorm2d)
        self.backbone = nn.Sequential(*parts.values())
        for _ in range(5):  # the backbone halves its images five times, rounding up
            size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        keypoints = settings.spatial_softmax_num_keypoints
        self.pool = SpatialSoftmax(channels, *size, keypoints)
        self.out = nn.Linear(2 * keypoints, 2 * keypoints)

    def forward(self, x: Tensor) -> Tensor:
        if self.resize is not None:
            x = self.resize(x)
        if self.crop is not None:
            x = x[:, :, self.top : self.top + self.crop[0], self.left : self.left + self.crop[1]]
        return functional.relu(self.out(self.pool(self.backbone(x))))


class Diffusion(nn.Module):
    """The whole network, in LeRobot's normalised units. `condition` and `denoise` are all that sampling needs.

    Its state dict has the names of LeRobot's, less the leading `diffusion.`.
    """

    def __init__(self, settings: DiffusionSettings) -> None:
        super().__init__()
        self.settings = settings
        features, cameras = settings.features, len(settings.features.images)
        seen = features.state + features.environment + 2 * settings.spatial_softmax_num_keypoints * cameras
        if cameras:
            self.rgb_encoder: nn.Module = (
                nn.ModuleList(RgbEncoder(settings) for _ in range(cameras))
                if settings.use_separate_rgb_encoder_per_camera
                else RgbEncoder(settings)
            )
        self.unet = Unet(
            features.actions,
            seen * settings.n_obs_steps,
            settings.down_dims,
            settings.kernel_size,
            settings.n_groups,
            settings.diffusion_step_embed_dim,
            settings.use_film_scale_modulation,
        )

    def condition(self, images: Mapping[str, Tensor], state: Tensor, environment: Tensor | None = None) -> Tensor:
        """What the denoiser is told of the observations, (B, C).

        Args:
            images: (B, S, 3, H, W) by key, S observations with the oldest first.
            state: (B, S, joints).
            environment: (B, S, length), where the network has one.
        """
        count, steps = state.shape[:2]
        known = [state]
        for index, key in enumerate(self.settings.features.images):
            separate = self.settings.use_separate_rgb_encoder_per_camera
            encoder = self.rgb_encoder[index] if separate else self.rgb_encoder
            known.append(encoder(images[key].flatten(0, 1)).reshape(count, steps, -1))
        if environment is not None:
            known.append(environment)
        return torch.cat(known, dim=-1).flatten(1)

    def denoise(self, x: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """Noisy actions (B, horizon, joints) at levels (B,) to the network's prediction."""
        return self.unet(x, level, condition)

    def sampler(self, name: str, steps: int) -> Sampler:
        """The checkpoint's noise schedule in so many steps.

        Raises:
            ExportError: What it asks for is not supported.
        """
        settings = self.settings
        noise = betas(settings.beta_schedule, settings.num_train_timesteps, settings.beta_start, settings.beta_end)
        clip = settings.clip_sample_range if settings.clip_sample else None
        return discrete(name, steps, noise, settings.prediction_type, clip)
