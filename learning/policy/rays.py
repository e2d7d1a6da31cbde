"""Where a camera's pixel lies on the table: a ray from the camera, cut with a horizontal plane."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from learning.sim.model import CUBE_HALF_M, MOUNTS

_FLATTEST = 0.2
"""Rays flatter than this (sine of the angle) are treated as this flat: the cut would be far away and mean nothing."""
_FARTHEST_M = 0.6


class Rays(nn.Module):
    """One camera's rays. How it is mounted is a parameter: it starts from the drawing and is learned with the rest."""

    FEATURES = 4

    def __init__(self, camera: str) -> None:
        super().__init__()
        position, axes, fovy = MOUNTS[camera]
        right, up = torch.tensor(axes[:3]), torch.tensor(axes[3:])
        up = up / up.norm()
        self.position = nn.Parameter(torch.tensor(position))
        self.axes = nn.Parameter(torch.stack([right, up, torch.linalg.cross(right, up)], dim=1))
        self.slope = nn.Parameter(torch.tensor(2 * math.tan(math.radians(fovy) / 2)))

    def forward(self, pixel: Tensor, point: Tensor, rotation: Tensor) -> Tensor:
        """Pixel (B, 2) in [0, 1] and the mounting link's pose (B, 3), (B, 3, 3) → (B, 4).

        The four are x, y in metres where the ray is at the height of a cube's centre, and how much both change per
        metre of height.
        """
        across, down = (pixel[:, 0] - 0.5) * self.slope, (0.5 - pixel[:, 1]) * self.slope
        local = torch.stack([across, down, -torch.ones_like(down)], dim=1)
        ray = torch.einsum("bij,bj->bi", rotation, local @ self.axes.T)
        start = point + torch.einsum("bij,j->bi", rotation, self.position)
        fall = ray[:, 2].clamp_max(-_FLATTEST)
        tilt = ray[:, :2] / fall[:, None]
        cut = start[:, :2] + tilt * (CUBE_HALF_M - start[:, 2:])
        return torch.cat([cut.clamp(-_FARTHEST_M, _FARTHEST_M), tilt.clamp(-3, 3)], dim=1)
