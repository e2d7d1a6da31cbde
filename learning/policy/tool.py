"""Forward kinematics as a differentiable layer: what the joints mean for the tool, in the units of the world."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor, nn


def _rotation(quat: list[float]) -> Tensor:
    """(3, 3) from w, x, y, z of any length."""
    w, x, y, z = (torch.tensor(quat, dtype=torch.float64) / torch.tensor(quat, dtype=torch.float64).norm()).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )


class ToolPose(nn.Module):
    """Joints (B, 6) to the pinch point (B, 3) in metres, its axes (B, 3, 3) as columns, and the wrist link likewise.

    Reads the arm description, as the C++ core does; joints turn about their z axis.
    """

    def __init__(self) -> None:
        super().__init__()
        spec: dict[str, Any] = json.loads(files("edge").joinpath("robots/so101.json").read_text())
        arm, pinch = spec["joints"][:5], spec["frames"]["pinch"]
        for name, rows in (("turn", arm), ("tip", [pinch])):
            self.register_buffer(f"{name}_rotation", torch.stack([_rotation(r["quat"]) for r in rows]).float(), False)
            self.register_buffer(f"{name}_offset", torch.tensor([r["offset"] for r in rows]), False)

    def forward(self, joints: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rotation = torch.eye(3, dtype=joints.dtype).expand(len(joints), 3, 3)
        point = torch.zeros(len(joints), 3, dtype=joints.dtype)
        sine, cosine = joints.sin(), joints.cos()
        nought, one = torch.zeros_like(sine[:, 0]), torch.ones_like(sine[:, 0])
        for i in range(5):
            point = point + rotation @ self.turn_offset[i]
            about_z = torch.stack(
                [cosine[:, i], -sine[:, i], nought, sine[:, i], cosine[:, i], nought, nought, nought, one], dim=1
            ).view(-1, 3, 3)
            rotation = rotation @ self.turn_rotation[i] @ about_z
        return point + rotation @ self.tip_offset[0], rotation @ self.tip_rotation[0], point, rotation
