"""The denoiser of a diffusion policy (Chi et al. 2023): a 1-D U-Net over time, modulated by what is seen and the level.

Each block takes one modulation vector, a linear function of `mish([level embedding, condition])`. That splits into a
part of the level, a constant for each step of a sampler, and a part of the condition, computed once: `Film`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_LAST_GROUPS = 8
"""Of the last convolution's normalisation, whatever the others have."""


class Sinusoid(nn.Module):
    """Levels (B,) to sines and cosines (B, width) of geometric frequencies."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        steps = torch.arange(half) * -(math.log(10000) / (half - 1))
        self.register_buffer("frequency", steps.exp(), persistent=False)

    def forward(self, level: Tensor) -> Tensor:
        phase = level[:, None] * self.frequency
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


class ConvBlock(nn.Module):
    """Convolution, group normalisation, Mish."""

    def __init__(self, inside: int, outside: int, size: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv1d(inside, outside, size, padding=size // 2)
        self.block = nn.Sequential(conv, nn.GroupNorm(groups, outside), nn.Mish())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Block(nn.Module):
    """Two convolutions with a modulation between them, and a way around."""

    def __init__(self, inside: int, outside: int, condition: int, size: int, groups: int, scales: bool) -> None:
        super().__init__()
        self.channels, self.scales = outside, scales
        self.conv1 = ConvBlock(inside, outside, size, groups)
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(condition, outside * (2 if scales else 1)))
        self.conv2 = ConvBlock(outside, outside, size, groups)
        self.residual_conv = nn.Identity() if inside == outside else nn.Conv1d(inside, outside, 1)

    @property
    def modulation(self) -> int:
        """Length of the modulation vector."""
        return self.channels * (2 if self.scales else 1)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x (B, inside, T), modulation (B, `modulation`): scales, then shifts; or shifts alone."""
        out = self.conv1(x)
        if self.scales:
            scale, shift = modulation[:, :, None].split(self.channels, dim=1)
            out = scale * out + shift
        else:
            out = out + modulation[:, :, None]
        return self.conv2(out) + self.residual_conv(x)


class Unet(nn.Module):
    """(B, T, D) noisy actions, level (B,) and condition (B, C) to the prediction (B, T, D).

    Args:
        actions: D.
        condition: C.
        widths: Channels of each resolution; time is halved between two of them.
        kernel: Size of the convolutions.
        groups: Of the group normalisation.
        embedding: Width of the level's embedding.
        scales: Whether a block is scaled as well as shifted.
    """

    def __init__(
        self,
        actions: int,
        condition: int,
        widths: Sequence[int],
        kernel: int,
        groups: int,
        embedding: int,
        scales: bool,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.diffusion_step_encoder = nn.Sequential(
            Sinusoid(embedding), nn.Linear(embedding, embedding * 4), nn.Mish(), nn.Linear(embedding * 4, embedding)
        )

        def block(inside: int, outside: int) -> Block:
            return Block(inside, outside, embedding + condition, kernel, groups, scales)

        insides = [actions, *widths[:-1]]
        last = len(widths) - 1
        self.down_modules = nn.ModuleList(
            nn.ModuleList(
                [
                    block(inside, outside),
                    block(outside, outside),
                    nn.Identity() if index == last else nn.Conv1d(outside, outside, 3, 2, 1),
                ]
            )
            for index, (inside, outside) in enumerate(zip(insides, widths, strict=True))
        )
        self.mid_modules = nn.ModuleList(block(widths[-1], widths[-1]) for _ in range(2))
        # Every way up ends in a finer resolution: the way down has one resolution more.
        self.up_modules = nn.ModuleList(
            nn.ModuleList(
                [
                    block(2 * inside, outside),
                    block(outside, outside),
                    nn.ConvTranspose1d(outside, outside, 4, 2, 1),
                ]
            )
            for inside, outside in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.final_conv = nn.Sequential(
            ConvBlock(widths[0], widths[0], kernel, _LAST_GROUPS), nn.Conv1d(widths[0], actions, 1)
        )

    def blocks(self) -> list[Block]:
        """All blocks in the order in which they run."""
        ways = [*self.down_modules, self.mid_modules, *self.up_modules]
        return [part for way in ways for part in way if isinstance(part, Block)]

    def forward(self, x: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        known = torch.cat([self.diffusion_step_encoder(level), condition], dim=-1)
        return self.body(x, [block.cond_encoder(known) for block in self.blocks()])

    def body(self, x: Tensor, modulations: Sequence[Tensor]) -> Tensor:
        """The network, given each block's modulation."""
        left = iter(modulations)
        x = x.transpose(1, 2)
        kept = []
        for first, second, coarser in self.down_modules:
            x = second(first(x, next(left)), next(left))
            kept.append(x)
            x = coarser(x)
        for block in self.mid_modules:
            x = block(x, next(left))
        for first, second, finer in self.up_modules:
            x = torch.cat([x, kept.pop()], dim=1)
            x = finer(second(first(x, next(left)), next(left)))
        return self.final_conv(x).transpose(1, 2)


class Film(nn.Module):
    """What the condition adds to all modulations of a U-Net, in one product: (B, C) → (B, sum of their lengths)."""

    def __init__(self, unet: Unet) -> None:
        super().__init__()
        linears = [block.cond_encoder[1] for block in unet.blocks()]
        weight = torch.cat([linear.weight.detach() for linear in linears])
        self.register_buffer("weight", weight[:, unet.embedding :].contiguous())
        self.register_buffer("bias", torch.cat([linear.bias.detach() for linear in linears]))
        self._of_level, self._unet = weight[:, : unet.embedding].contiguous(), [unet]

    def forward(self, condition: Tensor) -> Tensor:
        return functional.linear(functional.mish(condition), self.weight, self.bias)

    @torch.no_grad()
    def level(self, level: float) -> Tensor:
        """What a level adds to them, (1, sum of their lengths)."""
        embedded = self._unet[0].diffusion_step_encoder(torch.tensor([level]))
        return functional.linear(functional.mish(embedded), self._of_level)


class Modulated(nn.Module):
    """The network as one step of a sampler sees it: the sample (B, T, D), both parts of all modulations."""

    def __init__(self, unet: Unet) -> None:
        super().__init__()
        self.unet = unet
        self.lengths = [block.modulation for block in unet.blocks()]

    def forward(self, x: Tensor, level: Tensor, film: Tensor) -> Tensor:
        return self.unet.body(x, (film + level).split(self.lengths, dim=1))
