"""Vision-language checkpoints of several architectures with random weights, small enough to convert and run in a test.

Everything is made here: configuration, weights, tokenizer and image processor. Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 512
WIDTH = 256
_CORPUS = [
    "what is in the picture?\n\n",
    "put the red cube on the blue plate\n",
    "stack 12 cubes",
    'next: pick("cube")',
] * 50
_CORPUS += ["\n\n"] * 500
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
# The converter finds a projector's tensors by the number of a layer, so a tower has at least four.
_VISION = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 2}


def _bpe(folder: Path, pre: Any, specials: list[str], **roles: Any) -> Any:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_CORPUS, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=specials[0], pad_token=specials[0], **roles
    )
    tokenizer.save_pretrained(folder)
    return tokenizer.convert_tokens_to_ids


def _smollm() -> Any:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _qwen() -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _images(folder: Path, kind: str, **facts: Any) -> None:
    facts = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "image_processor_type": kind, **facts}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts, indent=2))


def _idefics3(folder: Path) -> Any:
    names = ["<|endoftext|>", "<image>", "<fake_token_around_image>", "<global-img>", "<row_1_col_1>"]
    ids = _bpe(folder, _smollm(), names)
    _images(folder, "Idefics3ImageProcessor", size={"longest_edge": 96}, max_image_size={"longest_edge": 96})
    config = transformers.Idefics3Config(
        vision_config={**_VISION, "image_size": 96, "patch_size": 12},
        text_config={"model_type": "llama", **_TEXT, "tie_word_embeddings": True},
        scale_factor=2,
        image_token_id=ids("<image>"),
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    return transformers.Idefics3ForConditionalGeneration(config)


def _qwen_vl(folder: Path, config_class: Any, model_class: Any, vision: dict[str, Any]) -> Any:
    media = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    ids = _bpe(folder, _qwen(), ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *media])
    facts = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "min_pixels": 3136, "max_pixels": 200704}
    _images(folder, "Qwen2VLImageProcessor", **facts)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 12, 12]}
    config = config_class(
        vision_config={"depth": 4, "num_heads": 2, "patch_size": 14, **vision},
        text_config={**_TEXT, "rope_parameters": rope},
        vision_start_token_id=ids(media[0]),
        vision_end_token_id=ids(media[1]),
        image_token_id=ids(media[2]),
        video_token_id=ids(media[3]),
        tie_word_embeddings=True,
    )
    return model_class(config)


def _qwen2_vl(folder: Path) -> Any:
    vision = {"embed_dim": 128, "hidden_size": WIDTH, "mlp_ratio": 2}
    return _qwen_vl(folder, transformers.Qwen2VLConfig, transformers.Qwen2VLForConditionalGeneration, vision)


def _qwen25_vl(folder: Path) -> Any:
    # llama.cpp knows windows of 112 pixels only, and full attention in every n-th layer.
    window = {"window_size": 112, "fullatt_block_indexes": [1, 3]}
    vision = {"hidden_size": 128, "out_hidden_size": WIDTH, "intermediate_size": 256, **window}
    return _qwen_vl(folder, transformers.Qwen2_5_VLConfig, transformers.Qwen2_5_VLForConditionalGeneration, vision)


def _internvl(folder: Path) -> Any:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
    ids = _bpe(folder, _qwen(), names)
    _images(folder, "GotOcr2ImageProcessor", size={"height": 112, "width": 112}, crop_to_patches=False)
    config = transformers.InternVLConfig(
        vision_config={**_VISION, "image_size": [112, 112], "patch_size": [14, 14]},
        text_config={"model_type": "qwen2", **_TEXT, "tie_word_embeddings": True},
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=16,
        tie_word_embeddings=True,
    )
    return transformers.InternVLForConditionalGeneration(config)


def _gemma3(folder: Path) -> Any:
    lines = folder / "corpus.txt"
    lines.write_text("".join(line.replace("\n", " ") + "\n" for line in _CORPUS))
    names = [
        "<start_of_turn>",
        "<end_of_turn>",
        "<start_of_image>",
        "<end_of_image>",
        "<image_soft_token>",
        "\n",
        "\n\n",
    ]
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines), model_prefix=str(folder / "tokenizer"), vocab_size=VOCABULARY, model_type="bpe",
        byte_fallback=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>",
        bos_piece="<bos>", add_dummy_prefix=False, normalization_rule_name="identity", remove_extra_whitespaces=False,
        hard_vocab_limit=False, minloglevel=2, user_defined_symbols=names,
    )  # fmt: skip
    lines.unlink()
    (folder / "tokenizer.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GemmaTokenizer"}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _images(
        folder, "Gemma3ImageProcessor", size={"height": 112, "width": 112}, image_seq_length=16, do_pan_and_scan=False
    )
    text = {
        **_TEXT,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "query_pre_attn_scalar": 64,
        "sliding_window": 512,
    }
    config = transformers.Gemma3Config(
        vision_config={**_VISION, "image_size": 112, "patch_size": 14},
        text_config=text,
        mm_tokens_per_image=16,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        tie_word_embeddings=True,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "idefics3": _idefics3,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen25_vl,
    "internvl": _internvl,
    "gemma3": _gemma3,
}


def build_vlm(family: str, folder: Path, seed: int = 0) -> Any:
    """Write `folder` as a Hugging Face checkpoint of one architecture; returns the model (float32, eval mode)."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    model = FAMILIES[family](folder).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("mm_input_projection_weight"):  # transformers begins it with zeros
                weight.normal_(0, 0.02)
        # Spread the logits: the default initialisation makes them nearly equal.
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed" not in name and "vis" not in name:
                weight.mul_(3.0)
    model.save_pretrained(folder)
    return model
