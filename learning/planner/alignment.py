"""Image tokens that begin as words: where a red cube is, the embedding leans toward " red" and " cube".

The language model already copies words from the task to the call. Image tokens that resemble the words of what they
show let it copy from the picture by the same means, long before it would find out by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from learning.planner.pictures import FLAGS, SIDE
from learning.planner.vision import Views
from learning.sim.scene import COLOURS

SHAPES = ("cube", "plate")
FLAG_WORDS = {"nearest": "nearest", "leftmost_loose": "left", "held": "held"}
_SHARPNESS = 10.0


class Alignment:
    """Compares image embeddings with word embeddings.

    Args:
        tokenizer: Of the planner; every word used here is one token with its leading space.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        def ids(words: tuple[str, ...]) -> Tensor:
            return torch.tensor([tokenizer.encode(f" {word}", add_special_tokens=False)[-1] for word in words])

        self._colours, self._shapes, self._flags = ids(COLOURS), ids(SHAPES), ids(tuple(FLAG_WORDS.values()))
        self._columns = [FLAGS.index(name) for name in FLAG_WORDS]

    def loss(self, model: Idefics3ForConditionalGeneration, embeddings: Tensor, views: Views) -> Tensor:
        """Scalar: how badly the image tokens (B, 64, width) over objects say their colour, shape and flags.

        Word embeddings are taken as they are: only the image side is moved.
        """
        classes, flags = token_labels(views)
        there = classes > 0
        if not there.any():
            return embeddings.sum() * 0.0
        words = model.get_input_embeddings().weight.detach()
        seen, which = functional.normalize(embeddings[there].float(), dim=-1), classes[there] - 1

        def scores(ids: Tensor) -> Tensor:
            return _SHARPNESS * seen @ functional.normalize(words[ids], dim=-1).T

        named = functional.cross_entropy(scores(self._colours), which % len(COLOURS))
        shaped = functional.cross_entropy(scores(self._shapes), which // len(COLOURS))
        wanted = flags[there][:, self._columns]
        flagged = functional.binary_cross_entropy_with_logits(scores(self._flags) - _SHARPNESS / 4, wanted)
        return named + shaped + flagged


def token_labels(views: Views) -> tuple[Tensor, Tensor]:
    """Classes (B, 64) and flags (B, 64, 4) of image tokens of 2×2 patches: a cube's if one shows, else a plate's."""
    half = SIDE // 2
    classes = views.classes.view(-1, half, 2, half, 2).permute(0, 1, 3, 2, 4).reshape(-1, half * half, 4)
    flags = (
        views.flags.view(-1, half, 2, half, 2, len(FLAGS))
        .permute(0, 1, 3, 2, 4, 5)
        .reshape(-1, half * half, 4, len(FLAGS))
    )
    rank = torch.where(classes == 0, 2, torch.where(classes <= len(COLOURS), 0, 1))
    best = rank.argmin(-1, keepdim=True)
    chosen = flags.gather(2, best[..., None].expand(-1, -1, -1, len(FLAGS)))
    return classes.gather(-1, best)[..., 0], chosen[:, :, 0]
