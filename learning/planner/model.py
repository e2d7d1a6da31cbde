"""The planner's network: stock transformers classes at a small size, and the heads that teach its eyes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, Idefics3Config, Idefics3ForConditionalGeneration

from learning.planner.pictures import CLASSES, FLAGS, MEASURES, PATCH, SIDE

IMAGE_SIZE, SCALE = PATCH * SIDE, 2
IMAGE_TOKENS = (SIDE // SCALE) ** 2


@dataclass(frozen=True)
class Size:
    """How big the network is. Every row is a multiple of 32 (Q8_0), every head 64 wide.

    `kv_heads` keys and values are shared by the heads (0: as many), `theta` is the base of the rotary positions,
    `epsilon` that of the language half's norms.
    """

    eye_width: int = 192
    eye_layers: int = 4
    width: int = 256
    inner: int = 768
    layers: int = 4
    kv_heads: int = 0
    theta: float = 10000.0
    epsilon: float = 1e-6


def build(size: Size, vocabulary: int, image_token: int, end_token: int) -> Idefics3ForConditionalGeneration:
    """A fresh planner. `vocabulary` is rounded up to a multiple of 32; positions start as sines and cosines."""
    rows = -(-vocabulary // 32) * 32
    config = Idefics3Config(
        vision_config={
            "hidden_size": size.eye_width,
            "intermediate_size": 4 * size.eye_width,
            "num_hidden_layers": size.eye_layers,
            "num_attention_heads": size.eye_width // 64,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH,
            "hidden_act": "gelu_pytorch_tanh",
        },
        text_config={
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": size.width,
            "intermediate_size": size.inner,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.width // 64,
            "num_key_value_heads": size.kv_heads or size.width // 64,
            "head_dim": 64,
            "vocab_size": rows,
            "max_position_embeddings": 1024,
            "rope_theta": size.theta,
            "rms_norm_eps": size.epsilon,
            "bos_token_id": end_token,
            "eos_token_id": end_token,
            "pad_token_id": end_token,
            "tie_word_embeddings": True,
        },
        scale_factor=SCALE,
        image_token_id=image_token,
        pad_token_id=end_token,
        tie_word_embeddings=True,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.model.text_model.set_attn_implementation("eager")
    with torch.no_grad():
        table = model.model.vision_model.embeddings.position_embedding.weight
        table.copy_(_sines(SIDE, size.eye_width))
    return model


def _sines(side: int, width: int) -> Tensor:
    """(side², width): half of the channels tell the row, half the column. A fresh ViT finds places sooner with it."""
    quarter = width // 4
    turns = torch.arange(side)[:, None] / 40.0 ** (torch.arange(quarter) / quarter)
    line = torch.cat([turns.sin(), turns.cos()], 1) * 0.5
    rows, columns = line[:, None].expand(side, side, -1), line[None].expand(side, side, -1)
    return torch.cat([rows, columns], -1).reshape(side * side, width)


def normalised(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 RGB → (B, 3, H, W) float in −1 … 1, as docs/planner-format.md says."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def see(model: Idefics3ForConditionalGeneration, images: Tensor) -> Tensor:
    """Patch features (B, 256, eye width) of uint8 images (B, 192, 192, 3)."""
    eye = model.model.vision_model
    features: Tensor = eye(pixel_values=normalised(images)).last_hidden_state
    return features


class PatchHeads(nn.Module):
    """Reads the dense labels off each patch; only training uses it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, CLASSES + len(FLAGS) + len(MEASURES))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, 256, 13), flag logits (B, 256, 4), measures (B, 256, 2)."""
        return self.read(features).float().split([CLASSES, len(FLAGS), len(MEASURES)], -1)

    def loss(self, features: Tensor, classes: Tensor, flags: Tensor, measures: Tensor) -> Tensor:
        """Scalar; patches without an object teach only that there is none."""
        logits, guess, place = self(features)
        weight = torch.ones(CLASSES)
        weight[0] = 0.15
        there = classes > 0
        named = functional.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight)
        if not there.any():
            return named
        flagged = functional.binary_cross_entropy_with_logits(guess[there], flags[there])
        placed = functional.smooth_l1_loss(place[there], measures[there], beta=0.2)
        return named + 2.0 * flagged + 2.0 * placed


def image_embeddings(model: Idefics3ForConditionalGeneration, features: Tensor) -> Tensor:
    """(B, 64, width): what the language model reads in place of the image tokens."""
    embeddings: Tensor = model.model.connector(features)
    return embeddings


def packed_hidden(
    model: Idefics3ForConditionalGeneration,
    prefix: Tensor,
    images: Tensor,
    ids: Tensor,
    positions: Tensor,
    mask: Tensor,
) -> Tensor:
    """Hidden states behind many images at once; the prefix, the same for all, is computed once and shared.

    Args:
        model: The planner.
        prefix: (P,) token ids before the image.
        images: (B, 64, width) image embeddings.
        ids: (B, T) token ids after the image.
        positions: (B, 64 + T) position of every image and text token.
        mask: (B, 1, 64 + T, P + 64 + T) bool, true where a row may look.

    Plain attention is used: at these sizes it trains twice as fast on a CPU as the fused kernel with a mask.

    Returns:
        (B, 64 + T, width).
    """
    text, embed = model.model.text_model, model.get_input_embeddings()
    cache = text(inputs_embeds=embed(prefix[None]), use_cache=True, past_key_values=DynamicCache()).past_key_values
    for layer in cache.layers:
        layer.keys = layer.keys.expand(len(ids), -1, -1, -1)
        layer.values = layer.values.expand(len(ids), -1, -1, -1)
    bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.bfloat16).min)
    inputs = torch.cat([images.to(embed.weight.dtype), embed(ids)], 1)
    hidden: Tensor = text(
        inputs_embeds=inputs, attention_mask=bias, position_ids=positions, past_key_values=cache, use_cache=True
    ).last_hidden_state
    return hidden
