"""A SmolVLM-architecture checkpoint with random weights, small enough to convert and run inside a test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from edge.api import RobotApi
from edge.planner.prompt import END_TOKEN, IMAGE_TOKEN, SPECIAL_TOKENS, fingerprint
from edge.tabletop import API
from export.gguf_convert import convert

IMAGE, PATCH, SCALE = 192, 12, 2


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with SmolLM2's pre-tokenizer (single digits, then the GPT-2 split)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [API.prompt() + "\n\n", *(f"{call} -> ok\n" for call in API.calls()), "task: put the cube on\nnext:"] * 20
    corpus += ["\n\n"] * 1000  # llama.cpp looks this token up
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_TOKEN, pad_token=END_TOKEN)


def build_checkpoint(folder: Path, seed: int = 0) -> Idefics3ForConditionalGeneration:
    """Write `folder` as a Hugging Face checkpoint and return the model (float32, eval mode)."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    size = -(-len(tokenizer) // 32) * 32
    config = Idefics3Config(
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": IMAGE,
            "patch_size": PATCH,
        },
        text_config={
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": size,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "bos_token_id": tokenizer.eos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.eos_token_id,
        },
        scale_factor=SCALE,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        pad_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    model = Idefics3ForConditionalGeneration(config).eval()
    with (
        torch.no_grad()
    ):  # the default initialisation gives nearly equal logits; spread them so that comparing means something
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.mul_(3.0 if "embed" not in name else 1.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"longest_edge": IMAGE},
        "max_image_size": {"longest_edge": IMAGE},
        "image_processor_type": "Idefics3ImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    return model


@dataclass(frozen=True)
class TinyPlanner:
    """A random checkpoint and the two f16 GGUF files made from it."""

    checkpoint: Path
    model: Path
    mmproj: Path
    tokenizer: PreTrainedTokenizerFast

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, as the trainer makes them."""
        return self.tokenizer.encode(text, add_special_tokens=False)


def convert_tiny(folder: Path, api: RobotApi = API) -> TinyPlanner:
    """Build and convert under `folder`, stamped as trained for `api`."""
    checkpoint = folder / "checkpoint"
    build_checkpoint(checkpoint)
    model, mmproj = folder / "planner.gguf", folder / "planner-mmproj.gguf"
    convert(checkpoint, model, mmproj, fingerprint(api))
    return TinyPlanner(checkpoint, model, mmproj, PreTrainedTokenizerFast.from_pretrained(checkpoint))
