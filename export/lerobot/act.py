"""LeRobot's `act` policy (Zhao et al. 2023) as it acts: its variational encoder only trains, the latent is zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.lerobot.resnet import FrozenNorm, layers
from export.lerobot.settings import ActSettings

TRAINING_ONLY = "vae_encoder"
"""What the names of the variational encoder's weights begin with."""


class Attention(nn.Module):
    """Attention of several heads, batch first, with the weights of `torch.nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            functional.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        seen = functional.scaled_dot_product_attention(q, k, v)
        return self.out_proj(seen.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention to itself, in a decoder also to what was seen, and a network for each token."""

    def __init__(self, settings: ActSettings, *, looks: bool) -> None:
        super().__init__()
        width = settings.dim_model
        self.pre_norm = settings.pre_norm
        self.activation = {"relu": functional.relu, "gelu": functional.gelu}[settings.feedforward_activation]
        self.self_attn = Attention(width, settings.n_heads)
        self.multihead_attn = Attention(width, settings.n_heads) if looks else None
        self.linear1 = nn.Linear(width, settings.dim_feedforward)
        self.linear2 = nn.Linear(settings.dim_feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        if looks:
            self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, place: Tensor, seen: Tensor | None = None, seen_place: Tensor | None = None) -> Tensor:
        """Tokens (B, n, width) and their place; `seen` (B, m, width) and its place in a decoder."""

        def attend(y: Tensor) -> Tensor:
            return self.self_attn(y + place, y + place, y)

        def look(y: Tensor) -> Tensor:
            assert self.multihead_attn is not None, "only a decoder looks"
            return self.multihead_attn(y + place, seen + seen_place, seen)

        def think(y: Tensor) -> Tensor:
            return self.linear2(self.activation(self.linear1(y)))

        works = [(attend, self.norm1), (think, self.norm2)]
        if self.multihead_attn is not None:
            works = [(attend, self.norm1), (look, self.norm2), (think, self.norm3)]
        for work, norm in works:
            x = x + work(norm(x)) if self.pre_norm else norm(x + work(x))
        return x


class Layers(nn.Module):
    """Layers, and a normalisation of the last one's tokens where there is one."""

    def __init__(self, settings: ActSettings, count: int, *, looks: bool, norm: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(settings, looks=looks) for _ in range(count))
        self.norm = nn.LayerNorm(settings.dim_model) if norm else nn.Identity()

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, *others)
        return self.norm(x)


def image_places(height: int, width: int, channels: int) -> Tensor:
    """Sines and cosines of row and column, each in (0, 2π], (1, height · width, channels): half rows, half columns."""

    def waves(count: int) -> Tensor:
        at = torch.arange(1, count + 1, dtype=torch.float32)
        half = torch.arange(channels // 2, dtype=torch.float32)
        phase = (at / (at[-1] + 1e-6) * 2 * torch.pi)[:, None] / 10000 ** (2 * (half // 2) / (channels // 2))
        return torch.stack([phase[:, 0::2].sin(), phase[:, 1::2].cos()], dim=-1).flatten(1)

    rows, columns = waves(height), waves(width)
    return torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1).reshape(
        1, height * width, channels
    )


class Act(nn.Module):
    """The whole network, in LeRobot's normalised units.

    Its state dict has the names of LeRobot's, less the leading `model.` and everything `TRAINING_ONLY`.
    """

    def __init__(self, settings: ActSettings) -> None:
        super().__init__()
        self.settings = settings
        features, width = settings.features, settings.dim_model
        if features.images:
            dilate = settings.replace_final_stride_with_dilation
            parts, channels = layers(settings.vision_backbone, FrozenNorm, dilate_last=dilate)
            self.backbone = nn.ModuleDict(parts)
            self.encoder_img_feat_input_proj = nn.Conv2d(channels, width, 1)
        self.encoder = Layers(settings, settings.n_encoder_layers, looks=False, norm=settings.pre_norm)
        self.decoder = Layers(settings, settings.n_decoder_layers, looks=True, norm=True)
        self.encoder_robot_state_input_proj = nn.Linear(features.state, width)
        if features.environment:
            self.encoder_env_state_input_proj = nn.Linear(features.environment, width)
        self.encoder_latent_input_proj = nn.Linear(settings.latent_dim, width)
        self.encoder_1d_feature_pos_embed = nn.Embedding(3 if features.environment else 2, width)
        self.decoder_pos_embed = nn.Embedding(settings.chunk_size, width)
        self.action_head = nn.Linear(width, features.actions)

    def forward(self, images: Mapping[str, Tensor], state: Tensor, environment: Tensor | None = None) -> Tensor:
        """Images (B, 3, H, W) by key, state (B, joints), environment (B, length) → actions (B, chunk_size, joints)."""
        count = len(state)
        latent = state.new_zeros(count, self.settings.latent_dim)
        tokens = [self.encoder_latent_input_proj(latent), self.encoder_robot_state_input_proj(state)]
        if environment is not None:
            tokens.append(self.encoder_env_state_input_proj(environment))
        seen = [torch.stack(tokens, dim=1)]
        places = [self.encoder_1d_feature_pos_embed.weight[None]]
        for key in self.settings.features.images:
            x = images[key]
            for part in self.backbone.values():
                x = part(x)
            x = self.encoder_img_feat_input_proj(x)
            seen.append(x.flatten(2).transpose(1, 2))
            places.append(image_places(x.shape[2], x.shape[3], self.settings.dim_model))
        place = torch.cat(places, dim=1)
        known = self.encoder(torch.cat(seen, dim=1), place)
        asked = state.new_zeros(count, self.settings.chunk_size, self.settings.dim_model)
        return self.action_head(self.decoder(asked, self.decoder_pos_embed.weight[None], known, place))
