"""From two images, joints and a condition to one feature vector, with the target of the call found on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

GRID = 24
"""Cells a side of the feature maps and of the target's heat map."""
_CHANNELS, _KEYPOINTS = 48, 12
CONDITION, GOAL, BODY = 64, 6, 18
"""Widths of the condition vector, of the remembered place, and of what is known of the joints."""
JOINT_SCALE = (1.2, 1.2, 1.2, 1.2, 1.6, 0.4)
"""Joints are divided by this: about the spread of the demonstrations."""


@dataclass
class Features:
    """What the encoder found.

    Attributes:
        vector: (B, FEATURES) what the stage-one head reads.
        raw: (B, RAW) both eyes, condition, goal and body, unmixed: what the later stages read.
        heat: Two (B, GRID²) logits of where the call's target is, front and wrist.
        aim: (B, 5) estimated x, y, z (metres × 10) and cos 4·yaw, sin 4·yaw of the target.
        finished: (B, 1) logit that the subtask is finished.
    """

    vector: Tensor
    raw: Tensor
    heat: tuple[Tensor, Tensor]
    aim: Tensor
    finished: Tensor


class CallCondition(nn.Module):
    """Tokens of a call (B, 5) and the remembered place (B, 6) to a condition vector."""

    def __init__(self, token_counts: tuple[int, ...]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(count, 16) for count in token_counts)
        self.mix = nn.Sequential(nn.Linear(16 * len(token_counts) + 6, 128), nn.ReLU(), nn.Linear(128, CONDITION))

    def forward(self, call: Tensor, goal: Tensor) -> Tensor:
        parts = [table(call[:, i]) for i, table in enumerate(self.tables)]
        return self.mix(torch.cat([*parts, goal], dim=1))


class TextCondition(nn.Module):
    """Words of a task (B, L), 0 where none, to a condition vector: the flat policy's only instruction."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, 64, padding_idx=0)
        self.read = nn.GRU(64, 96, batch_first=True, bidirectional=True)
        self.mix = nn.Sequential(nn.Linear(192, 128), nn.ReLU(), nn.Linear(128, CONDITION))

    def forward(self, words: Tensor, goal: Tensor) -> Tensor:
        states, _ = self.read(self.table(words))
        return self.mix(states.masked_fill((words == 0)[:, :, None], -1.0).amax(dim=1))


class Stage(nn.Module):
    """A residual convolution whose features the condition scales and shifts (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.film = nn.Linear(CONDITION, 2 * channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        return x + functional.relu(self.norm(self.conv(x)) * (1 + scale) + shift)


class Eye(nn.Module):
    """One camera: where the target is, what it looks like there, and a few keypoints of its own choosing."""

    FEATURES = 3 + 2 * _CHANNELS + 2 * _KEYPOINTS

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, _CHANNELS, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(_CHANNELS), nn.ReLU(),
        )  # fmt: skip
        self.place = nn.Parameter(torch.zeros(1, _CHANNELS, GRID, GRID))
        self.stages = nn.ModuleList(Stage(_CHANNELS, dilation) for dilation in (1, 2, 4))
        self.target = nn.Conv2d(_CHANNELS, 1, 1)
        self.keypoints = nn.Conv2d(_CHANNELS, _KEYPOINTS, 1)
        line = (torch.arange(GRID) + 0.5) / GRID
        v, u = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("grid", torch.stack([u.flatten(), v.flatten()], dim=1), persistent=False)

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 96, 96) in [0, 1] → features (B, FEATURES) and target logits (B, GRID²)."""
        x = self.stem(image * 4 - 2) + self.place
        for stage in self.stages:
            x = stage(x, condition)
        heat = self.target(x).flatten(1).float()
        weight = heat.softmax(dim=1)
        local = torch.einsum("bcn,bn->bc", x.flatten(2).float(), weight)
        whole = x.mean(dim=(2, 3)).float()
        spread = self.keypoints(x).flatten(2).float().softmax(dim=2)
        points = (spread @ self.grid).flatten(1)
        return torch.cat([weight @ self.grid, weight.amax(dim=1, keepdim=True), local, whole, points], dim=1), heat


class Encoder(nn.Module):
    """Both eyes, the joints and the condition. `FEATURES` numbers go on to the heads."""

    AIM = 5
    RAW = 2 * Eye.FEATURES + CONDITION + GOAL + BODY
    FEATURES = 256 + AIM + BODY

    def __init__(self, condition: CallCondition | TextCondition) -> None:
        super().__init__()
        self.condition = condition
        self.front, self.wrist = Eye(), Eye()
        self.register_buffer("joint_scale", torch.tensor(JOINT_SCALE), persistent=False)
        self.mix = nn.Sequential(nn.Linear(self.RAW, 384), nn.ReLU(), nn.Linear(384, 256), nn.ReLU())
        self.aim = nn.Linear(256, self.AIM)
        self.finished = nn.Linear(256, 1)

    def forward(self, front: Tensor, wrist: Tensor, joints: Tensor, words: Tensor, goal: Tensor) -> Features:
        """Images (B, 96, 96, 3) uint8, joints (B, 6), tokens or words (B, n) int, goal (B, 6)."""
        condition = self.condition(words, goal)
        seen = [
            eye(image.permute(0, 3, 1, 2).float() / 255, condition)
            for eye, image in ((self.front, front), (self.wrist, wrist))
        ]
        scaled = joints / self.joint_scale
        body = torch.cat([scaled, torch.sin(joints), torch.cos(joints)], dim=1)
        raw = torch.cat([seen[0][0], seen[1][0], condition, goal, body], dim=1)
        mixed = self.mix(raw)
        aim = self.aim(mixed)
        vector = torch.cat([mixed, aim, body], dim=1)
        return Features(vector, raw, (seen[0][1], seen[1][1]), aim, self.finished(mixed))
