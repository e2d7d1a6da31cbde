"""From features to a chunk: one network that every method shares, so that methods differ and sizes do not."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from learning.policy.encoder import Encoder

HORIZON, JOINT_COUNT = 16, 6
CHUNK = HORIZON * JOINT_COUNT
_WIDTH, _BLOCKS, _TIME = 512, 3, 32


class Block(nn.Module):
    """Residual MLP, modulated by what the network knows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(_WIDTH)
        self.film = nn.Linear(_WIDTH, 2 * _WIDTH)
        self.inner = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH))

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        scale, shift = self.film(known).chunk(2, dim=-1)
        return x + self.inner(self.norm(x) * (1 + scale) + shift)


class ChunkNet(nn.Module):
    """π(o, x, t): features (B, FEATURES), a chunk (B, CHUNK) and a level t (B,) in [0, 1] to a chunk (B, CHUNK).

    What the output means is the method's affair: a mean (regression, MIP) or noise (diffusion). Chunks are normalised.
    """

    def __init__(self, features: int = Encoder.FEATURES) -> None:
        super().__init__()
        self.known = nn.Sequential(nn.Linear(features + _TIME, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU())
        self.enter = nn.Linear(CHUNK, _WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(_BLOCKS))
        self.leave = nn.Sequential(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, CHUNK))
        frequency = torch.exp(torch.arange(_TIME // 2) * (-math.log(1000.0) / (_TIME // 2 - 1))) * 1000.0
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, features: Tensor, x: Tensor, t: Tensor) -> Tensor:
        phase = t[:, None] * self.frequency
        known = self.known(torch.cat([features, phase.sin(), phase.cos()], dim=1))
        hidden = self.enter(x) + known
        for block in self.blocks:
            hidden = block(hidden, known)
        return self.leave(hidden)
