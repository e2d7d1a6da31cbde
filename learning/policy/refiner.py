"""Stage two: where the target is, in metres, worked out from what the eyes found and where the tool is.

The encoder finds the target to a fraction of a pixel, but its own estimate in metres is several times coarser. Here the
pixels become points of the table through rays, and a network, trained for long on stored features, decides how much to
trust each: the front camera's point, the wrist camera's, or the remembered place.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from learning.policy.encoder import CONDITION, GOAL, Encoder, Eye
from learning.policy.rays import Rays
from learning.policy.tool import ToolPose

_WIDTH, _BLOCKS = 512, 3
_DECIMETRES = 10.0
"""Lengths enter and leave the network in this unit, in which they are about one."""


class Refined(NamedTuple):
    """What the heads read, (B, Refiner.FEATURES); the target (B, 5); and the logit (B, 1) that the subtask is finished.

    The target is x, y, z in decimetres and the cosine and sine of four times its yaw.
    """

    features: Tensor
    aim: Tensor
    finished: Tensor


class Refiner(nn.Module):
    """Raw encoder features (B, RAW) and joints (B, 6) → what the heads read."""

    _CANDIDATES = 3
    _KNOWN = Encoder.RAW + 9 + 10 + 2 + 2 + 3
    FEATURES = _KNOWN + Encoder.AIM + 6

    def __init__(self) -> None:
        super().__init__()
        self.tool = ToolPose()
        self.front, self.wrist = Rays("front"), Rays("wrist")
        self.enter = nn.Linear(self._KNOWN, _WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH))
            for _ in range(_BLOCKS)
        )
        self.trust = nn.Linear(_WIDTH, self._CANDIDATES)
        self.rest = nn.Linear(_WIDTH, Encoder.AIM)
        self.finished = nn.Linear(_WIDTH, 1)

    def forward(self, raw: Tensor, joints: Tensor) -> Refined:
        point, axes, wrist, wrist_axes = self.tool(joints)
        still = torch.eye(3, dtype=raw.dtype).expand(len(raw), 3, 3)
        base = torch.zeros_like(point)
        front = self.front(raw[:, :2], base, still)
        near = self.wrist(raw[:, Eye.FEATURES : Eye.FEATURES + 2], wrist, wrist_axes)
        start = 2 * Eye.FEATURES + CONDITION
        goal = raw[:, start : start + GOAL]
        metres = torch.cat([point, goal[:, 1:4], front[:, :2], near[:, :2]], dim=1)
        known = torch.cat(
            [raw, axes.flatten(1), metres * _DECIMETRES, front[:, 2:], near[:, 2:], goal[:, :1], goal[:, 4:]], dim=1
        )
        hidden = self.enter(known)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        hidden = functional.silu(hidden)
        candidates = torch.stack([front[:, :2], near[:, :2], goal[:, 1:3]], dim=1) * _DECIMETRES
        chosen = torch.einsum("bi,bij->bj", self.trust(hidden).softmax(dim=1), candidates)
        rest = self.rest(hidden)
        aim = torch.cat([chosen + 0.1 * rest[:, :2], rest[:, 2:]], dim=1)
        away = aim[:, :3] - point * _DECIMETRES
        # The way to the target, in the base frame and as the tool sees it.
        seen = torch.einsum("bij,bi->bj", axes, away)
        return Refined(torch.cat([known, aim, away, seen], dim=1), aim, self.finished(hidden))


def refiner_loss(net: Refiner, raw: Tensor, joints: Tensor, aim: Tensor, finished: Tensor) -> tuple[Tensor, Tensor]:
    """Loss, and the mean horizontal error in millimetres. `aim` (B, 5) is in metres, as the demonstrations label it."""
    out = net(raw, joints)
    target = torch.cat([aim[:, :3] * _DECIMETRES, aim[:, 3:]], dim=1)
    miss = functional.smooth_l1_loss(out.aim.float(), target, beta=0.05)
    end = functional.binary_cross_entropy_with_logits(out.finished[:, 0].float(), finished)
    horizontal = (out.aim[:, :2] - target[:, :2]).norm(dim=1).mean() * 1000 / _DECIMETRES
    return miss + 0.05 * end, horizontal.detach()
